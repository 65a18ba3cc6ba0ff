"""Errors of predictions against labels, in plain NumPy and float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.prediction import Prediction, PropertyPrediction
from ergodica.system import System
from ergodica.training.property import values_of
from ergodica.units import EV_PER_A3_IN_GPA

__all__ = ["check_labels", "errors", "property_errors"]

NAMES = ("energy", "forces", "stress")


def errors(predictions: Sequence[Prediction], systems: Sequence[System]) -> dict[str, Any]:
    """Mean absolute, root-mean-square and mean-norm errors.

    Args:
        predictions: of an energy model, one for each structure.
        systems: the structures with their labels. A label that some structures have and others lack is an error, so
            that no label is lost silently; stresses are asked of fully periodic structures only.

    Returns:
        numbers by name and unit; None for what has no labels. `forces_mae` is over Cartesian components,
        `mean_norm_error` the mean length (for stresses the Frobenius norm) of the error vector; `per_element` is the
        force MAE by symbol.

    Raises:
        InputError: no labels at all, or in some structures only.
    """
    check_labels(systems)
    pairs = list(zip(predictions, systems, strict=True))
    energy = _differences(pairs, "energy", lambda p: p.energy)
    forces = _differences(pairs, "forces", lambda p: p.forces)
    stress = _differences([pair for pair in pairs if pair[1].is_bulk], "stress", lambda p: p.stress)
    sizes = np.array([len(system) for system in systems])
    return {
        "n_structures": len(systems),
        "n_atoms": int(sizes.sum()),
        **_energy_errors(np.array(energy), sizes),
        **_force_errors(forces),
        **_stress_errors(EV_PER_A3_IN_GPA * np.array(stress)),
        "per_element": _per_element(forces, systems),
    }


def property_errors(predictions: Sequence[PropertyPrediction], systems: Sequence[System]) -> dict[str, float]:
    """Errors of a learnt property, in its unit.

    Args:
        predictions: one for each structure.
        systems: the structures, with the property in their info.

    Returns:
        mean absolute and root-mean-square error; the share of the variance that is explained; and the mean absolute
        deviation of the property from its mean, which is the error of knowing nothing.

    Raises:
        InputError: there are no structures, or one lacks the property.
    """
    if not systems:
        raise InputError("There is nothing to evaluate: no structures were given.")
    true = values_of(systems, predictions[0].kind)
    error = np.array([float(one.value) for one in predictions]) - true
    spread = true - true.mean()
    return {
        "n_structures": len(systems),
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": float(1 - (error**2).sum() / max((spread**2).sum(), np.finfo(float).tiny)),
        "mad": float(np.abs(spread).mean()),
    }


def check_labels(systems: Sequence[System]) -> None:
    """Raise `InputError` when there are no labels, or a label in some structures only, or one that is no number."""
    if not systems:
        raise InputError("There is nothing to evaluate: no structures were given.")
    found = 0
    for label in NAMES:
        concerned = [system for system in systems if label != "stress" or system.is_bulk]
        lacking = [system for system in concerned if system.labels.value(label, system.name) is None]
        found += len(concerned) - len(lacking)
        if 0 < len(lacking) < len(concerned):
            raise InputError(
                f"{lacking[0].name} has no {label} while others have: complete the labels or take it out of the file."
            )
    if not found:
        raise InputError(
            f"{systems[0].name} has no energy, forces or stress to compare with: label the structures first."
        )


def _differences(
    pairs: Sequence[tuple[Prediction, System]], label: str, predicted: Callable[[Prediction], Any]
) -> list[np.ndarray]:
    """Prediction minus label for every structure, or nothing when there is no such label."""
    if not pairs or getattr(pairs[0][1].labels, label) is None:
        return []
    return [np.asarray(predicted(p), float) - np.asarray(getattr(s.labels, label), float) for p, s in pairs]


def _energy_errors(error: np.ndarray, sizes: np.ndarray) -> dict[str, float | None]:
    per_atom = error / sizes if error.size else error
    return {
        "energy_mae_eV": _mean(np.abs(error)),
        "energy_mae_eV_per_atom": _mean(np.abs(per_atom)),
        "energy_rmse_eV": _root(error),
        "energy_rmse_eV_per_atom": _root(per_atom),
    }


def _force_errors(parts: Sequence[np.ndarray]) -> dict[str, float | None]:
    error = np.concatenate(parts) if parts else np.zeros((0, 3))
    return {
        "forces_mae_eV_per_A": _mean(np.abs(error)),
        "forces_rmse_eV_per_A": _root(error),
        "forces_mean_norm_error_eV_per_A": _mean(np.linalg.norm(error, axis=1)),
    }


def _stress_errors(error: np.ndarray) -> dict[str, float | None]:
    error = error.reshape(-1, 9)
    return {
        "stress_mae_GPa": _mean(np.abs(error)),
        "stress_rmse_GPa": _root(error),
        "stress_mean_norm_error_GPa": _mean(np.linalg.norm(error, axis=1)),
    }


def _per_element(parts: Sequence[np.ndarray], systems: Sequence[System]) -> dict[str, float]:
    if not parts:
        return {}
    error = np.abs(np.concatenate(parts)).mean(axis=1)
    numbers = np.concatenate([system.numbers for system in systems])
    return {SYMBOLS[z]: float(error[numbers == z].mean()) for z in np.unique(numbers)}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def _root(values: np.ndarray) -> float | None:
    return float(np.sqrt((values**2).mean())) if values.size else None
