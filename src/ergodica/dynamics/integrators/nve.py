"""Constant energy: velocity Verlet (Swope et al. 1982, doi:10.1063/1.442716)."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Array, Float

from ergodica.dynamics.motion import Extra, Field, Matter, Motion, Thermostat, drift, felt, kick, kinetic

__all__ = ["NVE", "verlet"]


def verlet(motion: Motion, field: Field, matter: Matter, timestep: Array) -> Motion:
    """Kick, drift, new forces, kick."""
    motion = drift(kick(motion, matter, 0.5 * timestep), matter, timestep)
    return kick(felt(motion, field), matter, 0.5 * timestep)


@dataclass(frozen=True)
class NVE:
    """Newton's equations."""

    def init(self, motion: Motion, matter: Matter, bath: Thermostat) -> Extra:
        """Nothing is carried along."""
        return ()

    def step(self, motion: Motion, field: Field, matter: Matter, bath: Thermostat) -> Motion:
        """One step."""
        return verlet(motion, field, matter, bath.timestep)

    def conserved(self, motion: Motion, matter: Matter, bath: Thermostat) -> Float[Array, " B"]:
        """The total energy, eV."""
        return motion.energy + kinetic(motion, matter)
