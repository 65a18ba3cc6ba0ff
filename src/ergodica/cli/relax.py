"""`ergodica relax`: atoms and, with --cell, the cell brought to rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ergodica.cli.common import DEFAULTS, Common, Flag
from ergodica.cli.failures import DONE, FAILED
from ergodica.cli.inputs import Item, read_items
from ergodica.cli.output import emit, progress, say
from ergodica.cli.predict import atoms_of
from ergodica.cli.session import CompileWatch
from ergodica.dynamics.options import RelaxOptions

if TYPE_CHECKING:
    from ergodica.dynamics.relax import Relaxed

__all__ = ["relax"]

COLUMNS = ("file", "index", "formula", "converged", "steps", "energy / eV", "fmax / eV/Å", "volume / Å³")


def relax(  # noqa: PLR0913  one parameter an option
    *files: str,
    cell: Flag = False,
    pressure: float = 0.0,
    fmax: float = 0.01,
    steps: int = 500,
    optimizer: Literal["LBFGS", "FIRE"] = "LBFGS",
    constant_volume: Flag = False,
    symmetry: Flag = False,
    symprec: float = 0.01,
    common: Common = DEFAULTS,
) -> int:
    """Relax every structure in the files; exit code 1 if one did not converge.

    Parameters
    ----------
    files
        Anything ASE reads, with many frames allowed; - is stdin (extxyz).
    cell
        Relax the cell along with the atoms.
    pressure
        External pressure, GPa; with --cell.
    fmax
        Largest force allowed at the end, eV/Å.
    steps
        Steps after which to give up.
    optimizer
        L-BFGS or FIRE 2.0.
    constant_volume
        Relax the shape of the cell only; with --cell.
    symmetry
        Make the symmetry of each crystal exact and keep it; needs spglib.
    symprec
        How far atoms may be from their symmetric places, Å.
    """
    options = RelaxOptions(
        cell, pressure, fmax, steps, optimizer, common.precision, constant_volume, symmetry=symmetry, symprec=symprec
    )
    common.start(kind="structures")
    items = read_items(files)
    from ergodica.dynamics.relax import Progress, iter_relaxed

    potential, done = common.load(), {}
    watch = CompileWatch(atoms_of(items), common.quiet)
    try:
        with watch, progress(common) as bar:
            task = bar.add_task("relaxing", total=len(items))

            def report(now: Progress) -> None:
                words = f"{now.moving} move, largest force {now.fmax:.4f} eV/Å"
                bar.update(task, completed=now.done, description=words)

            for index, one in iter_relaxed(potential, [item.system for item in items], options, report):
                done[index] = one
    finally:  # what is at rest stays known when the rest is given up
        _tell(common, items, done)
    lost = sum(not one.converged for one in done.values())
    say(common, f"{potential.info.name}: {len(done) - lost} of {len(done)} converged in {watch.summary()}")
    return FAILED if lost else DONE


def _tell(common: Common, items: Sequence[Item], done: Mapping[int, Relaxed]) -> None:
    """Write and print the structures that have stopped, in the order given."""
    if not done:
        return
    stopped = [(items[index], done[index]) for index in sorted(done)]
    if common.output is not None:
        from ergodica.files import write_structures

        write_structures(common.output, [one.system for _, one in stopped])
    records = [_record(item, one) for item, one in stopped]
    rows = [[r[key] for key in ("file", "index", "formula", *list(records[0])[3:8])] for r in records]
    emit(common, records if len(items) > 1 else records[0], COLUMNS, rows)
    for _, one in stopped:
        if one.failure:
            say(common, one.failure)


def _record(item: Item, one: Any) -> dict[str, Any]:
    system = one.system
    return {
        **item.head,
        "converged": one.converged,
        "steps": one.steps,
        "energy_eV": system.labels.energy,
        "fmax_eV_per_A": one.fmax,
        "volume_A3": system.volume if system.is_bulk else None,
        "stress_eV_per_A3": system.labels.stress,
        "positions_A": system.positions,
        "cell_A": system.cell if system.pbc.any() else None,
    }
