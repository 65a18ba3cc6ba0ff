"""Constant temperature and pressure: stochastic rescaling of the cell, and of the velocities (`csvr`).

Bernetti & Bussi 2020 (arXiv:2006.09250) where the cell keeps its shape; Del Tatto, Raiteri, Bernetti & Bussi 2022
(doi:10.3390/app12031139) where it does not. First order in time: the volume relaxes without ringing, and its
fluctuations are those of the ensemble. The compressibility sets nothing but the pace. Strains are applied as
exponentials; in that form (Itô, left-invariant) the drift is the pressure's excess alone: the terms kT/V of the papers'
equations for V and for the cell itself are taken up by the change of variables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.dynamics.integrators.csvr import rescaled
from ergodica.dynamics.motion import Field, Matter, Motion, Thermostat, drift, felt, kick, kinetic

__all__ = ["NPT"]


class Account(NamedTuple):
    """What thermostat and barostat have given each structure [B], eV."""

    heat: Float[Array, " B"]
    work: Float[Array, " B"]


@dataclass(frozen=True)
class NPT:
    """Cell and velocities rescaled at random.

    Attributes:
        shape: what the cell may do: "isotropic", "orthorhombic" (its lengths change, each by itself) or "triclinic".
        axes: Cartesian directions in which it may: "xyz", "xy", "z" ...
    """

    shape: str = "isotropic"
    axes: str = "xyz"

    def init(self, motion: Motion, matter: Matter, bath: Thermostat) -> Account:
        """Empty accounts."""
        return Account(jnp.zeros_like(motion.energy), jnp.zeros_like(motion.energy))

    def step(self, motion: Motion, field: Field, matter: Matter, bath: Thermostat) -> Motion:
        """Kick, drift, new cell, new forces, kick, new kinetic energy."""
        motion = drift(kick(motion, matter, 0.5 * bath.timestep), matter, bath.timestep)
        motion = kick(felt(self._reshaped(motion, matter, bath), field), matter, 0.5 * bath.timestep)
        momenta, heat = rescaled(motion, matter, bath)
        return replace(motion, momenta=momenta, extra=motion.extra._replace(heat=motion.extra.heat + heat))

    def _reshaped(self, motion: Motion, matter: Matter, bath: Thermostat) -> Motion:
        """Positions and cell multiplied by a small random strain, momenta by its inverse."""
        volume = jnp.abs(jnp.linalg.det(motion.cell))
        thermal = bath.heat / volume
        weight = (matter.free / matter.masses)[:, None, None]
        tensor = matter.sums(weight * motion.momenta[:, :, None] * motion.momenta[:, None])
        unit = jnp.eye(3, dtype=motion.cell.dtype)
        excess = (tensor - motion.virial) / volume[:, None, None] - bath.pressure * unit
        pace = bath.compressibility * bath.timestep / (3 * bath.cell_time)
        noise = jax.random.normal(
            jax.random.fold_in(jax.random.fold_in(bath.key, 1), motion.step), motion.cell.shape, motion.cell.dtype
        )
        width = jnp.sqrt(2 * pace * thermal)[:, None, None]
        free = jnp.asarray([float(axis in self.axes) for axis in "xyz"], unit.dtype)
        if self.shape == "isotropic":
            mean = jnp.sum(jnp.diagonal(excess, axis1=1, axis2=2) * free, axis=1) / free.sum()
            strain = (pace * mean + jnp.sqrt(2 * pace * thermal / free.sum()) * noise[:, 0, 0])[:, None, None] * unit
        elif self.shape == "orthorhombic":
            strain = (pace * excess + width * noise) * unit
        else:  # without a turn of the cell: the strain is symmetric, its parts off the diagonal half as variable
            strain = pace * excess + width * 0.5 * (noise + jnp.swapaxes(noise, 1, 2))
        strain = strain * free[:, None] * free
        grow, shrink = jax.scipy.linalg.expm(strain), jax.scipy.linalg.expm(-strain)
        own = matter.system
        return replace(
            motion,
            positions=jnp.einsum("ai,aij->aj", motion.positions, grow[own]),
            momenta=jnp.einsum("ai,aij->aj", motion.momenta, shrink[own]),
            cell=motion.cell @ grow,
        )

    def conserved(self, motion: Motion, matter: Matter, bath: Thermostat) -> Float[Array, " B"]:
        """The enthalpy less the heat of the thermostat, eV; it walks with the work of the barostat's noise."""
        volume = jnp.abs(jnp.linalg.det(motion.cell))
        return motion.energy + kinetic(motion, matter) + bath.pressure * volume - motion.extra.heat
