"""Natural coordinates q = S^(1/2) p: the symmetric root of the overlap, with derivatives that always exist."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["symmetric_roots"]


@jax.custom_jvp
def symmetric_roots(overlap: Float[Array, "F F"]) -> tuple[Float[Array, "F F"], Float[Array, "F F"]]:
    """S^(1/2) and S^(-1/2) of a symmetric positive matrix.

    With S = U s Uᵀ and Δ = Uᵀ dS U the derivative of the root is U (Δ_ij / (√s_i + √s_j)) Uᵀ. Eigenvectors alone have
    derivatives with 1 / (s_i - s_j), which no symmetric molecule survives.
    """
    return _decomposed(overlap)[1:]


def _decomposed(overlap: Array) -> tuple[tuple[Array, Array], Array, Array]:
    values, vectors = jnp.linalg.eigh(overlap)
    roots = jnp.sqrt(values)
    return (roots, vectors), (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T


@symmetric_roots.defjvp
def _roots_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (roots, vectors), root, inverse = _decomposed(primals[0])
    inner = vectors.T @ tangents[0] @ vectors / (roots[:, None] + roots)
    slope = vectors @ inner @ vectors.T
    return (root, inverse), (slope, -inverse @ slope @ inverse)
