"""Structures under way on the host: each with its own part of a `Walk`, joined to a batch and cut out of it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from ergodica.dynamics.coordinates import Frame
from ergodica.dynamics.descent import MOVING, Walk
from ergodica.dynamics.minimizers import Minimizer
from ergodica.dynamics.options import STRAINS, RelaxOptions
from ergodica.dynamics.symmetry import Operations, identity, symmetrized
from ergodica.errors import InputError
from ergodica.neighbors import Capacity, Edges
from ergodica.neighbors.host import box_of
from ergodica.system import System
from ergodica.units import GPA

__all__ = ["Walker", "cut", "frame_of", "join", "places", "walker_of"]

CELL_LENGTH = 1.0
"""Å; a strain ε of a cell of N atoms counts as a displacement of √N ε times this."""


@dataclass
class Walker:
    """One structure on its way.

    Attributes:
        index: its place among the structures given.
        start: the structure at the start, its symmetry made exact if that is to be kept.
        operations: its symmetry.
        state: its own part of a `Walk`, NumPy arrays.
        anchor: where its neighbours were listed.
        edges: its neighbours there, once they are.
        failure: why it can't go on.
    """

    index: int
    start: System
    operations: Operations
    state: Walk
    anchor: System = field(init=False)
    edges: Edges = field(init=False)
    failure: str = ""

    def __post_init__(self) -> None:
        self.anchor = self.start

    def __len__(self) -> int:
        return len(self.start)


def walker_of(index: int, system: System, options: RelaxOptions, minimizer: Minimizer) -> Walker:
    """A structure that has not begun.

    Raises:
        InputError: the cell is to be relaxed or the symmetry kept, and it is no crystal.
    """
    if options.cell and not system.is_bulk:
        raise InputError(f"{system.name} is not periodic in three directions: its cell can't be relaxed.")
    if options.symmetry and not system.is_bulk:
        raise InputError(f"{system.name} is not periodic in three directions: it has no symmetry to keep.")
    operations = identity(len(system))
    if options.symmetry:
        system, operations = symmetrized(system, options.symprec)
    x = np.concatenate([system.positions, np.zeros((3, 3))]).astype(options.precision)
    state = blank(len(system), 1, minimizer, x.dtype)
    state.x[: len(x)] = state.last[:] = x  # type: ignore[index]
    state.status[:] = MOVING  # type: ignore[index]
    return Walker(index, system, operations, state)


def blank(atoms: int, structures: int, minimizer: Minimizer, dtype: Any) -> Walk:
    """Structures that do not move."""
    rows = atoms + 3 * structures
    points = [np.zeros((rows, 3), dtype) for _ in range(3)]
    counts = [np.zeros(structures, np.int32) for _ in range(2)]
    return Walk(
        x=points[0],  # type: ignore[arg-type]
        last=points[1],  # type: ignore[arg-type]
        energies=np.zeros(rows, dtype),  # type: ignore[arg-type]
        pulls=points[2],  # type: ignore[arg-type]
        force=np.zeros(structures, dtype),  # type: ignore[arg-type]
        steps=counts[0],  # type: ignore[arg-type]
        status=counts[1],  # type: ignore[arg-type]
        memory=jax.tree.map(np.array, minimizer.init(rows, structures, dtype)),  # copies: `join` writes into each
    )


def places(sizes: Sequence[int], capacity: Capacity) -> list[Int[np.ndarray, " r"]]:
    """Rows of each structure in a batch of this capacity: its atoms, then its cell."""
    ends = np.cumsum(sizes)
    cells = capacity.atoms + 3 * np.arange(len(sizes))
    return [np.r_[end - n : end, cell : cell + 3] for n, end, cell in zip(sizes, ends, cells, strict=True)]


def join(walkers: Sequence[Walker], capacity: Capacity, minimizer: Minimizer, dtype: Any) -> Walk:
    """One walk of all of them, NumPy arrays; what is left over of the capacity does not move."""
    walk = blank(capacity.atoms, capacity.systems, minimizer, dtype)
    leaves = jax.tree.leaves(walk)
    for row, (walker, rows) in enumerate(zip(walkers, places([len(w) for w in walkers], capacity), strict=True)):
        for leaf, part in zip(leaves, jax.tree.leaves(walker.state), strict=True):
            leaf[rows if len(leaf) > capacity.systems else [row]] = part
    return walk


def cut(walk: Walk, walkers: Sequence[Walker], capacity: Capacity) -> None:
    """Give each its own part of the walk."""
    leaves, tree = jax.tree.flatten(jax.tree.map(np.asarray, walk))
    for row, (walker, rows) in enumerate(zip(walkers, places([len(w) for w in walkers], capacity), strict=True)):
        parts = [leaf[rows if len(leaf) > capacity.systems else [row]] for leaf in leaves]
        walker.state = jax.tree.unflatten(tree, parts)


def frame_of(
    walkers: Sequence[Walker],
    capacity: Capacity,
    options: RelaxOptions,
    weights: Float[np.ndarray, " B"],
    operations: int,
) -> Frame:
    """What does not change while they move; NumPy arrays.

    Args:
        walkers: the structures of a batch.
        capacity: of the batch.
        options: how the cells may change.
        weights: eV per unit of the model's output, of each structure.
        operations: room for symmetry operations.
    """
    atoms, count, dtype = capacity.atoms, capacity.systems, np.dtype(options.precision)
    sizes = np.array([len(walker) for walker in walkers])
    starts = np.cumsum(sizes) - sizes
    system = np.full(atoms, count - 1)
    system[: sizes.sum()] = np.repeat(np.arange(len(sizes)), sizes)
    free = np.zeros(atoms)
    image = np.repeat(np.arange(atoms)[:, None], operations, axis=1)
    turn = np.tile(np.eye(3), (count, operations, 1, 1))
    share = np.zeros((count, operations))
    share[:, 0] = 1.0
    cell = np.tile(np.eye(3), (count, 1, 1))
    for row, (walker, start) in enumerate(zip(walkers, starts, strict=True)):
        own, kept = slice(start, start + len(walker)), len(walker.operations)
        free[own] = ~walker.start.fixed
        image[own, :kept] = start + walker.operations.image
        turn[row, :kept] = walker.operations.turn
        share[row, :kept] = 1.0 / kept
        if walker.start.pbc.any():
            cell[row] = box_of(walker.start)
    lengths, factors = np.ones(count), np.ones(count)
    lengths[: len(sizes)] = CELL_LENGTH * np.sqrt(sizes)
    factors[: len(sizes)] = weights
    integer: dict[str, Any] = {"owner": np.concatenate([system, np.repeat(np.arange(count), 3)]), "image": image}
    real: dict[str, Any] = {
        "free": free,
        "cell": cell,
        "length": lengths,
        "strain": np.tile(strains(options), (count, 1, 1)),
        "traceless": np.full(count, float(options.constant_volume)),
        "pressure": np.full(count, options.pressure * GPA),
        "weight": factors,
        "turn": turn,
        "share": share,
    }
    return Frame(
        **{key: value.astype(np.int32) for key, value in integer.items()},
        **{key: value.astype(dtype) for key, value in real.items()},
    )


def strains(options: RelaxOptions) -> Float[np.ndarray, "3 3"]:
    """1 where a component of the strain may change."""
    mask = np.zeros((3, 3))
    for name in options.strain if options.cell else ():
        i, j = ("xyz".index(letter) for letter in name)
        mask[i, j] = mask[j, i] = 1.0
    assert set(options.strain) <= set(STRAINS), "RelaxOptions looks at this"
    return mask
