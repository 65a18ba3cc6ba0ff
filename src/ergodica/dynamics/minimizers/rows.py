"""What minimisers share: points in rows of three numbers, each row owned by one of several structures.

Every structure has a function of its own, so sums run over the rows of one structure, and nothing that happens in one
of them is felt in another. The rows are atoms and, at the end, three for each cell (see `dynamics.coordinates`);
a minimiser need not know which is which. What it remembers is a tree of arrays whose first axis counts rows or
structures; all zeros is the memory of a structure that has not begun.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

__all__ = ["LONGEST_STEP", "Minimizer", "Point", "dot", "longest", "pick"]

LONGEST_STEP = 0.2
"""Longest step of a row, Å."""


class Point(NamedTuple):
    """Where the functions were evaluated, and what they are there.

    Attributes:
        x: coordinates [R, 3], Å.
        energy: eV [B].
        gradient: eV/Å [R, 3].
        owner: structure of each row [R].
    """

    x: Float[Array, "R 3"]
    energy: Float[Array, " B"]
    gradient: Float[Array, "R 3"]
    owner: Int[Array, " R"]


class Minimizer(NamedTuple):
    """A pair of pure functions.

    Attributes:
        init: (rows, structures, dtype) → memory, NumPy arrays.
        step: (point, memory) → next coordinates [R, 3] and memory.
    """

    init: Callable[[int, int, Any], Any]
    step: Callable[[Point, Any], tuple[Array, Any]]


def dot(a: Float[Array, "R 3"], b: Float[Array, "R 3"], point: Point) -> Float[Array, " B"]:
    """Scalar product of each structure's rows."""
    return jax.ops.segment_sum(jnp.sum(a * b, axis=1), point.owner, len(point.energy))


def longest(rows: Float[Array, "R 3"], point: Point) -> Float[Array, " B"]:
    """Length of the longest row of each structure."""
    squares = jax.ops.segment_max(jnp.sum(rows * rows, axis=1), point.owner, len(point.energy))
    return jnp.sqrt(jnp.maximum(squares, 0.0))  # a structure without rows has -inf


def pick(which: Bool[Array, " B"], owner: Int[Array, " R"], new: Any, old: Any) -> Any:
    """Leaves of `new` for the structures chosen and of `old` for the others."""

    def one(a: Array, b: Array) -> Array:
        chosen = which if len(a) == len(which) else which[owner]
        return jnp.where(chosen.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(one, new, old)
