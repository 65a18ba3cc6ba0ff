"""Edge vectors, norms whose derivatives stay finite at zero, and low-order spherical harmonics."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.nn.pairs import gather
from ergodica.system import Batch

__all__ = ["angular_features", "edge_planes", "edge_vectors", "safe_norm", "soft_norm", "unit_vectors"]

SQRT3 = math.sqrt(3.0)


def edge_vectors(batch: Batch) -> Float[Array, "A K 3"]:
    """Vectors r_j + S·cell - r_i from receiver to sender, Å; zero in slots without an edge and on loops."""
    return jnp.stack(edge_planes(batch), axis=-1)


def edge_planes(batch: Batch) -> list[Float[Array, "A K"]]:
    """The components x, y and z of the edge vectors, each for itself."""
    # direction by direction: a product of many small matrices, and rows of three, cost a CPU four times as much
    neighbors, cell = batch.neighbors, batch.cell[batch.system]
    images = (sum(neighbors.shift[..., s] * cell[:, None, s, x] for s in range(3)) for x in range(3))
    ends = (gather(batch.positions[:, x, None], neighbors)[..., 0] - batch.positions[:, x, None] for x in range(3))
    return [jnp.where(neighbors.mask, end + image, 0.0) for end, image in zip(ends, images, strict=True)]


def safe_norm(x: Float[Array, "..."], axis: int = -1) -> Float[Array, "..."]:
    """Euclidean norm along an axis with derivative 0 at 0 (where plain `norm` gives NaN)."""
    squared = jnp.sum(x * x, axis=axis)
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def soft_norm(x: Float[Array, "..."], softening: float, axis: int = -1) -> Float[Array, "..."]:
    """sqrt(|x|² + s²) - s: a norm that is smooth at 0, where |x| has a cusp; the plain norm for s = 0.

    Vectors vanish on sites of high symmetry, and a cusp there would make the stress of a perfect crystal, its elastic
    constants and its phonons depend on rounding.
    """
    if not softening:
        return safe_norm(x, axis)
    return jnp.sqrt(jnp.sum(x * x, axis=axis) + softening**2) - softening


def unit_vectors(vectors: Float[Array, "... 3"], distance: Float[Array, "..."]) -> Float[Array, "... 3"]:
    """vectors / distance, zero where the distance is zero."""
    return vectors / jnp.where(distance > 0, distance, 1.0)[..., None]


def angular_features(unit: Float[Array, "*e 3"], lmax: int) -> Float[Array, "*e S"]:
    """Real harmonics of degree 1 (and 2) with y as polar axis, each degree of unit norm; zero for a zero vector.

    Order and sign as in ViSNet (Wang et al. 2024, doi:10.1038/s41467-023-43720-2), so that its weights can be loaded.
    """
    x, y, z = unit[..., 0], unit[..., 1], unit[..., 2]
    if lmax == 1:
        return unit
    second = (SQRT3 * x * z, SQRT3 * x * y, y * y - 0.5 * (x * x + z * z), SQRT3 * y * z, SQRT3 / 2 * (z * z - x * x))
    return jnp.concatenate([unit, jnp.stack(second, axis=-1)], axis=-1)
