"""What the verbs for crystals share: options with their own defaults, the folder they write, figures, warnings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ergodica.cli.common import Common, Flag  # noqa: F401  the parser looks inherited options up here
from ergodica.cli.inputs import Item, read_items
from ergodica.cli.output import plain, say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ergodica.report.page import Section

__all__ = [
    "DEFAULTS",
    "CrystalOptions",
    "Displacements",
    "Drawing",
    "Expansion",
    "named",
    "row_of",
    "table",
    "write_ensemble",
    "write_folder",
]


@Parameter(name="*")
@dataclass(frozen=True)
class CrystalOptions(Common):
    """Options of the verbs for crystals: what they derive from small differences is computed in float64."""

    output: Annotated[Path | None, Parameter(alias="-o")] = None
    """Folder to write: result.json, pictures and a page, report.html."""

    precision: Literal["float32", "float64"] = "float64"
    """Floating-point numbers of the network."""

    def begin(self) -> None:
        """Check the output folder, choose the device; call before anything imports JAX.

        Raises:
            InputError: the folder holds something, or the device is absent.
        """
        if self.output is not None:
            self.claim_folder(self.output)
        self.start(check_output=False)


DEFAULTS = CrystalOptions()
"""The default of these verbs' parameter `common`."""


@Parameter(name="*")
@dataclass(frozen=True)
class Displacements:
    """Options of the verbs that displace atoms."""

    supercell: Annotated[tuple[int, int, int] | None, Parameter(negative="", show_default=False)] = None
    """Multiples of the cell as given, such as 2 2 2; by default the conventional cell is repeated up to --length."""

    length: float = 10.0
    """Least distance between opposite faces of the supercell, Å."""

    displacement: float = 0.01
    """How far an atom is moved, Å."""

    symprec: float = 0.01
    """How far atoms may be from their symmetric places, Å."""

    fmax: float = 1e-3
    """Largest force allowed after a relaxation, eV/Å."""

    steps: int = 300
    """Steps of a relaxation after which to give up."""


@Parameter(name="*")
@dataclass(frozen=True)
class Expansion(Displacements):
    """Options of the verbs that need phonons at several volumes."""

    volumes: int = 7
    """Volumes at which phonons are computed, at least 5."""

    expansion: float = 1.08
    """Largest volume, relative to that of the static crystal."""

    mesh: float = 60.0
    """Length that sets the mesh of q-points, Å."""

    t_max: float = 1000.0
    """Highest temperature, K."""


@dataclass(frozen=True)
class Drawing:
    """What is written for one structure beside its numbers.

    Attributes:
        figures: by file name without ending.
        files: further files by name.
    """

    figures: Mapping[str, Figure]
    files: Mapping[str, bytes]


def named(files: Sequence[str]) -> list[Item]:
    """Structures of the files, named for messages and pictures by file and formula."""
    from dataclasses import replace

    items = read_items(files)
    return [
        replace(item, system=replace(item.system, name=name)) for item, name in zip(items, _names(items), strict=True)
    ]


def _names(items: Sequence[Item]) -> list[str]:
    """Stems of the files; where these are alike (POSCAR) with their folders, where that is not enough with numbers."""
    from ergodica.files import split_selection

    paths = [split_selection(item.file)[0].absolute() for item in items]
    stems = ["stdin" if item.file == "-" else path.stem for item, path in zip(items, paths, strict=True)]
    counts = Counter(item.file for item in items)
    sources = Counter(stem for stem, _ in {(stem, item.file) for stem, item in zip(stems, items, strict=True)})
    names, seen = [], Counter[str]()
    for item, path, stem in zip(items, paths, stems, strict=True):
        name = f"{path.parent.name}-{stem}" if sources[stem] > 1 else stem
        name = f"{name}-{item.index}" if counts[item.file] > 1 else name
        while seen[name]:
            seen[name] += 1
            name = f"{name}-{seen[name]}"
        seen[name] += 1
        names.append(name)
    return names


def write_folder(
    common: Common, drawings: Mapping[str, Drawing], records: Sequence[Mapping[str, Any]], title: str, several: bool
) -> None:
    """Write `result.json`, the pictures and files of every structure, and `report.html`.

    Args:
        common: the verb's options, with an output folder.
        drawings: by name of the structure.
        records: what `--json` gives of each; the scalar figures become its table on the page.
        title: of the page.
        several: each structure has a folder of its own, and `result.json` is a list.
    """
    from ergodica.files import atomic_write
    from ergodica.pictures import write_picture
    from ergodica.report.page import Section, render_page

    folder = common.output
    assert folder is not None
    result = plain(list(records) if several else records[0])
    atomic_write(folder / "result.json", (json.dumps(result, indent=1, allow_nan=False) + "\n").encode())
    sections = []
    for (name, drawing), record in zip(drawings.items(), records, strict=True):
        place = folder / name if several else folder
        for file, content in drawing.files.items():
            atomic_write(place / file, content)
        for stem, figure in drawing.figures.items():
            write_picture(place / f"{stem}.png", figure)
        warnings = " ".join(record.get("warnings", ()))
        sections.append(Section(name, warnings, dict(table(record)), tuple(drawing.figures.values())))
    atomic_write(folder / "report.html", render_page(title, sections))
    say(common, f"Results, pictures and report.html are in '{folder}'.")


def write_ensemble(
    folder: Path, record: Mapping[str, Any], arrays: Mapping[str, Any], picture: str, page: tuple[str, Section]
) -> None:
    """Write result.json, ensemble.npz, a picture and report.html of samples.

    Args:
        folder: where.
        record: the result.
        arrays: what was drawn.
        picture: name of the file for the figure.
        page: its title, and the section with the text and the figure.
    """
    import numpy as np

    from ergodica.files import atomic_write
    from ergodica.pictures import write_picture
    from ergodica.report.page import render_page

    packed = BytesIO()
    np.savez_compressed(packed, **arrays)
    atomic_write(folder / "ensemble.npz", packed.getvalue())
    atomic_write(folder / "result.json", (json.dumps(plain(record), indent=1, allow_nan=False) + "\n").encode())
    title, section = page
    write_picture(folder / picture, section.figures[0])
    atomic_write(folder / "report.html", render_page(title, [section]))


def row_of(keys: Sequence[str], record: Mapping[str, Any]) -> list[list[Any]]:
    """One row of a table of several structures."""
    return [[record[key] for key in ("file", "index", "formula", *keys)]]


def table(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The scalar figures of a record, for a table."""
    rows = []
    for key, value in record.items():
        if isinstance(value, bool):
            rows.append((key.replace("_", " "), "yes" if value else "no"))
        elif isinstance(value, float):
            rows.append((key.replace("_", " "), f"{value:.5g}"))
        elif isinstance(value, int | str):
            rows.append((key.replace("_", " "), str(value)))
    return rows
