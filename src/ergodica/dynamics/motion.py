"""What moves, and the block of steps that runs on the device without a word to the host.

A block ends by itself after the steps asked for, or before an atom has moved half the skin since its neighbours were
listed, so that no force is ever computed from a list that lacks a neighbour. Integrators are pairs of pure functions
(`integrators`); whatever noise they need comes from the number of the step, so that a step that is done again is the
same step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ergodica.potentials.potential import ModelConfig, derivatives
from ergodica.system import Batch
from ergodica.units import KB

__all__ = ["Forces", "Integrator", "Matter", "Motion", "Thermostat", "kinetic", "make_block", "temperature"]

Extra = Any


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Motion:
    """Everything a step changes; units of eV, Å, amu and Å·√(amu/eV).

    Attributes:
        positions: [A, 3].
        momenta: [A, 3].
        cell: lattice vectors as rows [B, 3, 3].
        forces: on the atoms [A, 3].
        energy: of interaction, reference energies not included [B].
        virial: Σ r ⊗ dE/dr [B, 3, 3].
        extra: what the integrator carries along.
        step: steps since the beginning.
    """

    positions: Float[Array, "A 3"]
    momenta: Float[Array, "A 3"]
    cell: Float[Array, "B 3 3"]
    forces: Float[Array, "A 3"]
    energy: Float[Array, " B"]
    virial: Float[Array, "B 3 3"]
    extra: Extra
    step: Int[Array, ""]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Matter:
    """What does not change: who the atoms are.

    Attributes:
        masses: amu [A]; 1 for padding.
        free: 0 where an atom is held or is padding [A].
        system: structure of each atom [A].
        freedom: degrees of freedom of each structure that hold heat [B]; 1 for padding.
    """

    masses: Float[Array, " A"]
    free: Float[Array, " A"]
    system: Int[Array, " A"]
    freedom: Float[Array, " B"]

    def sums(self, values: Float[Array, " A ..."]) -> Float[Array, " B ..."]:
        """Sum over the atoms of each structure."""
        return jax.ops.segment_sum(values, self.system, self.freedom.shape[0])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Thermostat:
    """What an integrator is told; numbers, so that another temperature compiles nothing.

    Attributes:
        timestep: Å·√(amu/eV).
        heat: kT of each structure [B], eV.
        time: relaxation time of the thermostat, Å·√(amu/eV).
        pressure: from outside, eV/Å³; used where the cell moves.
        cell_time: relaxation time of the cell, Å·√(amu/eV).
        key: of all noise.
    """

    timestep: Float[Array, ""]
    heat: Float[Array, " B"]
    time: Float[Array, ""]
    pressure: Float[Array, ""]
    cell_time: Float[Array, ""]
    key: Array


class Forces(NamedTuple):
    """What the potential says: energy [B] in eV, forces [A, 3], virial [B, 3, 3]."""

    energy: Float[Array, " B"]
    forces: Float[Array, "A 3"]
    virial: Float[Array, "B 3 3"]


Field = Callable[[Array, Array], Forces]
"""Forces at positions [A, 3] in cells [B, 3, 3]."""


class Integrator(Protocol):
    """An ensemble."""

    def init(self, motion: Motion, matter: Matter, bath: Thermostat) -> Extra:
        """What the integrator carries along, at the start."""

    def step(self, motion: Motion, field: Field, matter: Matter, bath: Thermostat) -> Motion:
        """One step; `motion.step` is counted outside."""

    def conserved(self, motion: Motion, matter: Matter, bath: Thermostat) -> Float[Array, " B"]:
        """The energy that the exact flow would keep, eV; the total energy where there is no such thing."""


def kinetic(motion: Motion, matter: Matter) -> Float[Array, " B"]:
    """Kinetic energy of each structure, eV."""
    return 0.5 * matter.sums(matter.free * jnp.sum(motion.momenta**2, axis=1) / matter.masses)


def temperature(motion: Motion, matter: Matter) -> Float[Array, " B"]:
    """Kinetic temperature of each structure, K."""
    return 2 * kinetic(motion, matter) / (matter.freedom * KB)


def kick(motion: Motion, matter: Matter, time: Array) -> Motion:
    """Forces act for a while."""
    return replace(motion, momenta=motion.momenta + time * matter.free[:, None] * motion.forces)


def drift(motion: Motion, matter: Matter, time: Array) -> Motion:
    """Atoms fly for a while."""
    return replace(motion, positions=motion.positions + time * motion.momenta / matter.masses[:, None])


def felt(motion: Motion, field: Field) -> Motion:
    """The motion with the forces at its positions."""
    energy, forces, virial = field(motion.positions, motion.cell)
    return replace(motion, energy=energy, forces=forces, virial=virial)


def field_of(config: ModelConfig, scale: float, params: Any, batch: Batch) -> Field:
    """The potential as a function of positions and cells, with the neighbours of a batch."""

    def field(positions: Array, cell: Array) -> Forces:
        found = derivatives(config, params, replace(batch, positions=positions, cell=cell))
        energy = jax.ops.segment_sum(found.energies, batch.system, batch.n_systems)
        return Forces(scale * energy, scale * found.forces, scale * found.virial)

    return field


class Block(NamedTuple):
    """What a block leaves behind.

    Attributes:
        motion: after its last step.
        done: steps it made.
        temperature: of each step [N, B], K; NaN beyond `done`.
        conserved: of each step [N, B], eV; NaN beyond `done`.
    """

    motion: Motion
    done: Int[Array, ""]
    temperature: Float[Array, "N B"]
    conserved: Float[Array, "N B"]


def make_block(config: ModelConfig, scale: float, integrator: Integrator, length: int) -> Callable[..., Block]:
    """A function that makes up to `length` steps on the device.

    Args:
        config: architecture of the potential.
        scale: eV per unit of its output.
        integrator: the ensemble.
        length: most steps of a call.

    Returns:
        (params, batch, matter, bath, motion, steps, skin) → `Block`. `batch` has the positions and cells at which its
        neighbours were listed, `skin` (Å) is how far beyond the cut-off.
    """

    def run(
        params: Any, batch: Batch, matter: Matter, bath: Thermostat, motion: Motion, steps: Array, skin: Array
    ) -> Block:
        field = field_of(config, scale, params, batch)
        inverse = jnp.linalg.inv(batch.cell)

        def within(new: Motion) -> Bool[Array, ""]:
            # a pair that was no neighbour is now at least (1 - |strain|) (cut-off + skin) - 2 |displacement| apart
            strain = inverse @ new.cell - jnp.eye(3, dtype=new.cell.dtype)
            stretched = batch.positions + jnp.einsum("ai,aij->aj", batch.positions, strain[matter.system])
            away = jnp.sqrt(jnp.sum((new.positions - stretched) ** 2, axis=1))
            shrunk = jnp.sqrt(jnp.sum(strain**2, axis=(1, 2)))[matter.system] * (config.cutoff + skin)
            return jnp.all(jnp.where(matter.free > 0, 2 * away + shrunk, 0.0) <= skin)

        def go(carry: tuple[Block, Array]) -> tuple[Block, Array]:
            block, _ = carry
            new = integrator.step(block.motion, field, matter, bath)
            new = replace(new, step=block.motion.step + 1)
            good = within(new)
            motion = jax.tree.map(lambda old, later: jnp.where(good, later, old), block.motion, new)
            rows = (temperature(motion, matter), integrator.conserved(motion, matter, bath))
            kept = [
                jax.lax.dynamic_update_index_in_dim(log, jnp.where(good, row, jnp.nan), block.done, 0)
                for log, row in zip(block[2:], rows, strict=True)
            ]
            return Block(motion, block.done + good, *kept), good

        empty = jnp.full((length, matter.freedom.shape[0]), jnp.nan, motion.energy.dtype)
        start = Block(motion, jnp.zeros((), jnp.int32), empty, empty)
        return jax.lax.while_loop(lambda carry: (carry[0].done < steps) & carry[1], go, (start, jnp.asarray(True)))[0]

    return run


def make_start(config: ModelConfig, scale: float) -> Callable[..., Forces]:
    """(params, batch) → forces at the positions of the batch."""
    return lambda params, batch: field_of(config, scale, params, batch)(batch.positions, batch.cell)
