"""The Boys function F_n(x) = ∫_0^1 t^2n exp(-x t²) dt, the radial part of every Coulomb integral of Gaussians.

Up to x = 50 by a Taylor expansion around the nearest of 501 tabulated points, with dF_n/dx = -F_(n+1); beyond, by
its asymptotic form, whose relative error is below exp(-x) x^(n - 1/2) / Γ(n + 1/2) (Helgaker, Jørgensen & Olsen,
Molecular Electronic-Structure Theory, section 9.8).
"""

from __future__ import annotations

from functools import lru_cache, partial
from math import factorial, gamma

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

__all__ = ["boys"]

FAR = 50.0
SPACING = 0.1
TERMS = 9
"""Of the Taylor expansion: what is left out is below 0.05^9 / 9! = 5e-18."""


@lru_cache
def _table(highest: int) -> Float[np.ndarray, "n 501 9"]:
    """Taylor coefficients (-1)^k F_(n+k)(x_i) / k! of orders 0 ... highest at the grid's points."""
    x = np.arange(round(FAR / SPACING) + 1) * SPACING
    values = [_series(order, x) for order in range(highest + TERMS)]
    taylor = [(-1) ** k / factorial(k) for k in range(TERMS)]
    return np.stack([np.stack(values[n : n + TERMS], -1) * taylor for n in range(highest + 1)])


def _series(order: int, x: Float[np.ndarray, " X"]) -> Float[np.ndarray, " X"]:
    """F_n(x) = exp(-x) Σ_i (2x)^i / ((2n + 1)(2n + 3) ... (2n + 2i + 1)): all terms are positive."""
    term, i = np.full_like(x, 1.0 / (2 * order + 1)), 0
    total = term.copy()
    while np.any(term > 1e-18 * total):
        i += 1
        term = term * 2 * x / (2 * order + 2 * i + 1)
        total += term
    return np.exp(-x) * total


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def boys(highest: int, order: Int[Array, "..."] | np.ndarray, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """F_n(x) for x ≥ 0, to the rounding of x's type; differentiable to any order.

    Args:
        highest: of the orders.
        order: n, integers of a shape that fits x.
        x: arguments.
    """
    order = jnp.asarray(order)
    near = x < FAR
    inside = jnp.where(near, x, 0.0)
    place = jnp.rint(inside / SPACING)
    step = inside - place * SPACING
    rows = jnp.asarray(_table(highest), x.dtype)[order, place.astype(int)]
    value = rows[..., TERMS - 1]
    for k in range(TERMS - 2, -1, -1):
        value = rows[..., k] + step * value
    factors = jnp.asarray([0.5 * gamma(n + 0.5) for n in range(highest + 1)], x.dtype)
    far = factors[order] * jnp.where(near, FAR, x) ** (-order.astype(x.dtype) - 0.5)
    return jnp.where(near, value, far)


@boys.defjvp
def _boys_jvp(highest: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (order, x), (_, dx) = primals, tangents
    return boys(highest, order, x), -boys(highest + 1, order + 1, x) * dx
