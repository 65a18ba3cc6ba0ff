"""Constant temperature by chains of Nosé and Hoover (Martyna et al. 1996, doi:10.1080/00268979600100761)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.dynamics.integrators.nve import verlet
from ergodica.dynamics.motion import Field, Matter, Motion, Thermostat, kinetic

__all__ = ["Chain", "NoseHoover"]

LINKS = 3
SUZUKI = (1 / (2 - 2 ** (1 / 3)), 1 - 2 / (2 - 2 ** (1 / 3)), 1 / (2 - 2 ** (1 / 3)))
"""Yoshida's and Suzuki's weights of fourth order."""


class Chain(NamedTuple):
    """Positions and velocities of the links of each structure's thermostat [B, 3]."""

    position: Float[Array, "B L"]
    velocity: Float[Array, "B L"]


@dataclass(frozen=True)
class NoseHoover:
    """A chain of three thermostats for each structure."""

    def init(self, motion: Motion, matter: Matter, bath: Thermostat) -> Chain:
        """Chains at rest."""
        rest = jnp.zeros((*motion.energy.shape, LINKS), motion.energy.dtype)
        return Chain(rest, rest)

    def step(self, motion: Motion, field: Field, matter: Matter, bath: Thermostat) -> Motion:
        """Half a step of the chains, one of velocity Verlet, half a step of the chains."""
        motion = verlet(self._half(motion, matter, bath), field, matter, bath.timestep)
        return self._half(motion, matter, bath)

    def _masses(self, matter: Matter, bath: Thermostat) -> Float[Array, "B L"]:
        first = matter.freedom * bath.heat
        return bath.time**2 * jnp.stack([first, *[bath.heat] * (LINKS - 1)], axis=1)

    def _half(self, motion: Motion, matter: Matter, bath: Thermostat) -> Motion:
        masses, heat = self._masses(matter, bath), bath.heat
        position, velocity = motion.extra
        links = [velocity[:, k] for k in range(LINKS)]
        energy, factor = 2 * kinetic(motion, matter), jnp.ones_like(motion.energy)

        def push(link: int, energy: Array) -> Array:
            drive = energy - matter.freedom * heat if link == 0 else masses[:, link - 1] * links[link - 1] ** 2 - heat
            return drive / masses[:, link]

        for weight in SUZUKI:
            time = 0.5 * weight * bath.timestep
            links[-1] = links[-1] + 0.5 * time * push(LINKS - 1, energy)
            for link in range(LINKS - 2, -1, -1):
                slow = jnp.exp(-0.25 * time * links[link + 1])
                links[link] = slow * (slow * links[link] + 0.5 * time * push(link, energy))
            scale = jnp.exp(-time * links[0])
            factor, energy = factor * scale, energy * scale**2
            position = position + time * jnp.stack(links, axis=1)
            for link in range(LINKS - 1):
                slow = jnp.exp(-0.25 * time * links[link + 1])
                links[link] = slow * (slow * links[link] + 0.5 * time * push(link, energy))
            links[-1] = links[-1] + 0.5 * time * push(LINKS - 1, energy)
        momenta = motion.momenta * factor[matter.system][:, None]
        return replace(motion, momenta=momenta, extra=Chain(position, jnp.stack(links, axis=1)))

    def conserved(self, motion: Motion, matter: Matter, bath: Thermostat) -> Float[Array, " B"]:
        """Energy of atoms and chains, eV."""
        position, velocity = motion.extra
        masses = self._masses(matter, bath)
        chain = 0.5 * jnp.sum(masses * velocity**2, axis=1)
        chain = chain + bath.heat * (matter.freedom * position[:, 0] + position[:, 1:].sum(axis=1))
        return motion.energy + kinetic(motion, matter) + chain
