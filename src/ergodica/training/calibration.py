"""Conformal calibration: from the spread of an ensemble to bounds of its error that hold for a stated share of cases.

The score of a case is its error over its spread. The ⌈(n+1)·level⌉-th smallest score of n held-out cases, times the
spread, covers the error of a further case of the same kind with at least that probability, whatever the model and the
distribution (Angelopoulos & Bates 2021, arXiv:2107.07511, section 2.3; for potentials Hu et al. 2022,
arXiv:2208.08337).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ergodica.errors import InputError
from ergodica.potentials.ensemble import Calibration
from ergodica.potentials.potential import Potential
from ergodica.prediction import Precision, Prediction, predict
from ergodica.system import System, as_systems
from ergodica.training.metrics import check_labels
from ergodica.uncertainty import Uncertainty

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["calibrate", "conformal_factor", "error_and_spread", "reliability"]

ROUNDING = 1e-9
"""0.9 / (1 - 0.9) is not quite 9."""

SINGLE = 1e-5
"""The case that set the factor lies on its own bound; in single precision its next prediction may lie beyond."""

Pairs = Mapping[str, tuple[Float[np.ndarray, " C"], Float[np.ndarray, " C"]]]


def calibrate(
    potential: Potential,
    structures: Sequence[System | Atoms],
    *,
    level: float = 0.9,
    data: str = "unknown",
    precision: Precision = "float32",
) -> Potential:
    """The same ensemble with the factors that make bounds of its spread.

    Energies count once a structure, stresses too, forces once an atom. Atoms of one structure are not independent, so
    the guarantee of the forces is for structures by the dozen, not for one structure of many atoms.

    Args:
        potential: an ensemble.
        structures: labelled ones that took no part in training.
        level: share of cases whose error stays within its bound.
        data: name of the structures for the model file.
        precision: of the network.

    Raises:
        InputError: no ensemble, no labels, fewer structures than the level asks for, or a spread of zero.
    """
    systems = as_systems(structures)
    check_labels(systems)
    if not 0 < level < 1:
        raise InputError(f"level={level} is no share of cases: choose a number between 0 and 1, such as 0.9.")
    need = ceil(level / (1 - level) - ROUNDING)
    if len(systems) < need:
        raise InputError(
            f"A level of {level:g} needs at least {need} labelled structures, these are {len(systems)}: add some, or "
            "lower the level."
        )
    found: list[Prediction] = predict(potential, systems, precision=precision, uncertainty=True)  # type: ignore[assignment]
    factors = {
        name: conformal_factor(error, spread, level, name)
        for name, (error, spread) in error_and_spread(found, systems).items()
        if len(error) >= need  # of fewer stresses, say, nothing follows
    }
    return replace(potential, calibration=Calibration(level, **factors, structures=len(systems), data=data))


def conformal_factor(error: Float[np.ndarray, " C"], spread: Float[np.ndarray, " C"], level: float, what: str) -> float:
    """The factor by which the spread covers the error in a share `level` of further cases.

    Raises:
        InputError: so many spreads are zero that no factor does.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.sort(np.where(error > 0, error / spread, 0.0))  # a lone atom has neither force nor spread
    factor = float(scores[min(ceil((len(scores) + 1) * level - ROUNDING), len(scores)) - 1])
    if not np.isfinite(factor):
        raise InputError(f"The spread of the {what} is zero for too many structures: the members are one and the same.")
    return factor


def error_and_spread(predictions: Sequence[Prediction], systems: Sequence[System]) -> Pairs:
    """Size of the error and spread of each case, for what has labels: energies, forces atom by atom, stresses.

    Args:
        predictions: with their uncertainty.
        systems: with their labels.
    """
    pairs = [(p, _known(p), s.labels) for p, s in zip(predictions, systems, strict=True)]
    cases: dict[str, list[tuple[Any, Any]]] = {
        "energy": [(abs(p.energy - at.energy), u.energy) for p, u, at in pairs if at.energy is not None],
        "forces": [
            (np.linalg.norm(p.forces - at.forces, axis=1), u.forces) for p, u, at in pairs if at.forces is not None
        ],
        "stress": [
            (np.linalg.norm(p.stress - at.stress), u.stress)
            for p, u, at in pairs
            if at.stress is not None and p.stress is not None
        ],
    }
    return {
        name: (np.concatenate([np.atleast_1d(e) for e, _ in some]), np.concatenate([np.atleast_1d(s) for _, s in some]))
        for name, some in cases.items()
        if some
    }


def _known(prediction: Prediction) -> Uncertainty:
    if prediction.uncertainty is None:
        raise InputError("The predictions were made without their uncertainty: ask for it (uncertainty=True).")
    return prediction.uncertainty


def reliability(
    predictions: Sequence[Prediction], systems: Sequence[System], calibration: Calibration | None
) -> dict[str, float | None]:
    """How well the spread ranks the error and, if calibrated, what share of the errors its bounds cover.

    Args:
        predictions: with their uncertainty.
        systems: with their labels.
        calibration: of the model.

    Returns:
        Spearman's rank correlation of spread and error (1: the larger the spread, the larger the error; None where all
        are equal), mean spread, and coverage, by name.
    """
    numbers: dict[str, float | None] = {} if calibration is None else {"confidence": calibration.level}
    units = {"energy": "eV", "forces": "eV_per_A", "stress": "eV_per_A3"}
    for name, (error, spread) in error_and_spread(predictions, systems).items():
        numbers[f"{name}_mean_std_{units[name]}"] = float(spread.mean())
        numbers[f"{name}_spearman"] = _spearman(spread, error)
        factor = None if calibration is None else getattr(calibration, name)
        if factor is not None:
            numbers[f"{name}_coverage"] = float(np.mean(error <= factor * spread * (1 + SINGLE)))
    return numbers


def _spearman(one: Float[np.ndarray, " C"], other: Float[np.ndarray, " C"]) -> float | None:
    from scipy.stats import spearmanr

    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)
