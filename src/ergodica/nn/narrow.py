"""A list of neighbours cut down to those within a shorter radius, on the device and as an ordinary list."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ergodica.nn.pairs import swap
from ergodica.system import Neighbors

__all__ = ["narrowed", "within"]


def within(lengths: Float[Array, "A K"], neighbors: Neighbors, cutoff: float) -> Bool[Array, "A K"]:
    """Which edges are shorter than a radius, Å; an edge and its opposite always agree. Loops have length 0."""
    near = neighbors.mask & (lengths < cutoff)
    return near & (swap(near.astype(lengths.dtype), neighbors) > 0)


def narrowed(neighbors: Neighbors, near: Bool[Array, "A K"], width: int) -> Neighbors:
    """The list of the edges that are `near`, in rows of `width` slots, the order kept.

    Args:
        neighbors: the list.
        near: which edges stay; an edge and its opposite alike, and no more than `width` in a row.
        width: slots of the new rows.
    """
    atoms, wide = near.shape
    rank = jnp.cumsum(near, axis=1) - 1
    own = jnp.arange(atoms)[:, None] * width
    nowhere = atoms * width
    place = jnp.where(near & (rank < width), own + rank, nowhere).reshape(-1)
    origin = jnp.full(nowhere, atoms * wide).at[place].set(jnp.arange(atoms * wide), mode="drop")
    mask = origin < atoms * wide
    origin = jnp.where(mask, origin, 0)
    row, slot = jnp.arange(nowhere) // width, jnp.arange(nowhere)
    index = jnp.where(mask, neighbors.index.reshape(-1)[origin], row)
    shift = jnp.where(mask[:, None], neighbors.shift.reshape(-1, 3)[origin], 0)
    reverse = jnp.where(mask, place[neighbors.reverse.reshape(-1)[origin]], slot)
    shape, kind = (atoms, width), neighbors.index.dtype
    return Neighbors(
        index.reshape(shape).astype(kind),
        shift.reshape(*shape, 3),
        mask.reshape(shape),
        reverse.reshape(shape).astype(neighbors.reverse.dtype),
    )
