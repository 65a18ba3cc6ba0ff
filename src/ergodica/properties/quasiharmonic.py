"""Free energies G(T, P), thermal expansion and phase boundaries in the quasi-harmonic approximation.

At each temperature F(V) = E(V) + F_vib(V, T) is a polynomial in V^(-2/3) (Birch's finite strain) fitted to the sampled
volumes. The fit is linear in the data, so the fits of F and S satisfy S = -∂F/∂T exactly, and what is derived from them
(-∂G/∂T = S, ∂G/∂P = V, the thermal expansion, C_P) is consistent to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ergodica._extras import require
from ergodica.config import check_keys
from ergodica.dynamics.relax import Relaxed
from ergodica.errors import InputError, WorkFailed
from ergodica.properties.eos import EosFit, EquationOfState, eos, scaled
from ergodica.properties.evaluation import Model, evaluator
from ergodica.properties.harmonic import harmonic_crystals, require_harmonic
from ergodica.properties.options import EosOptions, QuasiharmonicOptions, steps_to
from ergodica.properties.phonons import Phonons, analyse
from ergodica.properties.relaxation import relax_together
from ergodica.system import System, as_systems
from ergodica.units import EV_PER_A3_IN_GPA, GPA, KJ_PER_MOL

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["FreeEnergySurface", "Quasiharmonic", "quasiharmonic"]

MARGIN = 0.985
"""The smallest volume, relative to that of the static crystal at the highest pressure."""
DEGREE = 3
"""Of the polynomial in V^(-2/3); Birch's third order."""
GRID = 400
"""Volumes among which the minimum of F + PV is looked for before it is refined."""


