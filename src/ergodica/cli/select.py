"""`ergodica select`: the structures worth a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ergodica.cli.common import SHARED, Shared
from ergodica.cli.inputs import Item, read_items
from ergodica.cli.output import emit, say
from ergodica.cli.session import CompileWatch
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.datasets.selection import Disagreement

__all__ = ["select"]


def select(
    *files: str,
    model: Annotated[tuple[str, ...], Parameter(alias="-m", negative="", show_default=False)] = (),
    number: Annotated[int, Parameter(alias="-n")] = 100,
    floor: float = 0.0,
    ceiling: float | None = None,
    same: float = 0.02,
    common: Shared = SHARED,
) -> None:
    """Choose structures on which models disagree and that are unlike each other.

    Greedily the structure with the largest disagreement times distance to those chosen; without models, the distance
    alone. Duplicates are left out.

    Parameters
    ----------
    files
        Candidates in anything ASE reads; - is stdin (extxyz).
    model
        Models of the committee, -m A -m B ...: names of shipped models or paths. None: choose by diversity alone.
    number
        How many to choose.
    floor
        Leave out what the models agree on within this, eV/Å.
    ceiling
        Leave out what they disagree on by more than this, eV/Å: hopeless structures.
    same
        Distance of the descriptors below which two structures are duplicates; two at random are 2.4 apart.
    """
    common = common.with_default_output(Path("chosen.extxyz"))
    common.start(kind="structures")
    from ergodica.datasets.selection import choose
    from ergodica.files import write_structures

    items = read_items(files)
    systems = [item.system for item in items]
    found = _committee(common, items, model) if model else None
    if found is None and (floor > 0 or ceiling is not None):
        raise InputError("--floor and --ceiling are limits of disagreement: name two or more models with -m.")
    limit = float("inf") if ceiling is None else ceiling
    score = None if found is None else found.forces
    chosen = choose(systems, number, score, floor=floor, ceiling=limit, same=same)
    records, kept = [], []
    for index in chosen:
        numbers = {}
        if found is not None:
            numbers = {
                "disagreement_forces_eV_per_A": float(found.forces[index]),
                "disagreement_energy_eV_per_atom": float(found.energy[index]),
            }
        records.append({**items[index].head, "n_atoms": len(systems[index]), **numbers})
        kept.append(replace(systems[index], info={**systems[index].info, **numbers}))
    assert common.output is not None
    write_structures(common.output, kept)
    heads = ("file", "index", "formula", "atoms", *(("disagreement / eV/Å", "eV/atom") if found else ()))
    emit(common, records, heads, (tuple(record.values()) for record in records))
    say(common, f"{len(kept)} of {len(items)} structures in '{common.output}'")


def _committee(common: Shared, items: Sequence[Item], models: Sequence[str]) -> Disagreement:
    from ergodica.datasets.selection import disagreement
    from ergodica.potentials import load

    potentials = [load(model) for model in models]
    with CompileWatch(f"{len(items)} structures", common.quiet) as watch:
        found = disagreement(potentials, [item.system for item in items], precision=common.precision)
        say(common, f"{len(potentials)} models on {len(items)} structures in {watch.summary()}")
    return found
