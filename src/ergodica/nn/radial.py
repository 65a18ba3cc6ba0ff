"""Cut-off functions and radial bases."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = [
    "cosine_cutoff",
    "expnorm_basis",
    "expnorm_constants",
    "gaussian_basis",
    "gaussian_constants",
    "polynomial_cutoff",
]


def cosine_cutoff(distance: Float[Array, "*e"], cutoff: float) -> Float[Array, "*e"]:
    """(cos(πd/r_c) + 1)/2 inside r_c (Å), 0 outside; value and slope vanish at r_c (Behler & Parrinello 2007)."""
    return jnp.where(distance < cutoff, 0.5 * (jnp.cos(distance * (math.pi / cutoff)) + 1.0), 0.0)


def polynomial_cutoff(distance: Float[Array, "*e"], cutoff: float) -> Float[Array, "*e"]:
    """1 - 10x³ + 15x⁴ - 6x⁵ with x = d/r_c: value, slope and curvature vanish at r_c."""
    x = jnp.minimum(distance / cutoff, 1.0)
    return 1.0 - x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


def expnorm_constants(cutoff: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres [size] and widths [size] of the exponential-normal basis (PhysNet, Unke & Meuwly 2019, eq. 7).

    The first centre is exp(-r_c), as in every ViSNet, not exp(-α r_c); the two agree at r_c = 5 Å only.
    """
    start = math.exp(-cutoff)
    return np.linspace(start, 1.0, size), np.full(size, (2.0 / size * (1.0 - start)) ** -2)


def expnorm_basis(
    distance: Float[Array, "*e"], means: Float[Array, " R"], betas: Float[Array, " R"], cutoff: float
) -> Float[Array, "*e R"]:
    """C(d) exp(-β (exp(-5d/r_c) - μ)²), a radial basis denser at short distances; d in Å."""
    decay = jnp.exp(distance * (-5.0 / cutoff))[..., None]
    return cosine_cutoff(distance, cutoff)[..., None] * jnp.exp(-betas * (decay - means) ** 2)


def gaussian_constants(cutoff: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres [size], Å, and exponents [size], Å⁻², of equidistant Gaussians one spacing wide."""
    centres = np.linspace(0.0, cutoff, size)
    return centres, np.full(size, 0.5 / (centres[1] - centres[0]) ** 2)


def gaussian_basis(
    distance: Float[Array, "*e"], centres: Float[Array, " R"], exponents: Float[Array, " R"]
) -> Float[Array, "*e R"]:
    """exp(-γ (d - μ)²), without a cut-off factor; d in Å."""
    return jnp.exp(-exponents * (distance[..., None] - centres) ** 2)
