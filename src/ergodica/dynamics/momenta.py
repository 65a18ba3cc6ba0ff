"""The momenta that a run begins with, and how many of them are free."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ergodica.dynamics.options import MDOptions
from ergodica.errors import InputError
from ergodica.system import System
from ergodica.units import KB

__all__ = ["first_momenta", "freedom_of", "momenta_at"]


def first_momenta(systems: Sequence[System], options: MDOptions) -> Float[np.ndarray, "N 3"]:
    """Of all atoms in a row: drawn at the temperature, or those of the structures.

    Raises:
        InputError: those of a structure are to be kept, and it has none.
    """
    if options.velocities == "keep":
        return np.concatenate([_kept(system, options) for system in systems])
    rng = np.random.default_rng(options.seed)
    return np.concatenate([momenta_at(system, options, rng) for system in systems])


def freedom_of(system: System, options: MDOptions) -> int:
    """Degrees of freedom that hold heat: three for each free atom, less three where the centre of mass rests."""
    free = int((~system.fixed).sum())
    drifts = free == 1 or system.fixed.any() or (options.ensemble == "langevin" and not options.fix_com)
    return max(3 * free - (0 if drifts else 3), 1)


def momenta_at(system: System, options: MDOptions, rng: np.random.Generator) -> Float[np.ndarray, "N 3"]:
    """Momenta of exactly the temperature; fixed atoms, and the centre of mass where it is kept, are at rest."""
    masses = system.masses[:, None]
    momenta = rng.standard_normal((len(system), 3)) * np.sqrt(masses * KB * options.temperature)
    momenta = _at_rest(system, options, momenta)
    found = float((momenta**2 / masses).sum()) / (freedom_of(system, options) * KB)
    return momenta * np.sqrt(options.temperature / found) if found > 0 else momenta


def _kept(system: System, options: MDOptions) -> Float[np.ndarray, "N 3"]:
    if not system.momenta.size:
        raise InputError(f"{system.name} holds no momenta to keep: begin with drawn ones (--velocities draw).")
    return _at_rest(system, options, system.momenta)


def _at_rest(system: System, options: MDOptions, momenta: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """Momenta without those of fixed atoms, nor that of the centre of mass where it is kept."""
    free, masses = ~system.fixed[:, None], system.masses[:, None]
    momenta = free * momenta
    if freedom_of(system, options) < 3 * free.sum():
        momenta = momenta - masses * momenta.sum(axis=0) / masses.sum()
    return momenta
