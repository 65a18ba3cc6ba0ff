"""`ergodica split`: training, validation and test sets that share no composition."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ergodica.cli.common import SHARED, Flag, Shared, Words
from ergodica.cli.inputs import STDIN, read_items
from ergodica.cli.output import emit
from ergodica.errors import InputError

__all__ = ["split"]

NAMES = {2: ("train", "test"), 3: ("train", "validation", "test")}


def split(
    *files: str,
    by: str = "composition",
    fractions: Annotated[tuple[float, ...], Parameter(negative="", consume_multiple=True)] = (0.9, 0.1),
    names: Words = (),
    each: Flag = False,
    common: Shared = SHARED,
) -> None:
    """Split structures into sets, no group of which is in two sets.

    With -o data.extxyz (data.npz) the sets are data.train.extxyz, data.test.extxyz and so on.

    Parameters
    ----------
    files
        Structures in anything ASE reads, or .npz; - is stdin (extxyz).
    by
        What makes a group: composition (reduced), elements, structure (each its own), or an entry of the file's info.
    fractions
        Sizes of the sets, adding up to 1.
    names
        Names of the sets; train and test, or train, validation and test by default.
    each
        One set for each group instead, such as --by kind --each: what an ablation leaves out one by one.
    """
    from ergodica.datasets.partition import groups, partition
    from ergodica.files import as_stem, write_structures

    items = read_items(files)
    systems = [item.system for item in items]
    if each:
        found = groups(systems, by)
        names, sets = tuple(found), list(found.values())
    else:
        names = names or NAMES.get(len(fractions), tuple(str(k + 1) for k in range(len(fractions))))
        if len(names) != len(fractions) or len(set(names)) < len(names):
            raise InputError(f"There are {len(fractions)} fractions but the names are {' '.join(names)}.")
        sets = [members.tolist() for members in partition(systems, by, fractions, common.seed)]
    output = common.output or _default_output(files[0])
    names = tuple(map(as_stem, names))
    if len(set(names)) < len(names):
        raise InputError(f"The sets have names that are alike: {' '.join(names)}.")
    paths = [common.claim(output.with_suffix(f".{name}{output.suffix}")) for name in names]
    for path, members in zip(paths, sets, strict=True):
        write_structures(path, [systems[index] for index in members])
    rows = [(name, path, len(members)) for name, path, members in zip(names, paths, sets, strict=True)]
    records = [{"name": name, "output": path, "n_structures": count} for name, path, count in rows]
    emit(common, records, ("set", "file", "structures"), rows)


def _default_output(file: str) -> Path:
    """The name of the first file, without folder and selection."""
    if file == STDIN:
        return Path("structures.extxyz")
    path = Path(file)
    return Path(path.name if path.exists() else path.name.partition("@")[0])
