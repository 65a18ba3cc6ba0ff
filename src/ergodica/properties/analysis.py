"""Everything a trajectory tells: thermodynamics, g(r), diffusion, vibrations; what it can't tell is said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ergodica.config import check_keys
from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.properties.frames import Frames
from ergodica.properties.options import AnalysisOptions
from ergodica.properties.statistics import Estimate
from ergodica.properties.structure import PairDistribution, RadialDistribution, radial_distribution
from ergodica.properties.thermodynamics import Thermodynamics, thermodynamics
from ergodica.properties.transport import CAGE, CM2_PER_S, Diffusion, diffusion
from ergodica.properties.vibrations import Vibrations, vibrations

__all__ = ["Analysis", "analyze"]

FOLLOWED = 0.4
"""Steps between frames, as a part of the cell, beyond which atoms may be taken for their images."""
FASTEST = 125.0
"""THz; bonds of hydrogen vibrate up to there."""


@dataclass(frozen=True)
class Analysis:
    """What was found; None where the trajectory does not tell.

    Attributes:
        frames: that were looked at.
        thermodynamics: temperature, pressure, energies, drift.
        radial: g(r).
        diffusion: displacements.
        vibrations: density of states.
        warnings: what is missing or doubtful, in sentences.
    """

    frames: Frames
    thermodynamics: Thermodynamics
    radial: RadialDistribution | None
    diffusion: Diffusion | None
    vibrations: Vibrations | None
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and arrays; keys say the units."""
        interval, thermo = self.frames.interval, self.thermodynamics
        record: dict[str, Any] = {
            "n_atoms": self.frames.n_atoms,
            "n_frames": len(self.frames),
            "interval_fs": interval,
            "time_ps": None if interval is None else interval * (len(self.frames) - 1) * 1e-3,
        }
        for key, mean in thermo.means.items():
            record |= {key: mean.value, _error_key(key): mean.error}
        if thermo.drift is not None:
            what = "conserved" if self.frames.conserved is not None else "total"
            key = f"{what}_energy_drift_meV_per_atom_per_ps"
            record |= {key: thermo.drift.value, _error_key(key): thermo.drift.error}
        if self.radial is not None:
            record["radial_distribution"] = _radial(self.radial)
        if self.diffusion is not None:
            record["mean_square_displacement"] = _displacements(self.diffusion)
            record["diffusion"] = _coefficients(self.diffusion)
        if self.vibrations is not None:
            record["vibrations"] = _vibrations(self.vibrations)
        return record | {"warnings": list(self.warnings)}


def analyze(frames: Frames, options: AnalysisOptions | None = None, **changes: Any) -> Analysis:
    """Compute all observables that a trajectory allows.

    Args:
        frames: the trajectory, equilibration cut off (`frames[100:]`).
        options: how.
        changes: fields of `AnalysisOptions` by name, such as `r_max=10.0`.

    Raises:
        InputError: fewer than two frames, or an element that is not there.
    """
    check_keys(AnalysisOptions, changes, "analyze")
    options = replace(options or AnalysisOptions(), **changes)
    if len(frames) < 2:
        raise InputError(f"'{frames.name}' has {len(frames)} frame to analyse: give a trajectory, or skip less.")
    keep = _chosen(frames, options.elements)
    thermo = thermodynamics(frames)
    part = replace(frames, numbers=frames.numbers[keep], masses=frames.masses[keep],
                   positions=frames.positions[:, keep],
                   velocities=None if frames.velocities is None else frames.velocities[:, keep])  # fmt: skip
    warnings: list[str] = []
    radial = spread = spectrum = None
    if frames.pbc.all():
        rows = np.unique(np.linspace(0, len(frames) - 1, min(options.rdf_frames, len(frames))).astype(int))
        radial = radial_distribution(part[rows], options.r_max, options.bins)
    else:
        warnings.append("There is no g(r): the system is not periodic in three directions.")
    if frames.interval is None:
        warnings.append("The frames do not say their times, so there is neither diffusion nor a density of states: "
                        "give the time between them (--interval).")  # fmt: skip
    else:
        spread = diffusion(frames, options.blocks)
        spread = replace(spread, elements={s: e for s, e in spread.elements.items() if s in part.symbols})
        warnings += _doubts(spread, frames)
        if frames.velocities is None:
            warnings.append("The frames hold no momenta, so there is neither temperature nor a density of states.")
        elif len(frames) < 8 or frames.kinetic is None or not frames.kinetic.any():
            warnings.append("Too few moving frames for a density of states.")
        else:
            spectrum = vibrations(frames, options.longest_lag)
            spectrum = replace(spectrum, elements={s: e for s, e in spectrum.elements.items() if s in part.symbols})
            if spectrum.frequencies[-1] < FASTEST and 1 in frames.numbers:
                warnings.append(
                    f"Frames {frames.interval:g} fs apart show frequencies up to {spectrum.frequencies[-1]:.0f} THz: "
                    "faster ones, of bonds of hydrogen, are folded back; write frames more often."
                )
    return Analysis(frames, thermo, radial, spread, spectrum, tuple(warnings))


