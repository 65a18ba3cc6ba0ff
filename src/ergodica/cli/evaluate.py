"""`ergodica evaluate`: errors of a model against the labels in a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ergodica.cli.common import DEFAULTS, Common
from ergodica.cli.inputs import OWN_NAMES, Item, LabelKeys, read_items
from ergodica.cli.output import emit
from ergodica.cli.predict import predict_items
from ergodica.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from ergodica.potentials.ensemble import Calibration
    from ergodica.potentials.potential import Potential
    from ergodica.prediction import Prediction
    from ergodica.system import System

__all__ = ["evaluate"]


def evaluate(
    *files: str,
    keys: LabelKeys = OWN_NAMES,
    common: Common = DEFAULTS,
) -> None:
    """Compare a model with the energies, forces and stresses in the files.

    Parameters
    ----------
    files
        Labelled structures in anything ASE reads; - is stdin (extxyz). With -o, a parity plot is drawn, and for an
        ensemble the error against its spread. An ensemble also says how well the one ranks the other. A model of a
        property is compared with the numbers under the property's name.
    """
    common.start(kind="picture")
    items = read_items(files, **keys.given)
    potential = common.load()
    from ergodica.potentials.property import PropertyConfig

    if isinstance(potential.config, PropertyConfig):
        _evaluate_property(common, potential, items)
        return
    if potential.config.head != "energy":
        raise InputError(f"Model '{common.model}' predicts '{potential.config.head}', not energies and forces.")
    systems = [item.system for item in items]
    from ergodica.training.metrics import check_labels, errors

    check_labels(systems)  # before anything is computed
    from ergodica.potentials.ensemble import EnsembleConfig
    from ergodica.training.calibration import reliability

    many = isinstance(potential.config, EnsembleConfig)
    found: list[Prediction] = predict_items(common, potential, items, many)  # type: ignore[assignment]
    numbers = errors(found, systems)
    if many:
        numbers["uncertainty"] = reliability(found, systems, potential.calibration)
    if common.output is not None:
        _plot(common.output, _parity(found, systems), _force_spread(found, systems), potential.calibration)
    rows = [(key.replace("_", " "), value) for key, value in numbers.items() if not isinstance(value, dict)]
    rows += [(key.replace("_", " "), value) for key, value in numbers.get("uncertainty", {}).items()]
    rows += [(f"forces mae eV per A, {symbol}", value) for symbol, value in numbers["per_element"].items()]
    emit(common, numbers, ("", potential.info.name), rows)


def _evaluate_property(common: Common, potential: Potential, items: Sequence[Item]) -> None:
    """Errors of a learnt property, which the structures have in their info."""
    import numpy as np

    from ergodica.potentials.property import PropertyConfig
    from ergodica.training.metrics import property_errors
    from ergodica.training.property import values_of

    systems = [item.system for item in items]
    assert isinstance(potential.config, PropertyConfig)
    name = potential.config.name
    true = values_of(systems, name)  # before anything is computed
    found: Any = predict_items(common, potential, items)
    numbers = property_errors(found, systems)
    if common.output is not None:
        label = f"{name}, {potential.config.unit}" if potential.config.unit else name
        _plot(common.output, [(label, np.array([true, [one.value for one in found]]))])
    emit(common, {"property": name, **numbers}, ("", potential.info.name), list(numbers.items()))


def _force_spread(found: Sequence[Prediction], systems: Sequence[System]) -> tuple[Any, Any] | None:
    """Size of the error and spread of the force on every atom, where there is something to draw."""
    from ergodica.training.calibration import error_and_spread

    if found[0].uncertainty is None:
        return None
    pair = error_and_spread(found, systems).get("forces")
    return pair if pair is not None and all((values > 0).any() for values in pair) else None


def _parity(found: Sequence[Prediction], systems: Sequence[System]) -> list[tuple[str, Any]]:
    """Label and points, reference and predicted, of energies per atom and force components."""
    import numpy as np

    pairs = list(zip(found, systems, strict=True))
    energies = [(s.labels.energy / len(s), p.energy / len(s)) for p, s in pairs if s.labels.energy is not None]
    forces = [(s.labels.forces.ravel(), p.forces.ravel()) for p, s in pairs if s.labels.forces is not None]
    return [
        ("energy, eV/atom", np.array(energies).T),
        ("force component, eV/Å", np.concatenate(forces, axis=1) if forces else np.zeros(0)),
    ]


def _plot(
    path: Path,
    panels: Sequence[tuple[str, Any]],
    spread: tuple[Any, Any] | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Predicted against reference values; for an ensemble error against spread beside them."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    from ergodica.pictures import write_picture

    count = len(panels) + (spread is not None)
    figure = Figure(figsize=(4.5 * count, 4), layout="constrained")
    columns = figure.subplots(1, count, squeeze=False)[0]
    for axes, (label, points) in zip(columns, panels, strict=False):
        if points.size:
            axes.plot(*points, ".", ms=3, alpha=0.5)
            axes.axline((points.min(), points.min()), slope=1, lw=0.8, color="k")
        axes.set(xlabel=f"reference {label}", ylabel=f"predicted {label}")
    if spread is not None:
        size, away = spread
        columns[-1].loglog(away, size, ".", ms=3, alpha=0.5)
        ends = away[away > 0].min(), away.max()
        factor = calibration.forces if calibration is not None and calibration.forces else 1.0
        label = "error = spread" if calibration is None else f"bound of {100 * calibration.level:g} %"
        columns[-1].plot(ends, [factor * end for end in ends], lw=0.8, color="k", label=label)
        columns[-1].legend(frameon=False)
        columns[-1].set(xlabel="spread of the force on an atom, eV/Å", ylabel="size of its error, eV/Å")
    write_picture(path, figure)
