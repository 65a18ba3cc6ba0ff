"""`ergodica neb`: the path of least energy between two minima."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ergodica.cli.common import DEFAULTS, Common, Flag
from ergodica.cli.crystals import Drawing, table, write_folder
from ergodica.cli.failures import DONE, FAILED, INTERRUPTED
from ergodica.cli.inputs import Item, read_items
from ergodica.cli.output import emit, progress, say
from ergodica.cli.session import CompileWatch
from ergodica.dynamics.options import NEBOptions
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.dynamics.neb import ReactionPath

__all__ = ["neb"]


def neb(
    *files: str,
    images: int = 5,
    climb: bool = True,
    fmax: float = 0.05,
    spring: float = 1.0,
    steps: int = 1000,
    relax_ends: Flag = False,
    start: Literal["idpp", "linear"] = "idpp",
    common: Common = DEFAULTS,
) -> int:
    """Barrier and path of least energy between two minima; exit code 1 if the path did not converge.

    -o NAME.extxyz or NAME.traj writes the images, NAME.png the energy along the path, and a name without an ending is
    a folder that gets both, result.json and a page.

    Parameters
    ----------
    files
        Start and end, with the same atoms in the same order and cell; or one or more files with a whole path of at
        least three images to begin with.
    images
        Images between the two ends; a path that is given as a whole keeps its own.
    climb
        Let the highest image climb to the saddle.
    fmax
        Largest force allowed at the end across the path, and in all directions on the climbing image, eV/Å.
    spring
        Constant of the springs that keep images apart, eV/Å².
    steps
        Steps after which to give up.
    relax_ends
        Bring start and end to rest first.
    start
        The path to begin with: by the image dependent pair potential, or a straight line.
    """
    options = NEBOptions(images, climb, fmax, spring, steps, relax_ends, start, common.precision)
    folder = common.output is not None and not common.output.suffix
    if folder:
        common.claim_folder(common.output)  # type: ignore[arg-type]
    common.start(check_output=not folder)
    _check_name(common.output)
    items = read_items(files)
    if len(items) < 2:
        raise InputError("A path needs two structures, its start and its end: give two files.")
    from ergodica.dynamics.neb import Progress
    from ergodica.dynamics.neb import neb as library_neb
    from ergodica.training.interrupt import Interrupt

    potential = common.load()
    watch, interrupt = CompileWatch(f"images of {len(items[0].system)} atoms", common.quiet), Interrupt()
    with watch, progress(common) as bar, interrupt.watching():
        task = bar.add_task("path", total=steps)

        def report(now: Progress) -> bool:
            climbs = ", an image climbs" if now.climbing else ""
            bar.update(task, completed=now.steps, description=f"largest force {now.fmax:.4f} eV/Å{climbs}")
            return interrupt.requested

        found = library_neb(potential, *(item.system for item in items), options=options, report=report)
    record = {**_head(items), **found.to_dict()}
    for warning in found.warnings:
        say(common, f"warning: {warning}")
    emit(common, record, ("", "path"), table({k: v for k, v in record.items() if k != "saddle_image"}))
    if common.output is not None:
        _write(common, common.output, found, record, f"{items[0].head['formula']}, {potential.info.name}")
    if found.failure:
        say(common, found.failure)
    say(common, f"{potential.info.name}: {watch.summary()}")
    if interrupt.requested:
        return INTERRUPTED
    return DONE if found.converged else FAILED


def _check_name(output: Path | None) -> None:
    """Refuse a name that asks for nothing that is known before anything is computed."""
    from ergodica.files import structure_format
    from ergodica.pictures import PICTURES

    if output is not None and output.suffix and output.suffix not in PICTURES:
        structure_format(output)


def _head(items: list[Item]) -> dict[str, Any]:
    return {"start": items[0].file, "end": items[-1].file, "formula": items[0].head["formula"]}


def _write(common: Common, output: Path, found: ReactionPath, record: dict[str, Any], title: str) -> None:
    """What the name of the output asks for."""
    from ergodica.files import write_structures
    from ergodica.pictures import PICTURES, write_picture
    from ergodica.properties.plots import plot_path

    if output.suffix in PICTURES:
        write_picture(output, plot_path(found, title))
    elif output.suffix:
        write_structures(output, found.images)
    else:
        write_structures(output / "path.extxyz", found.images)
        drawing = Drawing({"path": plot_path(found, title)}, {})
        write_folder(common, {title: drawing}, [record], "Path of least energy", several=False)
