"""From labelled structures to chunks of padded batches, in an order that a seed and an epoch define."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.buckets import cheapest_ranges
from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.neighbors import Capacity, Edges, find_edges, pack
from ergodica.potentials.potential import EnergyScale
from ergodica.system import Batch, System

__all__ = [
    "Chunk",
    "Feed",
    "Loader",
    "Sample",
    "Targets",
    "chunks",
    "fit_reference",
    "force_scale",
    "prepare",
    "stacked",
]

# share of all slots that one more batch shape must spare
WORTH_COMPILING = 0.02
# numbers of neighbours that differ by less than 6 % are never told apart
LEVELS_PER_E = 16


@dataclass(frozen=True)
class Sample:
    """A structure, its edges, and its energy less the reference energies (eV)."""

    system: System
    edges: Edges
    energy: float | None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Targets:
    """Labels of a batch; a weight of zero marks what is padding or was not computed.

    Attributes:
        energy: energy less reference energies [B], eV.
        forces: [A, 3], eV/Å.
        stress: [B, 3, 3], eV/Å³.
        volume: [B], Å³.
        atoms: number of atoms [B].
        has_energy: [B].
        has_forces: [A].
        has_stress: [B].
    """

    energy: Float[Array, " B"]
    forces: Float[Array, "A 3"]
    stress: Float[Array, "B 3 3"]
    volume: Float[Array, " B"]
    atoms: Float[Array, " B"]
    has_energy: Float[Array, " B"]
    has_forces: Float[Array, " A"]
    has_stress: Float[Array, " B"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Chunk:
    """Batches of one shape stacked along a leading step axis (and a device axis where there are several).

    `active` [T] is False for steps that only fill the chunk.
    """

    batch: Batch
    targets: Targets
    active: Float[Array, " T"]


def fit_reference(systems: Sequence[System], energies: Sequence[float]) -> dict[str, float]:
    """Per-element energies (eV) by least squares: E ≈ Σ_z n_z e_z; the shortest solution where it is not unique.

    Args:
        systems: structures.
        energies: what to explain, eV: total energies, or what a start model leaves unexplained.
    """
    if not systems:
        return {}
    numbers = sorted({int(z) for s in systems for z in s.numbers})
    counts = np.array([[np.count_nonzero(s.numbers == z) for z in numbers] for s in systems], float)
    solution = np.linalg.lstsq(counts, np.asarray(energies, float), rcond=1e-10)[0]
    return {SYMBOLS[z]: float(e) for z, e in zip(numbers, solution, strict=True)}


def force_scale(systems: Sequence[System]) -> float:
    """Root mean square force component, eV/Å: the natural unit of the network's output."""
    squares = [np.square(s.labels.forces).mean() for s in systems if s.labels.forces is not None]
    return (float(np.sqrt(np.mean(squares))) if squares else 0.0) or 1.0


def prepare(systems: Sequence[System], cutoff: float, scale: EnergyScale) -> list[Sample]:
    """Edges of every structure, and energies with the reference taken off in float64.

    Raises:
        InputError: a structure has no label at all.
    """
    table = scale.table()
    samples = []
    for system in systems:
        labels = system.labels
        if labels.energy is None and labels.forces is None and labels.stress is None:
            raise InputError(f"{system.name} has no energy, forces or stress to learn from.")
        energy = None if labels.energy is None else labels.energy - float(table[system.numbers].sum()) - scale.shift
        samples.append(Sample(system, find_edges(system, cutoff), energy))
    return samples


def _width(sample: Sample, loops: bool) -> int:
    counts = np.bincount(sample.edges.receivers, minlength=1)
    return int(counts.max()) + loops


