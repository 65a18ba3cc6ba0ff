"""Structures named on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.system import System

__all__ = ["STDIN", "Item", "formula", "parse_kwargs", "read_items", "single_item"]

STDIN = "<stdin>"
"""Stands for "-", which the parser would take for an option."""


@dataclass(frozen=True)
class Item:
    """One structure and where it came from.

    Attributes:
        file: the name as given on the command line.
        index: which frame of that file, from 0.
        system: the structure.
    """

    file: str
    index: int
    system: System

    @property
    def head(self) -> dict[str, object]:
        """The fields with which every JSON record of a structure begins."""
        return {"file": self.file, "index": self.index, "formula": formula(self.system)}


def read_items(files: Sequence[str], **keys: Any) -> list[Item]:
    """All structures of all files, in order.

    Args:
        files: paths; `STDIN` is standard input (extxyz).
        keys: where labels stand, as for `read_structures` ("energy_key", ...).

    Raises:
        InputError: no file given, or a file is missing, damaged or without those labels.
    """
    from ergodica.files import read_structures

    if not files:
        raise InputError("Give at least one structure file (or - for extxyz from stdin).")
    names = ["-" if file == STDIN else file for file in files]
    return [Item(name, i, one) for name in names for i, one in enumerate(read_structures(name, **keys))]


def single_item(file: str) -> Item:
    """The only structure of a file.

    Raises:
        InputError: the file holds several.
    """
    items = read_items([file])
    if len(items) > 1:
        raise InputError(
            f"'{items[0].file}' holds {len(items)} structures: dynamics starts from one, give a file with one."
        )
    return items[0]


def formula(system: System) -> str:
    """Chemical formula in Hill's order, such as "C2H6O"."""
    from ergodica.elements import SYMBOLS

    counts: dict[str, int] = {}
    for number in system.numbers:
        counts[SYMBOLS[number]] = counts.get(SYMBOLS[number], 0) + 1
    first = [symbol for symbol in ("C", "H") if "C" in counts and symbol in counts]
    order = first + sorted(set(counts) - set(first))
    return "".join(symbol + (str(counts[symbol]) if counts[symbol] > 1 else "") for symbol in order)


def parse_kwargs(kwargs: str | None) -> dict[str, Any] | None:
    """Keyword arguments given as JSON on the command line.

    Raises:
        InputError: it is no JSON object.
    """
    if kwargs is None:
        return None
    try:
        table = json.loads(kwargs)
    except json.JSONDecodeError as error:
        raise InputError(f"--kwargs is not JSON ({error}): write it as '{{\"hidden_channels\": 128}}'.") from error
    if not isinstance(table, dict):
        raise InputError("--kwargs must be a JSON object, such as '{\"hidden_channels\": 128}'.")
    return table
