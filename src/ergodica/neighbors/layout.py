"""The packing of structures and their edges into a `Batch` of static shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from ergodica.errors import InputError
from ergodica.neighbors.host import Edges, box_of
from ergodica.system import Batch, Neighbors, System

__all__ = ["Capacity", "capacity_for", "dense_neighbors", "pack", "round_up"]


def dense_neighbors(edges: Edges, n_atoms: int, width: int | None = None, loops: bool = True) -> Neighbors:
    """Lay edges out in rows of `width` slots (see `Neighbors`); arrays stay on the host.

    Args:
        edges: directed edges, sorted by receiver.
        n_atoms: number of rows; rows beyond the last receiver stay empty (but for their loop).
        width: slots a row; the largest number needed when None.
        loops: give every atom an edge to itself in slot 0 (ViSNet and Geoformer attend to themselves).

    Raises:
        InputError: a row needs more than `width` slots (never truncated silently).
    """
    counts = np.bincount(edges.receivers, minlength=n_atoms)
    need = int(counts.max(initial=0)) + loops
    width = max(need, 1) if width is None else width
    if need > width:
        raise InputError(f"an atom has {need} neighbour slots to fill, the batch holds {width}: raise the capacity.")
    rows = np.arange(n_atoms)
    index = np.repeat(rows[:, None], width, axis=1).astype(np.int32)
    shift = np.zeros((n_atoms, width, 3), np.float32)
    mask = np.zeros((n_atoms, width), bool)
    reverse = np.arange(n_atoms * width, dtype=np.int32)
    slot = np.arange(len(edges)) - (np.cumsum(counts) - counts)[edges.receivers] + loops
    flat = edges.receivers * width + slot
    index.reshape(-1)[flat] = edges.senders
    shift.reshape(-1, 3)[flat] = edges.shifts
    mask.reshape(-1)[flat] = True
    reverse[flat] = flat[edges.reverse]
    mask[:, :loops] = True
    return Neighbors(index, shift, mask, reverse.reshape(n_atoms, width))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Capacity:
    """Static shape of a batch: atoms, neighbour slots an atom (loop included), structures."""

    atoms: int
    width: int
    systems: int


def round_up(value: int, sizes: Sequence[int] = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)) -> int:
    """The next bucket size: the given ones, then steps of a quarter of the power of two below.

    At most a third of a bucket is padding, and n atoms need about 4 log2(n) buckets.
    """
    for size in sizes:
        if value <= size:
            return size
    step = 1 << (int(value - 1).bit_length() - 3)
    return -(-value // step) * step


def capacity_for(systems: Sequence[System], edges: Sequence[Edges], loops: bool = True) -> Capacity:
    """The bucket that holds these structures."""
    width = max((int(np.bincount(e.receivers).max(initial=0)) if len(e) else 0) for e in edges) + loops
    return Capacity(round_up(sum(map(len, systems))), round_up(max(width, 1)), len(systems))


def pack(
    systems: Sequence[System],
    edges: Sequence[Edges],
    capacity: Capacity | None = None,
    *,
    loops: bool = True,
    dtype: type = np.float32,
    centred: bool = False,
) -> Batch:
    """Pack structures and their edges into one padded `Batch` of host arrays.

    Args:
        systems: the structures, at most `capacity.systems` of them.
        edges: what `find_edges` or a `VerletList` gave for each.
        capacity: static shape; exactly what is needed when None.
        loops: give every atom an edge to itself.
        dtype: floating type of positions, cells and shifts.
        centred: move each structure to the origin, far from which single precision is coarse.

    Raises:
        InputError: the structures do not fit the capacity.
    """
    n_atoms = sum(map(len, systems))
    if capacity is None:
        tight = [dense_neighbors(e, len(s), None, loops).index.shape[1] for s, e in zip(systems, edges, strict=True)]
        capacity = Capacity(n_atoms, max(tight), len(systems))
    if n_atoms > capacity.atoms or len(systems) > capacity.systems:
        raise InputError(f"{len(systems)} structures with {n_atoms} atoms do not fit a batch of {capacity}.")
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in systems])])
    neighbors = dense_neighbors(_joined(edges, offsets), capacity.atoms, capacity.width, loops)
    pad = capacity.atoms - n_atoms
    neighbors.mask[n_atoms:] = False  # type: ignore[index]
    positions: np.ndarray = np.zeros((capacity.atoms, 3), dtype)
    centres = [s.positions.mean(axis=0) if centred else 0.0 for s in systems]
    positions[:n_atoms] = np.concatenate([s.positions - c for s, c in zip(systems, centres, strict=True)])
    cell: np.ndarray = np.repeat(np.eye(3, dtype=dtype)[None], capacity.systems, axis=0)
    bulk = np.zeros(capacity.systems, bool)
    charge: np.ndarray = np.zeros(capacity.systems, dtype)
    for row, system in enumerate(systems):
        cell[row] = box_of(system) if system.pbc.any() else np.eye(3)
        bulk[row] = system.is_bulk
        charge[row] = system.charge
    return Batch(
        numbers=np.pad(np.concatenate([s.numbers for s in systems]), (0, pad)).astype(np.int32),  # type: ignore[arg-type]
        positions=positions,  # type: ignore[arg-type]
        system=np.pad(
            np.repeat(np.arange(len(systems)), np.diff(offsets)), (0, pad), constant_values=capacity.systems - 1
        ).astype(np.int32),  # type: ignore[arg-type]
        cell=cell,  # type: ignore[arg-type]
        bulk=bulk,  # type: ignore[arg-type]
        charge=charge,  # type: ignore[arg-type]
        neighbors=Neighbors(neighbors.index, neighbors.shift.astype(dtype), neighbors.mask, neighbors.reverse),
    )


def _joined(edges: Sequence[Edges], offsets: Int[np.ndarray, " B1"]) -> Edges:
    """Edges of several structures with atoms and rows renumbered."""
    if len(edges) == 1:
        return edges[0]
    rows = np.concatenate([[0], np.cumsum([len(e) for e in edges])])
    return Edges(
        np.concatenate([e.receivers + o for e, o in zip(edges, offsets, strict=False)]),
        np.concatenate([e.senders + o for e, o in zip(edges, offsets, strict=False)]),
        np.concatenate([e.shifts for e in edges]),
        np.concatenate([e.reverse + r for e, r in zip(edges, rows, strict=False)]),
    )
