"""How far a prediction may be trusted: the spread of an ensemble's members, and bounds of the error from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from ergodica.errors import InputError
from ergodica.potentials.ensemble import Calibration, EnsembleConfig, Spread

if TYPE_CHECKING:
    from ergodica.potentials.potential import EnergyScale, Potential
    from ergodica.system import System

__all__ = ["Bounds", "Uncertainty", "physical_spread", "require_spread"]


@dataclass(frozen=True)
class Bounds:
    """The true value lies within these distances of the prediction, at the level of the calibration.

    Attributes:
        level: share of cases for which that holds, structures being like those of the calibration.
        energy: of the total energy, eV.
        forces: of the force on each atom, a vector [N], eV/Å.
        stress: of the stress, in Frobenius norm, eV/Å³.
    """

    level: float
    energy: float | None
    forces: Float[np.ndarray, " N"] | None
    stress: float | None


@dataclass(frozen=True)
class Uncertainty:
    """Root mean square deviation of an ensemble's members from their mean.

    Attributes:
        energy: of the total energy, eV.
        forces: of the force on each atom, a vector [N], eV/Å (the model deviation of Zhang et al. 2020,
            doi:10.1016/j.cpc.2020.107206).
        stress: of the stress, in Frobenius norm, eV/Å³; None unless periodic in three directions.
        bounds: of the error, if the model was calibrated.
    """

    energy: float
    forces: Float[np.ndarray, " N"]
    stress: float | None
    bounds: Bounds | None = None

    @property
    def of_forces(self) -> Float[np.ndarray, " N"]:
        """Of the force on each atom, eV/Å: the bound of its error, or the spread where there is no bound."""
        bound = None if self.bounds is None else self.bounds.forces
        return self.forces if bound is None else bound

    def largest_force(self, fixed: Bool[np.ndarray, " N"]) -> float:
        """On the worst atom that is not held, eV/Å: who is held goes nowhere."""
        return float(self.of_forces[~fixed].max(initial=0.0))


def require_spread(potential: Potential) -> None:
    """Raise `InputError` unless the potential has members that can disagree."""
    if not isinstance(potential.config, EnsembleConfig):
        raise InputError(
            f"Model '{potential.info.name}' is a single model and can't say how uncertain it is: join several with "
            "'ergodica ensemble', train with [model] members = 4, or give this one a posterior with "
            "'ergodica calibrate'."
        )


def physical_spread(scale: EnergyScale, calibration: Calibration | None, system: System, spread: Spread) -> Uncertainty:
    """From the members' deviation in units of the output to physical numbers, in float64.

    Args:
        scale: of the potential.
        calibration: of the potential.
        system: the structure.
        spread: its own part of the output: a number, [N] and a number, on the host.
    """
    factor = abs(scale.scale) / (len(system) if scale.reduce == "mean" else 1)
    energy = factor * float(spread.energy)
    forces = factor * np.asarray(spread.forces, np.float64)
    stress = factor / system.volume * float(spread.virial) if system.is_bulk else None
    if calibration is None:
        return Uncertainty(energy, forces, stress)
    bounds = Bounds(
        calibration.level,
        _times(calibration.energy, energy),
        _times(calibration.forces, forces),
        _times(calibration.stress, stress),
    )
    return Uncertainty(energy, forces, stress, bounds)


def _times(factor: float | None, value: Any) -> Any:
    return None if factor is None or value is None else factor * value
