"""What a verb prints: JSON or a table on stdout; words and progress on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

    from ergodica.cli.common import Shared

__all__ = ["Answer", "emit", "gathered", "plain", "progress", "say"]


One = TypeVar("One")
Answer = TypeVar("Answer")


def plain(value: Any) -> Any:
    """The value in JSON's terms: arrays become lists, NaN and infinity null, paths strings."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if hasattr(value, "tolist"):  # NumPy and JAX arrays and scalars
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def emit(
    common: Shared, result: Any, columns: Sequence[str] = (), rows: Iterable[Sequence[Any]] = (), title: str = ""
) -> None:
    """Print the result: as JSON with `--json`, else as a table unless `--quiet`.

    Args:
        common: the verb's options.
        result: what `--json` gives.
        columns: heads of the table, with units.
        rows: its cells; numbers are formatted, None is a dash.
        title: line above it.
    """
    if common.json:
        print(json.dumps(plain(result), allow_nan=False))
        return
    if common.quiet:
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=160)  # a file has no width to fit
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) or (hasattr(value, "dtype") and getattr(value, "ndim", 1) == 0):
        number = float(value)
        if not math.isfinite(number):
            return "-"
        return f"{number:.6g}" if abs(number) < 1e3 else f"{number:.6f}"
    return str(value)


def say(common: Shared, sentence: str) -> None:
    """Tell the user something on stderr, unless `--quiet`."""
    if not common.quiet:
        print(sentence, file=sys.stderr, flush=True)


def progress(common: Shared) -> Progress:
    """A progress bar on stderr, invisible with `--quiet` or when stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    hidden = common.quiet or not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=hidden)


def gathered(
    common: Shared,
    verb: str,
    total: int,
    results: Iterable[tuple[int, One]],
    tell: Callable[[list[tuple[int, One]]], Answer],
) -> Answer:
    """Gather results as they come behind a progress bar; what is known is told when the rest is given up, too.

    Args:
        common: the verb's options.
        verb: what is being done, beside the bar.
        total: how many results there will be.
        results: with their numbers, in any order.
        tell: writes and prints results, which it gets by rising number.

    Returns:
        what `tell` gives.
    """
    found: dict[int, One] = {}

    def told() -> Answer:
        return tell(sorted(found.items(), key=lambda item: item[0]))

    try:
        with progress(common) as bar:
            task = bar.add_task(verb, total=total)
            for number, one in results:
                found[number] = one
                bar.advance(task)
    except BaseException:
        if found:
            told()
        raise
    return told()