def buckets(samples: Sequence[Sample], batch_size: int, loops: bool) -> list[tuple[Capacity, np.ndarray]]:
    """Group structures of like numbers of neighbours; every group has one batch shape.

    A batch has room for `batch_size` structures of one size; where sizes differ, for as many atoms as so many have on
    average. Another group costs a compilation, so it has to spare `WORTH_COMPILING` of the padded slots.
    """
    sizes = np.array([len(s.system) for s in samples])
    widths = np.array([max(_width(s, loops), 1) for s in samples])
    levels, level = np.unique((LEVELS_PER_E * np.log(widths)).astype(int), return_inverse=True)
    members = [np.flatnonzero(level == k) for k in range(len(levels))]
    worth = WORTH_COMPILING * float(sizes @ widths)

    def cost(start: int, end: int) -> float:
        inside = np.concatenate(members[start:end])
        room, batches = _room(sizes[inside], batch_size)
        return room.atoms * widths[inside].max() * batches + worth

    found = []
    for start, end in cheapest_ranges(len(levels), cost):
        inside = np.sort(np.concatenate(members[start:end]))
        room, _ = _room(sizes[inside], batch_size)
        found.append((replace(room, width=int(widths[inside].max())), inside))
    return found


def _room(sizes: Int[np.ndarray, " S"], batch_size: int) -> tuple[Capacity, float]:
    """Atoms and structures that a batch of structures of these sizes holds, and how many batches to expect."""
    largest, mean = int(sizes.max()), float(sizes.mean())
    if largest == sizes.min():
        return Capacity(batch_size * largest, 1, batch_size), -(-len(sizes) // batch_size)
    lost = 0.5 * float((sizes**2).mean()) / mean  # half of the structure that did not fit any more
    atoms = max(round(batch_size * mean + lost), largest)
    kept = min((atoms - lost) / mean, 2 * batch_size)
    return Capacity(atoms, 1, 2 * batch_size), -(-len(sizes) // max(kept, 1))


def filled(members: Int[np.ndarray, " M"], sizes: Int[np.ndarray, " S"], room: Capacity) -> list[np.ndarray]:
    """Batches of structures in the order given, each closed when the next structure finds no room."""
    starts, atoms = [0], 0
    for place, size in enumerate(sizes[members]):
        atoms += int(size)
        if atoms > room.atoms or place - starts[-1] == room.systems:
            starts.append(place)
            atoms = int(size)
    return np.split(members, starts[1:])


def make_targets(samples: Sequence[Sample], capacity: Capacity) -> Targets:
    """Labels of one batch in the padded layout of `pack`."""
    forces = np.zeros((capacity.atoms, 3), np.float32)
    has_forces = np.zeros(capacity.atoms, np.float32)
    energy, volume, atoms, has_energy, has_stress = np.zeros((5, capacity.systems), np.float32)
    stress = np.zeros((capacity.systems, 3, 3), np.float32)
    volume[:] = atoms[:] = 1.0
    start = 0
    for row, sample in enumerate(samples):
        labels, n = sample.system.labels, len(sample.system)
        atoms[row] = n
        if sample.energy is not None:
            energy[row], has_energy[row] = sample.energy, 1.0
        if labels.forces is not None:
            forces[start : start + n], has_forces[start : start + n] = labels.forces, 1.0
        if labels.stress is not None and sample.system.is_bulk:
            stress[row], has_stress[row], volume[row] = labels.stress, 1.0, sample.system.volume
        start += n
    return Targets(energy, forces, stress, volume, atoms, has_energy, has_forces, has_stress)  # type: ignore[arg-type]


def stacked(parts: Sequence[tuple[Batch, Targets]], length: int, devices: int = 1) -> Chunk:
    """Stack `length` steps of `devices` batches each; missing steps repeat the last and are inactive."""
    steps = len(parts) // devices
    parts = list(parts) + [parts[-1]] * (length * devices - len(parts))
    batch, targets = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
    if devices > 1:
        batch, targets = jax.tree.map(lambda a: a.reshape(length, devices, *a.shape[1:]), (batch, targets))
    return Chunk(batch, targets, np.arange(length) < steps)  # type: ignore[arg-type]


class Feed(Protocol):
    """What gives the training loop its batches; `Loader` does for potentials."""

    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        ...

    def plan(self, rng: np.random.Generator | None) -> list[Any]:
        """What goes into every chunk of an epoch; everything in order when `rng` is None."""
        ...

    def chunk(self, *planned: Any) -> Chunk:
        """A planned chunk."""
        ...


@dataclass(frozen=True)
class Loader:
    """Yields the chunks of an epoch; the same seed and epoch give the same chunks.

    Attributes:
        samples: prepared structures.
        batch_size: structures of a batch; their mean number where sizes differ.
        length: steps of a chunk.
        loops: whether the graph has loops.
        devices: batches of a step.
        replay: the last `replay` samples are earlier data, of which each epoch draws `replay_count`.
        replay_count: see `replay`.
    """

    samples: Sequence[Sample]
    batch_size: int
    length: int
    loops: bool
    devices: int = 1
    replay: int = 0
    replay_count: int = 0

    @cached_property
    def groups(self) -> list[tuple[Capacity, np.ndarray]]:
        """The batch shapes and whom each holds, the same in every epoch."""
        return buckets(self.samples, self.batch_size, self.loops)

    @cached_property
    def sizes(self) -> Int[np.ndarray, " S"]:
        """Number of atoms of each structure."""
        return np.array([len(sample.system) for sample in self.samples])

    def plan(self, rng: np.random.Generator | None) -> list[tuple[Capacity, list[np.ndarray]]]:
        """Indices of every chunk of an epoch; in the given order when `rng` is None (validation)."""
        chosen = self._chosen(rng)
        plan = []
        for capacity, everyone in self.groups:
            members = everyone[np.isin(everyone, chosen)]
            members = members if rng is None else rng.permutation(members)
            batches = filled(members, self.sizes, capacity) if len(members) else []
            batches += [members[:0]] * (-len(batches) % self.devices)
            span = self.length * self.devices
            plan += [(capacity, batches[i : i + span]) for i in range(0, len(batches), span)]
        return plan if rng is None else [plan[i] for i in rng.permutation(len(plan))]

    def _chosen(self, rng: np.random.Generator | None) -> np.ndarray:
        fresh = np.arange(len(self.samples) - self.replay)
        if not self.replay or rng is None:
            return np.arange(len(self.samples))
        earlier = rng.choice(self.replay, min(self.replay_count, self.replay), replace=False) + len(fresh)
        return np.concatenate([fresh, earlier])

    def chunk(self, capacity: Capacity, batches: Sequence[np.ndarray]) -> Chunk:
        """Pack one planned chunk."""
        parts = []
        filler = [self.samples[batches[0][0]]]  # the first batch is never empty, and its structures fit the capacity
        for members in batches:
            chosen = [self.samples[i] for i in members] or filler
            edges = [s.edges for s in chosen]
            batch = pack([s.system for s in chosen], edges, capacity, loops=self.loops, centred=True)
            parts.append((batch, make_targets(chosen if len(members) else [], capacity)))
        return stacked(parts, self.length, self.devices)

    def steps(self) -> int:
        """Optimiser steps of an epoch; where sizes differ, those of a typical one."""
        return sum(len(batches) // self.devices for _, batches in self.plan(np.random.default_rng(0)))


def chunks(loader: Feed, seed: int, epoch: int, start: int = 0) -> Iterator[Chunk]:
    """Chunks of an epoch from number `start` on, packed one ahead in a thread."""
    from concurrent.futures import ThreadPoolExecutor

    plan = loader.plan(np.random.default_rng([seed, epoch]))[start:]
    with ThreadPoolExecutor(1) as pool:
        pending = [pool.submit(loader.chunk, *plan[0])] if plan else []
        for number in range(len(plan)):
            ready = pending.pop().result()
            if number + 1 < len(plan):
                pending.append(pool.submit(loader.chunk, *plan[number + 1]))
            yield ready
