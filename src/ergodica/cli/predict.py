"""`ergodica predict`: energy, forces, stress and per-atom energies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ergodica.cli.common import DEFAULTS, Common, Flag
from ergodica.cli.inputs import Item, read_items
from ergodica.cli.output import Answer, emit, gathered, say
from ergodica.cli.session import CompileWatch
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.potentials.potential import Potential
    from ergodica.prediction import Prediction, PropertyPrediction
    from ergodica.uncertainty import Uncertainty

__all__ = ["atoms_of", "predict", "predict_items"]


def predict(*files: str, uncertainty: Flag = False, common: Common = DEFAULTS) -> None:
    """Predict energy, forces, stress and per-atom energies of every structure in the files.

    Parameters
    ----------
    files
        Anything ASE reads, with many frames allowed; - is stdin (extxyz).
    uncertainty
        Say how far to trust each prediction; the model must be an ensemble.
    """
    common.start(kind="labels")
    items, potential = read_items(files), common.load()
    if common.output is not None and potential.config.head != "energy":
        raise InputError(f"'{potential.info.name}' predicts no energies, so there are no labels to write: use --json.")
    _gathered(common, potential, items, uncertainty, partial(_tell, common, potential, items))


def _tell(common: Common, potential: Potential, given: Sequence[Item], done: Sequence[tuple[int, Any]]) -> None:
    """Write and print predictions."""
    items, found = [given[number] for number, _ in done], [one for _, one in done]
    if common.output is not None:
        _write(common, items, found)
    unit = getattr(potential.config, "unit", "")
    records = [_record(item, one, unit) for item, one in zip(items, found, strict=True)]
    if "property" in records[0]:
        title = records[0]["property_name"] + (f" / {unit}" if unit else "")
        heads: tuple[str, ...] = ("file", "index", "formula", title)
        emit(common, records, heads, ((r["file"], r["index"], r["formula"], r["property"]) for r in records))
        return
    heads = ("file", "index", "formula", "energy / eV", "largest force / eV/Å", "pressure / GPa")
    if "energy_std_eV" in records[0]:
        heads = (*heads, "energy spread / eV", "largest force spread / eV/Å")
    emit(common, records, heads, (_row(record) for record in records))


def predict_items(
    common: Common, potential: Potential, items: Sequence[Item], uncertainty: bool = False
) -> list[Prediction] | list[PropertyPrediction]:
    """Predictions in the order of the items, with progress, time and number of compilations on stderr."""
    return _gathered(common, potential, items, uncertainty, lambda done: [one for _, one in done])


def _gathered(
    common: Common,
    potential: Potential,
    items: Sequence[Item],
    uncertainty: bool,
    tell: Callable[[list[tuple[int, Any]]], Answer],
) -> Answer:
    from ergodica.prediction import compilations, iter_predictions

    systems = [item.system for item in items]
    with CompileWatch(atoms_of(items), common.quiet) as watch:
        found = iter_predictions(potential, systems, precision=common.precision, uncertainty=uncertainty)
        answer = gathered(common, "predicting", len(items), found, tell)
    many = "1 structure" if len(items) == 1 else f"{len(items)} structures"
    say(common, f"{potential.info.name}: {many} in {watch.summary(compilations(potential, uncertainty))}")
    return answer


def atoms_of(items: Sequence[Item]) -> str:
    """How much is being computed, in words: "9 atoms", "3 structures of up to 9 atoms"."""
    largest = max(len(item.system) for item in items)
    return f"{largest} atoms" if len(items) == 1 else f"{len(items)} structures of up to {largest} atoms"


def _record(item: Item, one: Any, unit: str) -> dict[str, Any]:
    head = {**item.head, "n_atoms": len(item.system)}
    if hasattr(one, "kind"):
        return {**head, "property_name": one.kind, "property": one.value, "property_unit": unit}
    return {
        **head,
        "energy_eV": one.energy,
        "forces_eV_per_A": one.forces,
        "stress_eV_per_A3": one.stress,
        "energies_eV": one.energies,
        **(_uncertainty(one.uncertainty) if one.uncertainty else {}),
    }


def _uncertainty(known: Uncertainty) -> dict[str, Any]:
    spread = {
        "energy_std_eV": known.energy,
        "forces_std_eV_per_A": known.forces,
        "stress_std_eV_per_A3": known.stress,
    }
    bounds = known.bounds
    if bounds is None:
        return spread
    return {
        **spread,
        "confidence": bounds.level,
        "energy_bound_eV": bounds.energy,
        "forces_bound_eV_per_A": bounds.forces,
        "stress_bound_eV_per_A3": bounds.stress,
    }


def _row(record: dict[str, Any]) -> tuple[Any, ...]:
    import numpy as np

    from ergodica.units import EV_PER_A3_IN_GPA

    stress = record["stress_eV_per_A3"]
    pressure = None if stress is None else -float(np.trace(stress)) / 3 * EV_PER_A3_IN_GPA
    largest = float(np.linalg.norm(record["forces_eV_per_A"], axis=1).max())
    row = record["file"], record["index"], record["formula"], record["energy_eV"], largest, pressure
    if "energy_std_eV" not in record:
        return row
    return *row, record["energy_std_eV"], float(record["forces_std_eV_per_A"].max())


def _carried(known: Uncertainty | None) -> dict[str, float]:
    """What of an uncertainty a file of structures carries along."""
    if known is None:
        return {}
    return {"energy_std_eV": known.energy, "largest_force_std_eV_per_A": float(known.forces.max())}


def _write(common: Common, items: Sequence[Item], found: Sequence[Any]) -> None:
    from ergodica.files import write_structures
    from ergodica.system import Labels

    labelled = []
    for item, one in zip(items, found, strict=True):
        system = item.system.with_labels(Labels(one.energy, one.forces, one.stress))
        labelled.append(replace(system, info={**system.info, **_carried(one.uncertainty)}))
    assert common.output is not None
    write_structures(common.output, labelled)
