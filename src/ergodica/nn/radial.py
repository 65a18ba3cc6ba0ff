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
    "smooth_bessel_basis",
    "smooth_bessel_constants",
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


def smooth_bessel_constants(cutoff: float, size: int, dtype: type = np.float64) -> dict[str, np.ndarray]:
    """Constants of `smooth_bessel_basis`, rounded to `dtype`: MatterSim's are of single precision."""
    n = np.arange(size, dtype=float)
    en = n**2 * (n + 2) ** 2 / (4 * (n + 1) ** 4 + 1)
    en = en.astype(dtype)
    dn: np.ndarray = np.ones(size, dtype)
    for k in range(1, size):  # in `dtype` all along, as the published constants were made
        dn[k] = 1 - en[k] / dn[k - 1]
    weights = (-1.0) ** n * math.sqrt(2.0) * math.pi / cutoff**1.5 * (n + 1) * (n + 2) / np.sqrt(2 * n**2 + 6 * n + 5)
    constants = {
        "weights": weights,
        "first": (n + 1) * math.pi / cutoff,
        "second": (n + 2) * math.pi / cutoff,
        "en": en,
        "dn": dn,
    }
    return {name: value.astype(dtype).astype(float) for name, value in constants.items()}


def smooth_bessel_basis(distance: Float[Array, "*e"], constants: dict[str, np.ndarray]) -> Float[Array, "*e R"]:
    """Orthonormal combinations of Bessel functions whose value, slope and curvature vanish at the cut-off.

    Kocer, Mason & Erturk 2020, doi:10.1063/1.5131167; d in Å.
    """
    d = distance[..., None]
    first, second, weights = (jnp.asarray(constants[key], d.dtype) for key in ("first", "second", "weights"))
    raw = weights * (jnp.sinc(d * (first / math.pi)) + jnp.sinc(d * (second / math.pi)))
    en, dn = constants["en"], constants["dn"]
    basis = [raw[..., 0]]
    for k in range(1, raw.shape[-1]):
        basis.append((raw[..., k] + math.sqrt(en[k] / dn[k - 1]) * basis[-1]) / math.sqrt(dn[k]))
    return jnp.stack(basis, axis=-1)
