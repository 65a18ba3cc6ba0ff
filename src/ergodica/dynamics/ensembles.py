"""ASE's integrators behind one interface: step, temperature, conserved energy.

Temperatures count the degrees of freedom that can hold heat: 3N - 3 where the centre of mass rests, 3N under Langevin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.dynamics.options import MDOptions
from ergodica.units import FS, GPA, KB

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Ensemble", "make_ensemble", "thermalize"]


@dataclass(frozen=True)
class Ensemble:
    """An integrator bound to its atoms.

    Attributes:
        dynamics: ASE's integrator; `step()` advances the atoms.
        atoms: the atoms.
        freedom: degrees of freedom that hold heat.
        conserved: the conserved energy, eV, or None where nothing is conserved.
    """

    dynamics: Any
    atoms: Atoms
    freedom: int
    conserved: Callable[[], float | None]

    def temperature(self) -> float:
        """Kinetic temperature, K."""
        return float(2 * self.atoms.get_kinetic_energy() / (self.freedom * KB))


def degrees_of_freedom(n_atoms: int, ensemble: str) -> int:
    """Degrees of freedom that hold heat."""
    return 3 * n_atoms if ensemble == "langevin" or n_atoms == 1 else 3 * n_atoms - 3


def thermalize(atoms: Atoms, options: MDOptions) -> None:
    """Draw velocities at exactly the temperature, centre of mass at rest (except under Langevin)."""
    masses = atoms.get_masses()[:, None]
    noise = np.random.default_rng(options.seed).standard_normal((len(atoms), 3))
    momenta = noise * np.sqrt(masses * KB * options.temperature)
    freedom = degrees_of_freedom(len(atoms), options.ensemble)
    if freedom < 3 * len(atoms):
        momenta -= masses * momenta.sum(axis=0) / masses.sum()
    atoms.set_momenta(momenta)
    found = 2 * atoms.get_kinetic_energy() / (freedom * KB)
    if found > 0:
        atoms.set_momenta(atoms.get_momenta() * np.sqrt(options.temperature / found))


def make_ensemble(atoms: Atoms, options: MDOptions, start: int) -> Ensemble:
    """The integrator of an ensemble, its noise depending on seed and first step."""
    rng = np.random.default_rng([options.seed, start, 1])
    dynamics = _MAKERS[options.ensemble](atoms, options, rng)
    freedom = degrees_of_freedom(len(atoms), options.ensemble)
    if options.ensemble == "csvr":  # ASE counts 3N; the centre of mass rests
        dynamics.ndof = freedom
        dynamics.target_kinetic_energy = 0.5 * freedom * KB * options.temperature
    conserved: dict[str, Callable[[], float | None]] = {
        "nve": atoms.get_total_energy,
        "langevin": lambda: None,
        "csvr": lambda: atoms.get_total_energy() - dynamics.transferred_energy,
    }
    known = conserved.get(options.ensemble)
    return Ensemble(dynamics, atoms, freedom, known or dynamics.get_conserved_energy)


def _nve(atoms: Atoms, options: MDOptions, rng: np.random.Generator) -> Any:
    from ase.md.verlet import VelocityVerlet

    return VelocityVerlet(atoms, options.timestep * FS)


def _langevin(atoms: Atoms, options: MDOptions, rng: np.random.Generator) -> Any:
    from ase.md.langevinbaoab import LangevinBAOAB

    return LangevinBAOAB(
        atoms,
        options.timestep * FS,
        temperature_K=options.temperature,
        T_tau=options.thermostat_time * FS,
        rng=rng,
    )


def _csvr(atoms: Atoms, options: MDOptions, rng: np.random.Generator) -> Any:
    from ase.md.bussi import Bussi

    return Bussi(atoms, options.timestep * FS, options.temperature, options.thermostat_time * FS, rng=rng)


def _scaled(atoms: Atoms, options: MDOptions) -> float:
    """Temperature that makes ASE's chains, which count 3N degrees of freedom, hold the one asked for."""
    return options.temperature * degrees_of_freedom(len(atoms), options.ensemble) / (3 * len(atoms))


def _nose_hoover(atoms: Atoms, options: MDOptions, rng: np.random.Generator) -> Any:
    from ase.md.nose_hoover_chain import NoseHooverChainNVT

    return NoseHooverChainNVT(atoms, options.timestep * FS, _scaled(atoms, options), options.thermostat_time * FS)


def _npt(atoms: Atoms, options: MDOptions, rng: np.random.Generator) -> Any:
    from ase.md.nose_hoover_chain import IsotropicMTKNPT

    return IsotropicMTKNPT(
        atoms,
        options.timestep * FS,
        temperature_K=_scaled(atoms, options),
        pressure_au=options.pressure * GPA,
        tdamp=options.thermostat_time * FS,
        pdamp=options.barostat_time * FS,
    )


_MAKERS: dict[str, Callable[[Atoms, MDOptions, np.random.Generator], Any]] = {
    "nve": _nve,
    "langevin": _langevin,
    "csvr": _csvr,
    "nose-hoover": _nose_hoover,
    "npt": _npt,
}