def _chosen(frames: Frames, elements: tuple[str, ...]) -> np.ndarray:
    for symbol in elements:
        if symbol not in frames.symbols:
            raise InputError(f"'{frames.name}' holds no {symbol}, only {', '.join(frames.symbols)}.")
    numbers = [SYMBOLS.index(symbol) for symbol in elements or frames.symbols]
    return np.isin(frames.numbers, numbers)


def _doubts(spread: Diffusion, frames: Frames) -> list[str]:
    doubts = []
    if spread.largest_step > FOLLOWED:
        doubts.append(
            f"Between two frames an atom moves {spread.largest_step:.2f} of the cell: it may have been taken for its "
            "image, so that displacements are too short; write frames more often."
        )
    if not spread.elements:
        return [*doubts, "All atoms of these elements are held: they do not diffuse."]
    if all(one.coefficient is None for one in spread.elements.values()):
        return [*doubts, f"{len(frames)} frames are too few for a diffusion coefficient."]
    if spread.fit[0] < CAGE:
        doubts.append(
            f"Diffusion is fitted from {spread.fit[0]:.0f} fs on, where atoms still rattle in their cages: run longer."
        )
    for symbol, one in spread.elements.items():
        if not one.diffusive and frames.n_atoms > 1:
            doubts.append(
                f"{symbol} does not diffuse in this run: its mean square displacement grows as t^{one.exponent:.2f}, "
                "so its coefficient means nothing; run longer if it should."
            )
    return doubts


def _error_key(key: str) -> str:
    """Before the unit: pressure_GPa gives pressure_error_GPa."""
    for unit in ("_g_per_cm3", "_meV_per_atom_per_ps"):
        if key.endswith(unit):
            return key.removesuffix(unit) + "_error" + unit
    stem, _, unit = key.rpartition("_")
    return f"{stem}_error_{unit}"


def _radial(radial: RadialDistribution) -> dict[str, Any]:
    def one(pair: PairDistribution) -> dict[str, Any]:
        return {
            "g": pair.g,
            "neighbors": pair.neighbors,
            "first_peak_A": pair.first_peak,
            "first_minimum_A": pair.first_minimum,
            "coordination_number": pair.coordination,
        }

    pairs = {name: one(pair) for name, pair in radial.pairs.items()}
    return {"r_A": radial.r, "n_frames": radial.n_frames, "total": one(radial.total), "pairs": pairs}


def _displacements(spread: Diffusion) -> dict[str, Any]:
    return {"lag_fs": spread.lags, "msd_A2": {symbol: one.msd for symbol, one in spread.elements.items()}}


def _coefficients(spread: Diffusion) -> dict[str, Any]:
    nothing = Estimate(float("nan"), float("nan"))
    known = {symbol: one.coefficient or nothing for symbol, one in spread.elements.items()}
    return {
        symbol: {
            "coefficient_cm2_per_s": CM2_PER_S * known[symbol].value,
            "error_cm2_per_s": CM2_PER_S * known[symbol].error,
            "exponent": one.exponent,
            "diffusive": one.diffusive,
            "fit_fs": spread.fit,
        }
        for symbol, one in spread.elements.items()
    }


def _vibrations(found: Vibrations) -> dict[str, Any]:
    return {
        "frequency_THz": found.frequencies,
        "states_per_THz": found.total,
        "states_per_THz_by_element": found.elements,
        "degrees_of_freedom": found.freedom,
    }
