"""Temperature, pressure and energies along a trajectory with their errors, and the drift of the conserved energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ergodica.properties.frames import Frames
from ergodica.properties.statistics import Estimate, mean_of, slope_of
from ergodica.units import AMU_PER_A3_IN_G_PER_CM3, EV_PER_A3_IN_GPA, KB

__all__ = ["Thermodynamics", "thermodynamics"]


@dataclass(frozen=True)
class Thermodynamics:
    """Series and their means.

    Attributes:
        series: by name with unit, one number a frame [T]: "temperature_K", "potential_energy_eV", "total_energy_eV",
            "conserved_energy_eV", "pressure_GPa", "volume_A3", "density_g_per_cm3"; only what the frames tell.
        means: of the series, with errors that respect their correlation.
        drift: slope of the conserved energy, or, where frames don't tell it, of potential plus kinetic energy, which
            NVE alone conserves; meV/atom/ps. None without times, energies and velocities.
    """

    series: Mapping[str, Float[np.ndarray, " T"]]
    means: Mapping[str, Estimate]
    drift: Estimate | None


def thermodynamics(frames: Frames) -> Thermodynamics:
    """Series and means of a trajectory.

    The temperature counts the degrees of freedom that hold heat (`Frames.freedom`). The pressure is that of the static
    stress plus that of the moving atoms, 2 K / 3 V.
    """
    series: dict[str, Float[np.ndarray, " T"]] = {}
    kinetic, bulk = frames.kinetic, bool(frames.pbc.all())
    if kinetic is not None and frames.freedom:
        series["temperature_K"] = 2 * kinetic / (frames.freedom * KB)
    if frames.energies is not None:
        series["potential_energy_eV"] = frames.energies
        if kinetic is not None:
            series["total_energy_eV"] = frames.energies + kinetic
    if frames.conserved is not None:
        series["conserved_energy_eV"] = frames.conserved
    if bulk and frames.stresses is not None and kinetic is not None:
        static = -np.trace(frames.stresses, axis1=1, axis2=2) / 3
        series["pressure_GPa"] = (static + 2 * kinetic / (3 * frames.volumes)) * EV_PER_A3_IN_GPA
    if bulk and np.ptp(frames.volumes) > 1e-9 * frames.volumes[0]:
        series["volume_A3"] = frames.volumes
        series["density_g_per_cm3"] = frames.masses.sum() / frames.volumes * AMU_PER_A3_IN_G_PER_CM3
    return Thermodynamics(series, {key: mean_of(values) for key, values in series.items()}, _drift(frames, series))


def _drift(frames: Frames, series: Mapping[str, Float[np.ndarray, " T"]]) -> Estimate | None:
    energy = series.get("conserved_energy_eV", series.get("total_energy_eV"))
    if energy is None or frames.times is None:
        return None
    slope = slope_of(frames.times * 1e-3, (energy - energy[0]) * 1e3 / frames.n_atoms)
    return slope if np.isfinite(slope.value) else None
