"""Constant temperature by rescaling all velocities at random (Bussi, Donadio & Parrinello 2007, arXiv:0803.4060)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.dynamics.integrators.nve import verlet
from ergodica.dynamics.motion import Extra, Field, Matter, Motion, Thermostat, kinetic

__all__ = ["CSVR", "rescaled"]


def rescaled(motion: Motion, matter: Matter, bath: Thermostat) -> tuple[Float[Array, "A 3"], Float[Array, " B"]]:
    """New momenta, and the heat that they cost each structure, eV."""
    now = kinetic(motion, matter)
    wanted = _drawn(now, motion.step, matter, bath)
    factor = jnp.sqrt(wanted / jnp.where(now > 0, now, 1.0))[matter.system]
    return motion.momenta * factor[:, None], wanted - now


def _drawn(now: Float[Array, " B"], step: Array, matter: Matter, bath: Thermostat) -> Float[Array, " B"]:
    """The next kinetic energy: equation A7 of the paper."""
    first, rest = jax.random.split(jax.random.fold_in(bath.key, step))
    kept = jnp.exp(-bath.timestep / bath.time)
    mean = 0.5 * bath.heat  # of one degree of freedom
    one = jax.random.normal(first, now.shape, now.dtype)
    others = 2 * jax.random.gamma(rest, 0.5 * jnp.maximum(matter.freedom - 1, 1e-6), now.shape, now.dtype)
    others = jnp.where(matter.freedom > 1, others, 0.0)
    cross = 2 * one * jnp.sqrt(kept * (1 - kept) * mean * now)
    return jnp.maximum(kept * now + (1 - kept) * mean * (one**2 + others) + cross, 0.0)


@dataclass(frozen=True)
class CSVR:
    """Newton's equations, and a kinetic energy that relaxes to its canonical distribution."""

    def init(self, motion: Motion, matter: Matter, bath: Thermostat) -> Extra:
        """The heat that the bath has given [B], eV."""
        return jnp.zeros_like(motion.energy)

    def step(self, motion: Motion, field: Field, matter: Matter, bath: Thermostat) -> Motion:
        """One step of velocity Verlet, then the rescaling."""
        motion = verlet(motion, field, matter, bath.timestep)
        momenta, heat = rescaled(motion, matter, bath)
        return replace(motion, momenta=momenta, extra=motion.extra + heat)

    def conserved(self, motion: Motion, matter: Matter, bath: Thermostat) -> Float[Array, " B"]:
        """The total energy less the heat of the bath, eV (their equation 15)."""
        return motion.energy + kinetic(motion, matter) - motion.extra
