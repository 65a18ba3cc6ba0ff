"""Which of two polymorphs is stable at which temperature and pressure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.properties.evaluation import Model
from ergodica.properties.options import QuasiharmonicOptions
from ergodica.properties.quasiharmonic import Quasiharmonic, quasiharmonic
from ergodica.system import System, as_system

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["PhaseDiagram", "compare_phases", "phase_diagram"]


@dataclass(frozen=True)
class PhaseDiagram:
    """Two polymorphs of one composition in the temperature-pressure plane.

    Attributes:
        first: free energies of the first polymorph.
        second: of the second.
        temperatures: K [T].
        pressures: GPa [P].
        difference: G(second) - G(first) [P, T], eV/atom; NaN where one of them was not sampled.
        boundary: (temperature in K, pressure in GPa) of equal free energies, in order of temperature.
        warnings: what to know before using it.
    """

    first: Quasiharmonic
    second: Quasiharmonic
    temperatures: Float[np.ndarray, " T"]
    pressures: Float[np.ndarray, " P"]
    difference: Float[np.ndarray, "P T"]
    boundary: tuple[tuple[float, float], ...]
    warnings: tuple[str, ...]

    def stable_at(self, temperature: float, pressure: float) -> str | None:
        """Name of the stable polymorph at the nearest sampled point; None where one was not sampled."""
        column = int(np.abs(self.temperatures - temperature).argmin())
        row = int(np.abs(self.pressures - pressure).argmin())
        value = self.difference[row, column]
        return None if np.isnan(value) else (self.first if value > 0 else self.second).system.name

    def to_dict(self) -> dict[str, Any]:
        """The result in JSON's terms."""
        low, high = float(self.temperatures[0]), float(self.temperatures[-1])
        return {
            "first": {"name": self.first.system.name, **self.first.to_dict()},
            "second": {"name": self.second.system.name, **self.second.to_dict()},
            "stable_lowest_temperature_zero_pressure": self.stable_at(low, 0.0),
            "stable_highest_temperature_zero_pressure": self.stable_at(high, 0.0),
            "boundary": [{"temperature_K": t, "pressure_GPa": p} for t, p in self.boundary],
            "temperature_K": self.temperatures,
            "pressure_GPa": self.pressures,
            "gibbs_difference_eV_per_atom": self.difference,
            "warnings": list(self.warnings),
        }


def phase_diagram(
    model: Model,
    structures: Sequence[System | Atoms],
    options: QuasiharmonicOptions | None = None,
    **changes: Any,
) -> PhaseDiagram:
    """Phase diagram of two polymorphs from their quasi-harmonic free energies.

    Args:
        model: a `Potential` or an ASE calculator.
        structures: two crystals of the same composition.
        options: temperatures, pressures, phonons.
        changes: fields of `QuasiharmonicOptions` by name, such as `p_max=20`.

    Raises:
        InputError: not two structures, or of different composition; else as `quasiharmonic`.
        WorkFailed: a polymorph has no equation of state or too many imaginary modes.
    """
    if len(structures) != 2:
        raise InputError(f"A phase diagram compares two structures, not {len(structures)}.")
    systems = [as_system(one, f"structure {index}") for index, one in enumerate(structures)]
    check_composition(systems[0], systems[1])
    first, second = quasiharmonic(model, systems, options or QuasiharmonicOptions(), **changes)
    return compare_phases(first, second)


def check_composition(first: System, second: System) -> None:
    """Raise `InputError` unless both have the same elements in the same proportions."""
    one, other = _composition(first), _composition(second)
    if one != other:
        raise InputError(
            f"{first.name} ({one}) and {second.name} ({other}) differ in composition: polymorphs have the same."
        )


def _composition(system: System) -> str:
    numbers, counts = np.unique(system.numbers, return_counts=True)
    common = reduce(gcd, (int(count) for count in counts))
    return "".join(
        SYMBOLS[z] + (str(count // common) if count > common else "") for z, count in zip(numbers, counts, strict=True)
    )


def compare_phases(first: Quasiharmonic, second: Quasiharmonic) -> PhaseDiagram:
    """The phase diagram from free energies on the same temperatures and pressures."""
    difference = second.gibbs - first.gibbs
    temperatures, pressures = first.surface.temperatures, first.pressures
    warnings = [*first.warnings, *second.warnings]
    if np.isnan(difference).all():
        warnings.append("No temperature and pressure was sampled by both polymorphs.")
    elif np.isnan(difference).any():
        warnings.append("Blank parts of the diagram lie outside the volumes sampled for one of the polymorphs.")
    boundary = _boundary(temperatures, pressures, difference)
    if not boundary and not np.isnan(difference).all():
        stable = first if np.nanmean(difference) > 0 else second
        warnings.append(f"{stable.system.name} is stable everywhere: there is no boundary in this range.")
    return PhaseDiagram(first, second, temperatures, pressures, difference, boundary, tuple(warnings))


def _boundary(
    temperatures: Float[np.ndarray, " T"], pressures: Float[np.ndarray, " P"], difference: Float[np.ndarray, "P T"]
) -> tuple[tuple[float, float], ...]:
    """Where the difference is zero, by linear interpolation along both axes."""
    found = set()
    rows, columns = np.nonzero(difference[:-1] * difference[1:] <= 0)
    for p, t in zip(rows, columns, strict=True):
        low, high = difference[p, t], difference[p + 1, t]
        part = low / (low - high) if low != high else 0.0
        found.add((float(temperatures[t]), float(pressures[p] + part * (pressures[p + 1] - pressures[p]))))
    rows, columns = np.nonzero(difference[:, :-1] * difference[:, 1:] <= 0)
    for p, t in zip(rows, columns, strict=True):
        low, high = difference[p, t], difference[p, t + 1]
        part = low / (low - high) if low != high else 0.0
        found.add((float(temperatures[t] + part * (temperatures[t + 1] - temperatures[t])), float(pressures[p])))
    return tuple(sorted(found))
