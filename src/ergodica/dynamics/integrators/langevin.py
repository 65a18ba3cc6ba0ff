"""Constant temperature by friction and noise: BAOAB (Leimkuhler & Matthews 2013, doi:10.1063/1.4802990)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.dynamics.motion import Extra, Field, Matter, Motion, Thermostat, drift, felt, kick, kinetic

__all__ = ["Langevin"]


@dataclass(frozen=True)
class Langevin:
    """Friction 1/time on every free atom; positions sample the canonical distribution to second order and better.

    Attributes:
        fix_com: keep the centre of mass at rest; for structures without fixed atoms.
    """

    fix_com: bool = False

    def init(self, motion: Motion, matter: Matter, bath: Thermostat) -> Extra:
        """The heat that the bath has given [B], eV."""
        return jnp.zeros_like(motion.energy)

    def step(self, motion: Motion, field: Field, matter: Matter, bath: Thermostat) -> Motion:
        """Kick, drift, noise, drift, new forces, kick."""
        motion = drift(kick(motion, matter, 0.5 * bath.timestep), matter, 0.5 * bath.timestep)
        before = kinetic(motion, matter)
        motion = replace(motion, momenta=self._mixed(motion, matter, bath))
        motion = replace(motion, extra=motion.extra + kinetic(motion, matter) - before)
        motion = felt(drift(motion, matter, 0.5 * bath.timestep), field)
        return kick(motion, matter, 0.5 * bath.timestep)

    def _mixed(self, motion: Motion, matter: Matter, bath: Thermostat) -> Float[Array, "A 3"]:
        """Momenta that forget a part of what they were: the exact flow of friction and noise."""
        kept = jnp.exp(-bath.timestep / bath.time)
        width = jnp.sqrt((1 - kept**2) * bath.heat[matter.system] * matter.masses) * matter.free
        noise = jax.random.normal(jax.random.fold_in(bath.key, motion.step), motion.momenta.shape, motion.momenta.dtype)
        momenta = kept * motion.momenta + width[:, None] * noise
        if not self.fix_com:
            return momenta
        rests = matter.freedom < 3 * matter.sums(matter.free) - 0.5  # fixed atoms hold the others as it is
        velocity = jnp.where(rests, 1 / matter.sums(matter.masses), 0.0)[:, None] * matter.sums(momenta)
        return momenta - matter.masses[:, None] * velocity[matter.system]

    def conserved(self, motion: Motion, matter: Matter, bath: Thermostat) -> Float[Array, " B"]:
        """The total energy less the heat of the bath, eV; it drifts with the error of the time step alone."""
        return motion.energy + kinetic(motion, matter) - motion.extra