@dataclass(frozen=True)
class FreeEnergySurface:
    """F(V, T) of one atom, as polynomials in x = (V/unit)^(-2/3).

    Attributes:
        temperatures: K [T].
        volumes: that were sampled [V], Å³/atom, ascending.
        unit: volume at which x = 1, Å³/atom.
        free: coefficients of F [T, D], eV/atom.
        entropy: of S [T, D], eV/K/atom.
        heat: of C_V [T, D], eV/K/atom.
    """

    temperatures: Float[np.ndarray, " T"]
    volumes: Float[np.ndarray, " V"]
    unit: float
    free: Float[np.ndarray, "T D"]
    entropy: Float[np.ndarray, "T D"]
    heat: Float[np.ndarray, "T D"]

    @classmethod
    def fit(
        cls,
        temperatures: Float[np.ndarray, " T"],
        volumes: Float[np.ndarray, " V"],
        free: Float[np.ndarray, "V T"],
        entropy: Float[np.ndarray, "V T"],
        heat: Float[np.ndarray, "V T"],
    ) -> FreeEnergySurface:
        """Fit free energies (eV/atom), entropies and heat capacities (eV/K/atom) at volumes (Å³/atom)."""
        order = np.argsort(volumes)
        volumes = np.asarray(volumes, float)[order]
        unit = float(volumes.mean())
        powers = np.vander((volumes / unit) ** (-2 / 3), DEGREE + 1, increasing=True)
        solve = np.linalg.pinv(powers)
        columns = [(solve @ np.asarray(values)[order]).T for values in (free, entropy, heat)]
        return cls(np.asarray(temperatures, float), volumes, unit, *columns)

    def _powers(self, volume: np.ndarray, derivative: int = 0) -> np.ndarray:
        """∂ᵏ/∂Vᵏ of the powers of x [..., D]."""
        exponents = -2 / 3 * np.arange(DEGREE + 1)
        factor = [np.ones_like(exponents), exponents, exponents * (exponents - 1)][derivative]
        ratio = np.asarray(volume)[..., None] / self.unit
        return factor * ratio ** (exponents - derivative) / self.unit**derivative

    def volume(self, pressure: float) -> Float[np.ndarray, " T"]:
        """Volumes at a pressure (GPa) [T], Å³/atom; NaN where the minimum of F + PV is not among those sampled."""
        grid = np.linspace(self.volumes[0], self.volumes[-1], GRID)
        enthalpy = self.free @ self._powers(grid).T + pressure * GPA * grid
        inner = np.clip(enthalpy.argmin(axis=1), 1, GRID - 2)
        volume = grid[inner]
        for _ in range(30):  # Newton's method, from the best of the grid
            slope = (self.free * self._powers(volume, 1)).sum(axis=1) + pressure * GPA
            curvature = (self.free * self._powers(volume, 2)).sum(axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                volume = volume - np.where(curvature > 0, slope / curvature, np.nan)
        spacing = grid[1] - grid[0]
        inside = (volume >= grid[0]) & (volume <= grid[-1]) & (np.abs(volume - grid[inner]) <= 2 * spacing)
        return np.where(inside, volume, np.nan)

    def helmholtz(self, volumes: Float[np.ndarray, " W"]) -> Float[np.ndarray, "T W"]:
        """F(T, V) at volumes (Å³/atom), eV/atom."""
        return self.free @ self._powers(np.asarray(volumes, float)).T

    def gibbs(self, pressure: float) -> Float[np.ndarray, " T"]:
        """G(T) at a pressure (GPa) [T], eV/atom; NaN outside the sampled volumes."""
        volume = self.volume(pressure)
        return (self.free * self._powers(volume)).sum(axis=1) + pressure * GPA * volume

    def at_pressure(self, pressure: float) -> dict[str, Float[np.ndarray, " T"]]:
        """Everything along an isobar (pressure in GPa): arrays [T] by name, with units in the names.

        α = (∂S/∂V)/K_T and C_P = C_V + T V α² K_T, all from the fitted polynomials.
        """
        volume = self.volume(pressure)
        powers, slopes = self._powers(volume), self._powers(volume, 1)
        bulk = volume * (self.free * self._powers(volume, 2)).sum(axis=1)
        expansion = (self.entropy * slopes).sum(axis=1) / bulk
        constant_volume = (self.heat * powers).sum(axis=1)
        constant_pressure = constant_volume + self.temperatures * volume * expansion**2 * bulk
        kilo = 1e3 / KJ_PER_MOL
        with np.errstate(divide="ignore", invalid="ignore"):
            grueneisen = np.where(constant_volume > 0, expansion * bulk * volume / constant_volume, np.nan)
        return {
            "volume_A3_per_atom": volume,
            "gibbs_eV_per_atom": (self.free * powers).sum(axis=1) + pressure * GPA * volume,
            "entropy_J_per_mol_K_per_atom": (self.entropy * powers).sum(axis=1) * kilo,
            "bulk_modulus_GPa": bulk * EV_PER_A3_IN_GPA,
            "thermal_expansion_per_K": expansion,
            "heat_capacity_v_J_per_mol_K_per_atom": constant_volume * kilo,
            "heat_capacity_p_J_per_mol_K_per_atom": constant_pressure * kilo,
            "grueneisen": grueneisen,
        }


@dataclass(frozen=True)
class Quasiharmonic:
    """Free energies of one crystal.

    Attributes:
        system: the structure as given.
        surface: F(V, T) of an atom.
        pressures: GPa [P].
        static: equation of state without vibrations, of the cell as given.
        phonons: at the volumes that were used, ascending.
        warnings: what to know before using it.
    """

    system: System
    surface: FreeEnergySurface
    pressures: Float[np.ndarray, " P"]
    static: EosFit
    phonons: tuple[Phonons, ...]
    warnings: tuple[str, ...]

    @property
    def gibbs(self) -> Float[np.ndarray, "P T"]:
        """G(P, T), eV/atom; NaN outside the sampled volumes."""
        return np.array([self.surface.gibbs(pressure) for pressure in self.pressures])

    def to_dict(self) -> dict[str, Any]:
        """The result in JSON's terms."""
        n = len(self.system)
        return {
            "n_atoms": n,
            "static_v0_A3_per_atom": self.static.v0 / n,
            "static_bulk_modulus_GPa": self.static.b0,
            "volumes_A3_per_atom": self.surface.volumes,
            "temperature_K": self.surface.temperatures,
            "pressure_GPa": self.pressures,
            "zero_pressure": self.surface.at_pressure(0.0),
            "gibbs_eV_per_atom": self.gibbs,
            "warnings": list(self.warnings),
        }


def quasiharmonic(
    model: Model,
    structures: System | Atoms | Sequence[System | Atoms],
    options: QuasiharmonicOptions | None = None,
    **changes: Any,
) -> list[Quasiharmonic]:
    """Free energies of crystals over temperature and pressure.

    The equation of state says which volumes the pressures and temperatures reach; at each, atoms and cell shape are
    relaxed at fixed volume and phonons computed, the displaced cells of all volumes and structures together. Volumes
    with imaginary modes are left out, with a warning.

    Args:
        model: a `Potential` or an ASE calculator.
        structures: one or many crystals.
        options: how.
        changes: fields of `QuasiharmonicOptions` by name, such as `p_max=20`.

    Returns:
        one result a structure, in the order given.

    Raises:
        InputError: a structure that is not periodic in three directions, charged, or of mixed isotopes, an element the
            model does not know, or phonopy or seekpath is not installed.
        WorkFailed: no equation of state, or imaginary modes at too many volumes.
    """
    check_keys(QuasiharmonicOptions, changes, "quasiharmonic")
    options = replace(options or QuasiharmonicOptions(), **changes)
    systems = as_systems(structures)
    require_harmonic(systems, "quasi-harmonic free energies")
    require("phonopy", "phonons"), require("seekpath", "phonons")
    evaluate = evaluator(model, options.precision)
    static = EosOptions(fmax=options.fmax, steps=options.steps, precision=options.precision)
    fits = [_fit_of(curve) for curve in eos(model, systems, static)]
    cells = [
        scaled(system, volume) for system, fit in zip(systems, fits, strict=True) for volume in _volumes(fit, options)
    ]
    relaxed = relax_together(
        evaluate, cells, cell="shape", fmax=options.fmax, steps=options.steps, symprec=options.symprec
    )
    harmonics = harmonic_crystals(evaluate, [one.system for one in relaxed], options.phonons, options.volumes)
    found = []
    for number, (system, fit) in enumerate(zip(systems, fits, strict=True)):
        own = slice(number * options.volumes, (number + 1) * options.volumes)
        found.append(_collect(system, fit, relaxed[own], harmonics[own], options))
    return found


def _fit_of(curve: EquationOfState) -> EosFit:
    if curve.fit is None:
        raise WorkFailed(curve.warnings[0])
    return curve.fit


def _volumes(fit: EosFit, options: QuasiharmonicOptions) -> Float[np.ndarray, " V"]:
    """Volumes from the one at the highest pressure to the most expanded, Å³."""
    trial = fit.v0 * np.linspace(1.0, 0.4, 601)
    pressure = fit.pressure(trial)
    reached = np.flatnonzero(pressure >= options.p_max)
    if not reached.size:
        raise InputError(f"The equation of state does not reach p_max={options.p_max} GPa: choose a lower pressure.")
    smallest = float(trial[reached[0]])
    return np.linspace(MARGIN * smallest, options.expansion * fit.v0, options.volumes)


def _collect(
    system: System, fit: EosFit, relaxed: Sequence[Relaxed], harmonics: Sequence[Any], options: QuasiharmonicOptions
) -> Quasiharmonic:
    """Free energies of one crystal from its cells and force constants at all volumes."""
    warnings = []
    if not all(one.converged for one in relaxed):
        warnings.append(f"{system.name}: relaxations did not converge in {options.steps} steps at some volumes.")
    all_ = [analyse(one.system, h, options.phonons) for one, h in zip(relaxed, harmonics, strict=True)]
    sound = tuple(one for one in all_ if not one.imaginary)
    if len(sound) < len(all_):
        lost = ", ".join(f"{one.system.volume / len(system):.4g}" for one in all_ if one.imaginary)
        warnings.append(f"{system.name} has imaginary modes at {lost} Å³/atom: these volumes are left out.")
    if len(sound) < DEGREE + 2:
        raise WorkFailed(
            f"{system.name} has imaginary modes at {len(all_) - len(sound)} of {len(all_)} volumes: it is no "
            "stable crystal of this model, so it has no quasi-harmonic free energy."
        )
    surface = _surface(sound)
    if np.isnan(surface.volume(0.0)).any():
        last = surface.temperatures[~np.isnan(surface.volume(0.0))]
        until = f"up to {last[-1]:g} K" if last.size else "at no temperature"
        warnings.append(
            f"{system.name}: at zero pressure the free energy has its minimum among the sampled volumes only "
            f"{until}; raise --expansion, or the crystal is near its limit of stability."
        )
    return Quasiharmonic(system, surface, steps_to(options.p_max, options.p_step), fit, sound, tuple(warnings))


def _surface(phonons: Sequence[Phonons]) -> FreeEnergySurface:
    """F, S and C_V per atom from the phonons at several volumes."""
    atoms = np.array([one.n_atoms for one in phonons])[:, None]
    n = np.array([len(one.system) for one in phonons])
    static = np.array([one.system.labels.energy for one in phonons], float) / n
    thermal = [one.thermal for one in phonons]
    return FreeEnergySurface.fit(
        thermal[0].temperatures,
        np.array([one.system.volume for one in phonons]) / n,
        static[:, None] + np.array([t.free_energy for t in thermal]) / atoms,
        np.array([t.entropy for t in thermal]) / atoms,
        np.array([t.heat_capacity for t in thermal]) / atoms,
    )
