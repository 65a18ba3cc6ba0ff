"""Real solid harmonics S_lm(r) = r^l Y_lm(r/r), and what products and derivatives of them are made of.

Y are orthonormal on the unit sphere, without the Condon-Shortley phase, in libcint's order: l = 1 as x, y, z and higher
ones as m = -l ... l. Tables are NumPy arrays, made when first needed.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial, pi, sqrt
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

__all__ = ["couplings", "gradients", "moments", "solid_harmonics"]


def solid_harmonics(r: Float[Array, "... 3"], highest: int) -> list[Float[Array, "... m"]]:
    """S_lm(r) of l = 0 ... highest, each [..., 2l + 1]; polynomials, so that every derivative exists at the origin.

    Each degree is coupled from the one before and from r itself, one contraction a degree, which compiles much faster
    than a recursion in every single component.
    """
    values = [jnp.full((*r.shape[:-1], 1), 1 / sqrt(4 * pi), r.dtype)]
    for degree in range(1, highest + 1):
        values.append(jnp.einsum("...i,...m,imM->...M", r, values[-1], jnp.asarray(_ascent(degree), r.dtype)))
    return values


@lru_cache
def _ascent(degree: int) -> Float[np.ndarray, "3 m M"]:
    """T with S_lM = Σ_im T_imM r_i S_(l-1)m: Gaunt's coefficients of l = 1 with l - 1, normalised."""
    points, weights = _sphere(2 * degree)
    below, here = _tabulated(points, degree)[degree - 1 :]
    table = np.einsum("q,qi,qm,qM->imM", weights, points, below, here)
    return _clean(table / np.sum(table[..., 0] ** 2))


def _tabulated(r: Float[np.ndarray, "... 3"], highest: int) -> list[Float[np.ndarray, "... m"]]:
    """S_lm(r) by their definition, for tables.

    With c_m + i s_m = (x + iy)^m and the polynomials Π_lm(z, r²) of (l - m) Π_lm = (2l - 1) z Π_(l-1)m - (l + m - 1)
    r² Π_(l-2)m, it is S_lm = N_lm Π_l|m| c_m or s_|m| (Helgaker, Jørgensen & Olsen, Molecular Electronic-Structure
    Theory, section 6.4).
    """
    x, y, z = np.moveaxis(r, -1, 0)
    square = x * x + y * y + z * z
    polar: dict[tuple[int, int], Any] = {(0, 0): np.ones_like(x)}
    for degree in range(1, highest + 1):
        polar[degree, degree] = (2 * degree - 1) * polar[degree - 1, degree - 1]
        for m in range(degree):
            before = (degree + m - 1) * square * polar[degree - 2, m] if m < degree - 1 else 0.0
            polar[degree, m] = ((2 * degree - 1) * z * polar[degree - 1, m] - before) / (degree - m)
    values = []
    for degree in range(highest + 1):
        orders = (1, -1, 0) if degree == 1 else range(-degree, degree + 1)
        powers = [((x + 1j * y) ** abs(m)).imag if m < 0 else ((x + 1j * y) ** m).real for m in orders]
        parts = [_norm(degree, abs(m)) * polar[degree, abs(m)] * power for m, power in zip(orders, powers, strict=True)]
        values.append(np.stack(parts, -1))
    return values


def _norm(degree: int, order: int) -> float:
    double = 2.0 if order else 1.0
    return sqrt(double * (2 * degree + 1) / (4 * pi) * factorial(degree - order) / factorial(degree + order))


def _clean(table: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """A table of quadratures with exact zeros."""
    return np.where(np.abs(table) < 1e-13, 0.0, table)


@lru_cache
def _sphere(degree: int) -> tuple[Float[np.ndarray, "Q 3"], Float[np.ndarray, " Q"]]:
    """Points and weights that integrate polynomials up to a degree exactly over the unit sphere (Gauss × Fourier)."""
    z, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    angle = 2 * pi * np.arange(degree + 1) / (degree + 1)
    rho = np.sqrt(1 - z**2)
    points = [rho[:, None] * np.cos(angle), rho[:, None] * np.sin(angle), z[:, None] * np.ones_like(angle)]
    return np.stack(points, -1).reshape(-1, 3), np.repeat(weights * 2 * pi / len(angle), len(angle))


@lru_cache
def couplings(highest: int) -> Float[np.ndarray, "k h h H"]:
    """Gaunt's coefficients G = ∫ Y_(l1 m1) Y_(l2 m2) Y_LM, which couple products of harmonics up to a degree.

    S_(l1 m1) S_(l2 m2) = Σ_kM G_k r^2k S_LM with L = l1 + l2 - 2k. The first axis counts k = 0 ... highest, the others
    all harmonics, those of degree l at l² ... (l + 1)² - 1.
    """
    points, weights = _sphere(4 * highest)
    values = _tabulated(points, 2 * highest)
    table = np.zeros((highest + 1, (highest + 1) ** 2, (highest + 1) ** 2, (2 * highest + 1) ** 2))
    places = [slice(degree**2, (degree + 1) ** 2) for degree in range(2 * highest + 1)]
    for first in range(highest + 1):
        for second in range(highest + 1):
            for k in range(min(first, second) + 1):
                total = first + second - 2 * k
                gaunt = np.einsum("q,qa,qb,qc->abc", weights, values[first], values[second], values[total])
                table[k, places[first], places[second], places[total]] = gaunt
    return _clean(table)


@lru_cache
def moments(degree: int, power: int) -> Float[np.ndarray, "m ..."]:
    """∫ Y_lm n_i n_j ... over directions n, [2l + 1, 3, 3, ...] with as many factors as the power, up to 2."""
    points, weights = _sphere(degree + power)
    values = _tabulated(points, degree)[degree]
    products = {0: np.ones(len(points)), 1: points, 2: points[:, :, None] * points[:, None]}
    return _clean(np.einsum("q,qm,q...->m...", weights, values, products[power]))


@lru_cache
def gradients(degree: int) -> Float[np.ndarray, "3 m n"]:
    """D with ∂S_lm/∂x_i = Σ_n D_imn S_(l-1)n, [3, 2l+1, 2l-1]: derivatives of harmonic polynomials are harmonic."""
    points, weights = _sphere(2 * degree)
    values = _tabulated(points, degree)
    # Gauss's theorem gives <∂_i S_l, S_(l-1)> = (2l + 1) <S_l, x_i S_(l-1)> on the unit sphere
    table = (2 * degree + 1) * np.einsum("q,qi,qm,qn->imn", weights, points, values[degree], values[degree - 1])
    return _clean(table)
