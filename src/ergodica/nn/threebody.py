"""The three-body sum of M3GNet without triplets, and the radial and angular functions it is made of."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.nn.radial import polynomial_cutoff

__all__ = ["THREEBODY", "real_harmonics", "spherical_bessel", "threebody_sum"]

DEGREES = RADIAL = 4
THREEBODY = DEGREES * RADIAL
"""Components of the sum: degree outside, radial function inside."""

ZEROS = np.array([
    [3.141592653589793, 6.283185307179586, 9.42477796076938, 12.566370614359172],
    [4.493409457909064, 7.725251836937707, 10.904121659428899, 14.066193912831473],
    [5.76345919689455, 9.095011330476355, 12.322940970566583, 15.514603010886749],
    [6.98793200050052, 10.417118547379367, 13.698023153249249, 16.92362128521384],
])  # fmt: skip
"""The first zeros of the spherical Bessel functions, by degree."""

SERIES_BELOW, SERIES_TERMS = 2.5, 14


def _closed(x: Array, degree: int) -> Array:
    """j_l(x) by sine and cosine; loses digits where x is small against l."""
    sine, cosine = jnp.sin(x), jnp.cos(x)
    if degree == 0:
        return sine / x
    if degree == 1:
        return (sine / x - cosine) / x
    if degree == 2:
        return ((3.0 / x**2 - 1.0) * sine - 3.0 / x * cosine) / x
    return ((15.0 / x**2 - 6.0) * sine / x - (15.0 / x**2 - 1.0) * cosine) / x


def _series(x: Array, degree: int) -> Array:
    """j_l(x) by its power series."""
    total = jnp.ones_like(x)
    for k in range(SERIES_TERMS, 0, -1):
        total = 1.0 - total * x * x / (2.0 * k * (2 * degree + 2 * k + 1))
    return total * x**degree / math.prod(range(2 * degree + 1, 0, -2))


def spherical_bessel(x: Float[Array, "*e"], degree: int) -> Float[Array, "*e"]:
    """The spherical Bessel function j_l(x), l = 0 ... 3, x >= 0, to the precision of x (Abramowitz & Stegun 10.1)."""
    small = x < SERIES_BELOW
    near, far = _series(jnp.where(small, x, 1.0), degree), _closed(jnp.where(small, SERIES_BELOW, x), degree)
    return jnp.where(small, near, far)


def real_harmonics(unit: Float[Array, "*e 3"]) -> Float[Array, "*e 16"]:
    """Real harmonics of degrees 0 to 3, each degree of unit norm, so that Σ_m C_lm(a) C_lm(b) = P_l(a·b)."""
    x, y, z = unit[..., 0], unit[..., 1], unit[..., 2]
    s3, s15, s38, s58 = math.sqrt(3), math.sqrt(15), math.sqrt(3 / 8), math.sqrt(5 / 8)
    first = (jnp.ones_like(x), x, y, z)
    second = (s3 * x * y, s3 * y * z, 1.5 * z * z - 0.5, s3 * x * z, s3 / 2 * (x * x - y * y))
    third = (
        s58 * y * (3 * x * x - y * y), s15 * x * y * z, s38 * y * (5 * z * z - 1), 0.5 * z * (5 * z * z - 3),
        s38 * x * (5 * z * z - 1), s15 / 2 * z * (x * x - y * y), s58 * x * (x * x - 3 * y * y),
    )  # fmt: skip
    return jnp.stack([*first, *second, *third], axis=-1)


def _slopes(zeros: np.ndarray, degree: int) -> np.ndarray:
    """|j_{l+1}(z)| = |j_{l-1}(z)| at the zeros z of j_l."""
    sine, cosine = np.sin(zeros), np.cos(zeros)
    below = (
        cosine / zeros,
        sine / zeros,
        (sine / zeros - cosine) / zeros,
        ((3.0 / zeros**2 - 1.0) * sine - 3.0 / zeros * cosine) / zeros,
    )
    return np.abs(below[degree])


def _radial_functions(distance: Float[Array, "*e"], cutoff: float, degree: int) -> Float[Array, "*e N"]:
    """sqrt(2/r_c³) j_l(z r/r_c) / |j_{l+1}(z)| for the first zeros z of j_l, Å^-3/2."""
    zeros = ZEROS[degree]
    values = spherical_bessel(distance[..., None] * jnp.asarray(zeros / cutoff, distance.dtype), degree)
    return values * jnp.asarray(math.sqrt(2.0 / cutoff**3) / _slopes(zeros, degree), distance.dtype)


def threebody_sum(
    unit: Float[Array, "A K 3"], distance: Float[Array, "A K"], reach: float, cutoff: float
) -> Float[Array, "A K 16"]:
    """Σ_k B(r_ik, θ_jik) p(r_ij) p(r_ik) over the other neighbours k of i, at a cost that grows with the edges alone.

    The published sum runs over all pairs of edges (M3GNet, Chen & Ong 2022, doi:10.1038/s43588-022-00349-3, with the
    gate of MatterSim, arXiv:2405.04967). By the addition theorem P_l(cos θ_jik) = Σ_m C_lm(ij) C_lm(ik) it is a product
    with a sum over the neighbours of i, made once for all its edges; the term k = j, where P_l = 1, is taken off.

    Args:
        unit: directions of the edges.
        distance: their lengths, Å, positive; beyond `reach` an edge counts for nothing.
        reach: cut-off of the three-body term, Å.
        cutoff: r_c of its radial functions, Å.
    """
    fade = polynomial_cutoff(distance, reach)[..., None]
    harmonics = real_harmonics(unit)
    parts = []
    for degree in range(DEGREES):
        radial = _radial_functions(distance, cutoff, degree) * fade
        angular = harmonics[..., degree**2 : (degree + 1) ** 2]
        around = jnp.einsum("akn,akm->anm", radial, angular)
        others = jnp.einsum("akm,anm->akn", angular, around) - radial
        parts.append(others * fade * math.sqrt((2 * degree + 1) / (4.0 * math.pi)))
    return jnp.concatenate(parts, axis=-1)
