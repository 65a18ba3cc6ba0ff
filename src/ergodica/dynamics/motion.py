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

from ergodica.neighbors import Grid, list_neighbors
from ergodica.nn.geometry import edge_vectors, safe_norm
from ergodica.nn.narrow import narrowed, within
from ergodica.potentials.potential import Derivatives, ModelConfig, derivatives
from ergodica.system import Batch
from ergodica.units import KB

__all__ = [
    "Forces",
    "Integrator",
    "Matter",
    "Motion",
    "Search",
    "Thermostat",
    "beyond_skin",
    "kinetic",
    "make_block",
    "physical_forces",
    "temperature",
]

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
        energy: less that of the start [B]; a small number, so that float32 holds it.
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
        freedom: degrees of freedom of each structure that hold heat [B].
        scale: eV per unit of the network's output, of each structure [B].
        origin: the network's output for each atom where the energy is counted from [A].
    """

    masses: Float[Array, " A"]
    free: Float[Array, " A"]
    system: Int[Array, " A"]
    freedom: Float[Array, " B"]
    scale: Float[Array, " B"]
    origin: Float[Array, " A"]

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
        cell_time: relaxation time of the volume, Å·√(amu/eV), for this
        compressibility: Å³/eV.
        key: of all noise.
        ramp: what is added to heat and pressure in every step, and the step after which they stay.
    """

    timestep: Float[Array, ""]
    heat: Float[Array, " B"]
    time: Float[Array, ""]
    pressure: Float[Array, ""]
    cell_time: Float[Array, ""]
    compressibility: Float[Array, ""]
    key: Array
    ramp: tuple[Float[Array, ""], Float[Array, ""], Int[Array, ""]]

    def at(self, step: Int[Array, ""]) -> Thermostat:
        """What holds in this step."""
        heating, pressing, last = self.ramp
        passed = jnp.minimum(step, last).astype(heating.dtype)
        return replace(self, heat=self.heat + passed * heating, pressure=self.pressure + passed * pressing)


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


def beyond_skin(
    batch: Batch, positions: Float[Array, "A 3"], cell: Float[Array, "B 3 3"], cutoff: float, skin: Array
) -> Bool[Array, " A"]:
    """Atoms that may have neighbours which a batch's lists lack.

    Args:
        batch: with the positions and cells at which its neighbours were listed.
        positions: of now, Å.
        cell: of now, Å.
        cutoff: of the potential, Å.
        skin: how far beyond it neighbours were listed, Å.
    """
    # a pair that was no neighbour is now at least (1 - |strain|) (cut-off + skin) - 2 |displacement| apart
    strain = jnp.linalg.inv(batch.cell) @ cell - jnp.eye(3, dtype=cell.dtype)
    stretched = batch.positions + jnp.einsum("ai,aij->aj", batch.positions, strain[batch.system])
    away = jnp.sqrt(jnp.sum((positions - stretched) ** 2, axis=1))
    shrunk = jnp.sqrt(jnp.sum(strain**2, axis=(1, 2)))[batch.system] * (cutoff + skin)
    return ~(2 * away + shrunk <= skin)  # what is no number counts as too far


def field_of(config: ModelConfig, params: Any, batch: Batch, matter: Matter) -> Field:
    """The potential as a function of positions and cells, with the neighbours of a batch."""

    def field(positions: Array, cell: Array) -> Forces:
        found = derivatives(config, params, replace(batch, positions=positions, cell=cell))
        return physical_forces(found, matter)

    return field


def narrow_field_of(config: ModelConfig, params: Any, batch: Batch, matter: Matter, skin: Array, width: int) -> Field:
    """The same, where the network gets no more than the neighbours within the cut-off, in rows of `width` slots.

    The list is cut down anew at every call, so that it is a function of positions and the wide list alone. Where the
    wide list lacks a neighbour, or a row has no room, the forces are NaN and cost nothing: the step is not to be made.
    """

    def field(positions: Array, cell: Array) -> Forces:
        here = replace(batch, positions=positions, cell=cell)
        near = _near(config, here)
        sound = ~_stale(config, batch, matter, positions, cell, skin) & (_fullest(near) <= width)

        def known() -> Forces:
            listed = replace(here, neighbors=narrowed(here.neighbors, near, width))
            return physical_forces(derivatives(config, params, listed), matter)

        def unknown() -> Forces:
            return jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.nan, leaf.dtype), jax.eval_shape(known))

        return jax.lax.cond(sound, known, unknown)

    return field


def _near(config: ModelConfig, batch: Batch) -> Bool[Array, "A K"]:
    return within(safe_norm(edge_vectors(batch)), batch.neighbors, config.cutoff)


def _fullest(near: Bool[Array, "A K"]) -> Int[Array, ""]:
    return jnp.max(jnp.sum(near, axis=1, dtype=jnp.int32))


def _stale(
    config: ModelConfig, batch: Batch, matter: Matter, positions: Array, cell: Array, skin: Array
) -> Bool[Array, ""]:
    """Whether a free atom may have a neighbour that its list lacks."""
    return jnp.any(beyond_skin(batch, positions, cell, config.cutoff, skin) & (matter.free > 0))


