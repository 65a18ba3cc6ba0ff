"""Neighbours found on the device, inside `jit`: a grid of bins, or all pairs where the grid has a single bin.

Atoms are wrapped into their cell, sorted into bins and compared with the bins around their own. Along a direction with
one bin the nearest image is taken, and as many on either side of it as reach into the cut-off; so a small cell, a thin
slab and a large liquid are one algorithm, linear in the number of atoms where there are many bins. Along directions
that are not periodic, bins far apart share a place in the table: their atoms are told apart by distance, and no
structure can outgrow the grid.

An edge and its opposite are candidates of known number in both rows, and rows are sorted by that number, so that
`reverse` is a binary search. Nothing depends on the order of threads: the same input gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ergodica.neighbors.host import completed
from ergodica.system import Batch, Neighbors, System

__all__ = ["Found", "Grid", "list_neighbors", "plan_grid"]

AT_ONCE = {"cpu": 2**17}
"""Candidates looked at together: what stays in the cache of a CPU; elsewhere what fits into memory."""
ROOM = 1.3
"""Room in a bin, relative to the fullest one at the start."""
TOGETHER = 32
"""Atoms of one bin that are compared with its surroundings together."""
GROWTH = 1.05
"""Width of a bin, relative to the cut-off."""
FEWEST = 4
"""Bins along a direction; three are all looked at anyway, and one does as well."""


@dataclass(frozen=True)
class Grid:
    """Static shape of a search.

    Attributes:
        bins: along the three directions of the cell.
        reach: how many bins to either side are searched; images, along a direction with one bin.
        capacity: atoms of a bin.
    """

    bins: tuple[int, int, int]
    reach: tuple[int, int, int]
    capacity: int

    @property
    def candidates(self) -> int:
        """Places that are searched for the neighbours of one atom."""
        return math.prod(2 * r + 1 for r in self.reach) * self.capacity

    def offsets(self) -> Int[np.ndarray, "O 3"]:
        """Steps to the bins that are searched; the opposite of row o is row O - 1 - o."""
        return np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in self.reach), indexing="ij"), -1).reshape(-1, 3)


class Found(NamedTuple):
    """A list, and whether it is complete.

    Attributes:
        neighbors: the list.
        width: slots of a row that are needed.
        crowd: atoms of the fullest bin.
        complete: whether rows and bins had room, and the grid reached as far as the cut-off.
    """

    neighbors: Neighbors
    width: Int[Array, ""]
    crowd: Int[Array, ""]
    complete: Bool[Array, ""]


def plan_grid(systems: Sequence[System], cutoff: float) -> Grid:
    """A grid for structures in one batch.

    There are at most twice as many bins as atoms. Cells may shrink by `GROWTH`, and bins fill by `ROOM`, before the
    grid is no longer good enough.

    Args:
        systems: the structures.
        cutoff: Å.
    """
    boxes = np.stack([completed(system.cell, system.pbc) for system in systems])
    periodic = np.stack([system.pbc for system in systems])
    heights = 1.0 / np.linalg.norm(np.linalg.inv(boxes), axis=1)
    spans = np.stack([np.ptp(s.positions @ np.linalg.inv(b), axis=0) for s, b in zip(systems, boxes, strict=True)])
    widest = np.where(periodic, heights, spans * heights).min(axis=0) / (GROWTH * cutoff)
    images = np.floor(np.where(periodic, GROWTH * cutoff / heights + 0.5, 0.0)).max(axis=0).astype(int)
    most = max(map(len, systems))
    bins = [int(min(wide, most)) if wide >= FEWEST else 1 for wide in widest]
    while math.prod(bins) > 2 * most and max(bins) > FEWEST:
        longest = bins.index(max(bins))
        bins[longest] = max(FEWEST, int(0.9 * bins[longest]))
    reach = [1 if count > 1 else int(image) for count, image in zip(bins, images, strict=True)]
    grid = Grid((bins[0], bins[1], bins[2]), (reach[0], reach[1], reach[2]), 1)
    crowd = max(_crowd(system, box, grid, cutoff) for system, box in zip(systems, boxes, strict=True))
    return replace(grid, capacity=crowd if max(bins) == 1 else math.ceil(ROOM * crowd))


def _crowd(system: System, box: Float[np.ndarray, "3 3"], grid: Grid, cutoff: float) -> int:
    """Atoms of the fullest bin."""
    scaled = system.positions @ np.linalg.inv(box)
    places = _places(np, scaled, scaled - np.floor(scaled), system.pbc, grid, cutoff)
    return int(np.bincount(np.ravel_multi_index(tuple(places.astype(int).T), grid.bins)).max())


def _places(xp: Any, scaled: Any, wrapped: Any, pbc: Any, grid: Grid, cutoff: Any) -> Float[Array, "A 3"]:
    """Bin of each atom along each direction, for NumPy or JAX; whole numbers."""
    bins = xp.asarray(grid.bins, scaled.dtype)
    inside = xp.clip(xp.floor(wrapped * bins), 0, bins - 1)
    # directions without a lattice vector have unit height in the completed box
    return xp.where(pbc, inside, xp.mod(xp.floor(scaled / cutoff), bins))


class _Sorted(NamedTuple):
    """Atoms in their bins.

    Attributes:
        scaled: coordinates in cell vectors [A, 3].
        cells: which cell each atom is in, 0 along directions without [A, 3].
        place: its bin [A, 3].
        slot: where it is within the bin [A].
        table: atoms of each bin [B·bins, C]; A where there is none.
        crowd: atoms of the fullest bin.
    """

    scaled: Float[Array, "A 3"]
    cells: Float[Array, "A 3"]
    place: Int[Array, "A 3"]
    slot: Int[Array, " A"]
    table: Int[Array, "T C"]
    crowd: Int[Array, ""]


def list_neighbors(
    batch: Batch, pbc: Bool[Array, "B 3"], cutoff: Any, grid: Grid, width: int, loops: bool = False
) -> Found:
    """All directed pairs closer than the cut-off in the dense layout, at the positions and cells of a batch.

    Rows are in no order that the host's list shares. Atoms may lie outside their cells: shifts belong to the positions
    as they are. An incomplete list must not be used: give `width` and `grid.capacity` what it says they need, or plan
    the grid anew, and repeat.

    Args:
        batch: the structures; their neighbours are not looked at.
        pbc: which directions of each structure are periodic.
        cutoff: Å.
        grid: static shape of the search, from `plan_grid`.
        width: slots of a row; one at least beside the loop.
        loops: give every atom an edge to itself in slot 0.
    """
    pbc = jnp.asarray(pbc)
    box = jnp.where(pbc[:, :, None], batch.cell, _across(batch.cell, pbc))
    sort = _sorted(batch, box, pbc, cutoff, grid)
    picked, count = _picked(batch, box, pbc, cutoff, grid, sort, width - loops)
    neighbors = _dense(batch, pbc, grid, sort, picked, loops)
    heights = 1.0 / jnp.linalg.norm(jnp.linalg.inv(box), axis=1)
    far = [r / n if n > 1 else r + 0.5 for r, n in zip(grid.reach, grid.bins, strict=True)]
    reaches = jnp.all(~pbc | (heights * jnp.asarray(far, heights.dtype) >= cutoff))
    need = count.max() + loops
    return Found(neighbors, need, sort.crowd, reaches & (need <= width) & (sort.crowd <= grid.capacity))


def _across(cell: Float[Array, "B 3 3"], pbc: Bool[Array, "B 3"]) -> Float[Array, "B 3 3"]:
    """Unit vectors across the periodic directions, in the rows of those that are not periodic."""
    basis = jnp.linalg.svd(jnp.where(pbc[:, :, None], cell, 0.0))[2]
    row = jnp.sum(pbc, axis=1, keepdims=True) + jnp.cumsum(~pbc, axis=1) - 1
    return jnp.take_along_axis(basis, jnp.clip(row, 0, 2)[:, :, None], axis=1)


def _sorted(batch: Batch, box: Float[Array, "B 3 3"], pbc: Bool[Array, "B 3"], cutoff: Any, grid: Grid) -> _Sorted:
    atoms, own = len(batch.numbers), batch.system
    scaled = jnp.einsum("ai,aij->aj", batch.positions, jnp.linalg.inv(box)[own])
    cells = jnp.where(pbc[own], jnp.floor(scaled), 0.0)
    place = _places(jnp, scaled, scaled - cells, pbc[own], grid, cutoff).astype(jnp.int32)
    bins = batch.n_systems * math.prod(grid.bins)
    name = jnp.where(batch.numbers > 0, _bin(own, place, grid), bins)
    order = jnp.argsort(name, stable=True)
    filled = jax.ops.segment_sum(jnp.ones_like(name), name, bins + 1)
    first = jnp.cumsum(filled) - filled
    slot = jnp.zeros_like(name).at[order].set(jnp.arange(atoms, dtype=name.dtype)) - first[name]
    flat = jnp.where((slot < grid.capacity) & (name < bins), name * grid.capacity + slot, bins * grid.capacity)
    here = jnp.arange(atoms, dtype=name.dtype)
    table = jnp.full(bins * grid.capacity, atoms, name.dtype).at[flat].set(here, mode="drop")
    return _Sorted(scaled, cells, place, slot, table.reshape(bins, grid.capacity), filled[:bins].max())


def _bin(system: Int[Array, "..."], place: Int[Array, "... 3"], grid: Grid) -> Int[Array, "..."]:
    """Row of the table of a bin."""
    _, ny, nz = grid.bins
    return ((system * grid.bins[0] + place[..., 0]) * ny + place[..., 1]) * nz + place[..., 2]


def _met(
    place: Int[Array, "... 3"], offset: Int[Array, "... 3"], pbc: Bool[Array, "... 3"], grid: Grid
) -> tuple[Int[Array, "... 3"], Int[Array, "... 3"], Bool[Array, "..."]]:
    """Bin at an offset, the image it lies in, and whether there is one."""
    bins = jnp.asarray(grid.bins, place.dtype)
    target = place + offset
    image = jnp.where(pbc, target // bins, 0)
    return target % bins, image, jnp.all(pbc | (bins > 1) | (offset == 0), axis=-1)


def _images(delta: Array, image: Array, pbc: Array, bins: Any) -> Array:
    """Whole cells to add to a difference of wrapped coordinates: the nearest image comes first where there is one bin.

    Exactly opposite for opposite pairs.
    """
    return image - jnp.where(pbc & (bins == 1), jnp.round(delta), 0.0)


def _picked(
    batch: Batch, box: Array, pbc: Array, cutoff: Any, grid: Grid, sort: _Sorted, slots: int
) -> tuple[Int[Array, "A K"], Int[Array, " A"]]:
    """Numbers of the candidates that are neighbours, ascending, and how many there are.

    Number o·C + c is place c of the bin at offset o; beyond the last neighbour of a row stands the number of all.
    """
    offsets = jnp.asarray(grid.offsets(), jnp.int32)
    bins, each = math.prod(grid.bins), min(grid.capacity, TOGETHER)
    wrapped = jnp.append(sort.scaled - sort.cells, jnp.full((1, 3), jnp.nan, sort.scaled.dtype), axis=0)
    columns = [column[sort.table] for column in wrapped.T]  # NaN, near to nothing, where a bin is not full
    middle = len(offsets) // 2 * grid.capacity

    def near(start: Int[Array, ""]) -> tuple[Array, Array]:
        row, first = start // blocks, start % blocks * each
        own = row // bins
        place = jnp.stack(jnp.unravel_index(row % bins, grid.bins)).astype(jnp.int32)
        target, image, there = _met(place, offsets, pbc[own], grid)
        here = jnp.minimum(first + jnp.arange(each, dtype=jnp.int32), grid.capacity - 1)
        image = jnp.repeat(image.astype(wrapped.dtype), grid.capacity, axis=0).T
        others = [jnp.where(there[:, None], column[_bin(own, target, grid)], jnp.nan).reshape(-1) for column in columns]
        centres = [column[row, here] for column in columns]
        # on their own, the gathers are cheap; fused into what follows, each would be made anew for every pair
        others, centres, image, vectors = jax.lax.optimization_barrier((others, centres, image, box[own]))
        steps = []
        for axis in range(3):
            delta = others[axis] - centres[axis][:, None]
            steps.append(delta + _images(delta, image[axis], pbc[own, axis], grid.bins[axis]))
        vector = [sum(steps[a] * vectors[a, b] for a in range(3)) for b in range(3)]
        inside = sum(x * x for x in vector) < cutoff**2
        self = middle + here[:, None] == jnp.arange(grid.candidates)
        return _positions(inside & ~self, slots)

    blocks = -(-grid.capacity // each)
    at_once = max(AT_ONCE.get(jax.default_backend(), 2**26) // (grid.candidates * each), 1)
    starts = jnp.arange(len(sort.table) * blocks, dtype=jnp.int32)
    picked, count = jax.lax.map(near, starts, batch_size=at_once)
    name = jnp.minimum(_bin(batch.system, sort.place, grid) * blocks * each + sort.slot, picked.shape[0] * each - 1)
    real = batch.numbers > 0
    picked = jnp.where(real[:, None], picked.reshape(-1, slots)[name], grid.candidates)
    return picked, jnp.where(real, count.reshape(-1)[name], 0)


def _positions(inside: Bool[Array, "R Q"], slots: int) -> tuple[Int[Array, "R K"], Int[Array, " R"]]:
    """Where the first so many True values of each row are, and how many there are in all."""
    rank = jnp.cumsum(inside, axis=1, dtype=jnp.int32)
    row = jnp.broadcast_to(jnp.arange(len(rank), dtype=jnp.int32)[:, None], (len(rank), slots))
    return _lower_bound(rank, row, jnp.arange(1, slots + 1, dtype=jnp.int32)), rank[:, -1]


def _lower_bound(rows: Int[Array, "R N"], row: Int[Array, "..."], wanted: Int[Array, "..."]) -> Int[Array, "..."]:
    """First column of an ascending row that holds at least what is wanted; N if none does."""
    size = rows.shape[1]
    flat = rows.reshape(-1)

    def halve(_: Any, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        less = flat.at[(row * size + jnp.minimum(middle, size - 1)).astype(jnp.uint32)].get(mode="promise_in_bounds")
        less = (less < wanted) & (low < high)
        return jnp.where(less, middle + 1, low), jnp.where(less, high, middle)

    zero = jnp.zeros_like(row)
    return jax.lax.fori_loop(0, size.bit_length(), halve, (zero, zero + size))[0]


def _dense(batch: Batch, pbc: Array, grid: Grid, sort: _Sorted, picked: Int[Array, "A K"], loops: bool) -> Neighbors:
    """The layout of `Neighbors` from the numbers of the candidates."""
    atoms, slots = picked.shape
    offset, slot = jnp.divmod(jnp.minimum(picked, grid.candidates - 1), grid.capacity)
    own = batch.system[:, None]
    steps = jnp.asarray(grid.offsets(), jnp.int32)[offset]
    target, image, _ = _met(sort.place[:, None], steps, pbc[own], grid)
    sender = sort.table[_bin(own, target, grid), slot]
    real = picked < grid.candidates
    sender = jnp.where(real, sender, jnp.arange(atoms, dtype=sender.dtype)[:, None])
    opposite = (len(grid.offsets()) - 1 - offset) * grid.capacity + sort.slot[:, None]
    back = _lower_bound(picked, sender, opposite)
    # rounding may tell an edge from its opposite at the very cut-off: then neither is kept
    real &= (back < slots) & (picked[sender, jnp.minimum(back, slots - 1)] == opposite)
    wrapped = sort.scaled - sort.cells
    shift = _images(wrapped[sender] - wrapped[:, None], image, pbc[own], jnp.asarray(grid.bins))
    shift = shift - sort.cells[sender] + sort.cells[:, None]
    first = jnp.arange(atoms, dtype=jnp.int32)[:, None]
    place = jnp.arange(slots, dtype=jnp.int32)[None]
    width = slots + loops
    columns = Neighbors(
        index=jnp.where(real, sender, first),
        shift=jnp.where(real[:, :, None], shift, 0.0),
        mask=real,
        reverse=jnp.where(real, sender * width + back, first * width + place) + loops,
    )
    if not loops:
        return columns
    loop = Neighbors(first, jnp.zeros_like(shift[:, :1]), (batch.numbers > 0)[:, None], first * width)
    return jax.tree.map(lambda one, rest: jnp.concatenate([one.astype(rest.dtype), rest], axis=1), loop, columns)