def physical_forces(found: Derivatives, matter: Matter) -> Forces:
    """What the network says, in eV and Å."""
    scale = matter.scale
    energy = scale * matter.sums(found.energies - matter.origin)
    return Forces(energy, scale[matter.system][:, None] * found.forces, scale[:, None, None] * found.virial)


class Block(NamedTuple):
    """What a block leaves behind.

    Attributes:
        motion: after its last step.
        batch: with the lists that were used last.
        lists: how often neighbours were listed on the device.
        done: steps it made.
        need: slots of a narrow list that a step would have needed and did not find; 0 if there was none.
        temperature: of each step [N, B], K; NaN beyond `done`.
        conserved: of each step [N, B], eV; NaN beyond `done`.
    """

    motion: Motion
    batch: Batch
    lists: Int[Array, ""]
    done: Int[Array, ""]
    need: Int[Array, ""]
    temperature: Float[Array, "N B"]
    conserved: Float[Array, "N B"]


class Search(NamedTuple):
    """How neighbours are listed on the device; static.

    Attributes:
        grid: the search.
        loops: whether atoms neighbour themselves.
    """

    grid: Grid
    loops: bool


def make_block(
    config: ModelConfig, integrator: Integrator, length: int, search: Search | None = None, narrow: int | None = None
) -> Callable[..., Block]:
    """A function that makes up to `length` steps on the device.

    Args:
        config: architecture of the potential.
        integrator: the ensemble.
        length: most steps of a call.
        search: list neighbours anew when atoms have moved too far; without, the block ends there.
        narrow: slots of the list that the network gets, cut down to the cut-off; None leaves the list as it is.

    Returns:
        (params, batch, matter, bath, motion, steps, skin, pbc) → `Block`. `batch` has the positions and cells at which
        its neighbours were listed, `skin` (Å) is how far beyond the cut-off, `pbc` which directions of each structure
        are periodic [B, 3]. The block also ends where a list has no room, where a single step goes beyond the skin, and
        before a step that leads to no finite numbers.
    """

    def run(
        params: Any, batch: Batch, matter: Matter, bath: Thermostat, motion: Motion, steps: Array, skin: Array,
        pbc: Array,
    ) -> Block:  # fmt: skip
        zero = jnp.zeros((), jnp.int32)

        def relisted(batch: Batch, motion: Motion) -> tuple[Batch, Bool[Array, ""]]:
            assert search is not None
            here = replace(batch, positions=motion.positions, cell=motion.cell)
            found = list_neighbors(here, pbc, config.cutoff + skin, search.grid, batch.neighbors.width, search.loops)
            kinds = jax.tree.map(lambda new, old: new.astype(old.dtype), found.neighbors, batch.neighbors)
            return replace(here, neighbors=kinds), found.complete

        def field_with(batch: Batch, matter: Matter) -> Field:
            if narrow is None:
                return field_of(config, params, batch, matter)
            return narrow_field_of(config, params, batch, matter, skin, narrow)

        def lacking(batch: Batch, motion: Motion) -> Int[Array, ""]:
            assert narrow is not None
            need = _fullest(_near(config, replace(batch, positions=motion.positions, cell=motion.cell)))
            return jnp.where(need <= narrow, 0, need)

        def go(carry: tuple[Block, Array, Array]) -> tuple[Block, Array, Array]:
            block, _, fresh = carry
            now = bath.at(block.motion.step)
            new = integrator.step(block.motion, field_with(block.batch, matter), matter, now)
            new = replace(new, step=block.motion.step + 1)
            stale = _stale(config, block.batch, matter, new.positions, new.cell, skin)
            warmth = temperature(new, matter)
            finite = jnp.all(jnp.isfinite(warmth)) & jnp.all(jnp.isfinite(new.energy))  # no number is beyond nothing
            good = ~stale & finite
            need = zero  # a step without room has no finite energy
            if narrow is not None:
                need = jax.lax.cond(stale | finite, lambda: zero, lambda: lacking(block.batch, new))
            motion = jax.tree.map(lambda old, later: jnp.where(good, later, old), block.motion, new)
            rows = (warmth, integrator.conserved(new, matter, now))
            kept = [
                jax.lax.dynamic_update_index_in_dim(log, jnp.where(good, row, jnp.nan), block.done, 0)
                for log, row in zip((block.temperature, block.conserved), rows, strict=True)
            ]
            if search is None:
                return Block(motion, block.batch, block.lists, block.done + good, need, *kept), good, ~good
            stay = good | fresh | (need > 0)
            batch, complete = jax.lax.cond(stay, lambda: (block.batch, good), lambda: relisted(block.batch, motion))
            return Block(motion, batch, block.lists + ~good, block.done + good, need, *kept), complete, ~good

        empty = jnp.full((length, matter.freedom.shape[0]), jnp.nan, motion.energy.dtype)
        start = Block(motion, batch, zero, zero, zero, empty, empty)
        carry = (start, jnp.asarray(True), jnp.asarray(False))
        return jax.lax.while_loop(lambda carry: (carry[0].done < steps) & carry[1], go, carry)[0]

    return run
