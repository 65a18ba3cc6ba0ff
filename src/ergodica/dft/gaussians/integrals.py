"""Integrals over the density basis: charges, moments, overlap, Coulomb repulsion, attraction by the nuclei.

All come from those of s functions. By Hobson's theorem S_lm(r - A) exp(-α|r - A|²) is S_lm(∇_A) exp(-α|r - A|²) /
(2α)^l, so an integral of two functions at distance R = A - B is (-1)^l2 / ((2α)^l1 (2β)^l2) S_(l1 m1)(∇) S_(l2 m2)(∇)
I(R²), I that of the s functions. Gaunt's coefficients couple the two operators to S_LM(∇) ∇^2k with L = l1 + l2 - 2k.
With μ = αβ/(α + β), x = μR² and Laguerre's polynomials,

    S_LM(∇) ∇^2k exp(-x) = S_LM(R) (-2μ)^L (-4μ)^k k! L_k^(L + 1/2)(x) exp(-x)
    S_LM(∇) F_0(x) = S_LM(R) (-2μ)^L F_L(x)

and for repulsion Poisson's equation ∇² I_Coulomb = -4π I_overlap leaves a Boys function only where k = 0, so nothing
cancels. (Giese & York, J. Chem. Phys. 128, 064104 (2008), doi:10.1063/1.2821745; Helgaker, Jørgensen & Olsen, Molecular
Electronic-Structure Theory, chapter 9.)

Radial factors are made for pairs of shells and angular ones for pairs of atoms, all angular momenta at once: a dozen
array operations whatever the molecule. Everything is a function of the nuclei that JAX differentiates, to any order.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.dft.gaussians.basis import DensityBasis, radial_moment
from ergodica.dft.gaussians.boys import boys
from ergodica.dft.gaussians.solid_harmonics import couplings, moments, solid_harmonics

__all__ = ["charges", "coulomb", "dipoles", "external", "nuclear_repulsion", "overlap", "overlap_slope", "quadrupoles"]


# ---------------------------------------------------------------------------------------------------------- two centres


def overlap(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, "F F"]:
    """S = ∫ ω_μ ω_ν.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
    """
    return _overlap(basis, positions[:, None] - positions)


def overlap_slope(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, "3 F F"]:
    """How S_μν changes when the nucleus of μ moves along x, y and z, and that of ν does not, 1/Bohr.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
    """
    apart = 1.0 - jnp.eye(len(positions), dtype=positions.dtype)
    _, slope = jax.linearize(lambda differences: _overlap(basis, differences), positions[:, None] - positions)
    return jax.lax.map(lambda axis: slope(apart[:, :, None] * axis), jnp.eye(3, dtype=positions.dtype))


def _overlap(basis: DensityBasis, differences: Float[Array, "N N 3"]) -> Float[Array, "F F"]:
    pairs = _pairs(basis, differences)
    gaussian = pairs.amplitude * jnp.exp(-pairs.x)
    radials = [gaussian * (-1 / pairs.mu) ** k * _laguerre(pairs, k, k) for k in range(basis.highest + 1)]
    return _matrix(basis, differences, radials)


def coulomb(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, "F F"]:
    """W = ∫∫ ω_μ(r) ω_ν(r') / |r - r'|, so that the density repels itself by p·W·p/2, Hartree.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
    """
    differences = positions[:, None] - positions
    pairs = _pairs(basis, differences)
    amplitude = 2 * pi / pairs.mu * pairs.amplitude
    gaussian = 0.5 * amplitude * jnp.exp(-pairs.x)
    poisson = [gaussian * (-1 / pairs.mu) ** k * _laguerre(pairs, k, k - 1) for k in range(1, basis.highest + 1)]
    return _matrix(basis, differences, [amplitude * boys(2 * basis.highest, pairs.degree, pairs.x), *poisson])


class _Pairs(NamedTuple):
    """What the radial factors of all pairs of shells are made of, each [K, K].

    Attributes:
        amplitude: n_1 n_2 (-1)^l1 (β/τ)^l1 (α/τ)^l2 (π/τ)^(3/2), τ = α + β: all that does not depend on k or R.
        mu: αβ/τ.
        x: μR².
        degree: l1 + l2.
    """

    amplitude: Float[Array, "K K"]
    mu: Float[Array, "K K"]
    x: Float[Array, "K K"]
    degree: Int[Array, "K K"]


def _pairs(basis: DensityBasis, differences: Float[Array, "N N 3"]) -> _Pairs:
    shells, degrees = basis.shells, basis.shells.degrees
    constants = (shells.exponents, (-1.0) ** degrees * shells.norms, (-1.0) ** degrees)
    values = (jnp.asarray(one, differences.dtype) for one in constants)
    # behind a barrier, lest the compiler work out constants of shape [K, K], slowly, and store them
    alpha, norms, signs, degrees = jax.lax.optimization_barrier((*values, jnp.asarray(degrees, jnp.int32)))
    total = alpha[:, None] + alpha
    shares = norms[:, None] * (alpha / total) ** degrees[:, None]
    amplitude = signs * shares * shares.T * (pi / total) ** 1.5
    mu = alpha[:, None] * alpha / total
    square = jnp.sum(differences**2, axis=-1)
    x = mu * square[shells.atoms][:, shells.atoms]
    return _Pairs(amplitude, mu, x, degrees[:, None] + degrees)


def _laguerre(pairs: _Pairs, k: int, order: int) -> Float[Array, "K K"]:
    """n! L_n^(L + 1/2)(x) of order n, L = l1 + l2 - 2k, by its recursion."""
    shift = (pairs.degree - 2 * k + 0.5).astype(pairs.x.dtype)
    before: Array = jnp.zeros_like(pairs.x)
    value: Array = jnp.ones_like(pairs.x)
    for n in range(order):
        before, value = value, (2 * n + 1 + shift - pairs.x) * value - n * (n + shift) * before
    return value


def _matrix(
    basis: DensityBasis, differences: Float[Array, "N N 3"], radials: Sequence[Float[Array, "K K"]]
) -> Float[Array, "F F"]:
    """Σ_k radial_k(shells) Σ_M G_kM S_LM(R), for all functions of the basis."""
    harmonics = jnp.concatenate(solid_harmonics(differences, 2 * basis.highest), axis=-1)
    tables = jnp.asarray(couplings(basis.highest), differences.dtype)
    angular = jnp.einsum("kxyh,abh->kaxby", tables, harmonics)
    width = tables.shape[1]
    angular = jnp.reshape(angular, (len(tables), len(differences) * width, len(differences) * width))
    rows = basis.atom * width + basis.harmonic
    total: Array | float = 0.0
    for radial, part in zip(radials, angular, strict=True):
        total = total + radial[basis.shell][:, basis.shell] * part[rows][:, rows]
    return jnp.asarray(total)


# ----------------------------------------------------------------------------------------------------------- one centre


def external(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, " F"]:
    """v = -Σ_C Z_C ∫ ω_μ(r) / |r - C|: the attraction by the nuclei, Hartree.

    ∫ S_lm(r - A) exp(-α|r - A|²) / |r - C| is S_lm(∇) (2π/α) F_0(αR²) / (2α)^l with R = A - C.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
    """
    shells = basis.shells
    alpha, degrees = shells.exponents[:, None], shells.degrees[:, None]
    difference = positions[:, None] - positions
    square = jnp.sum(difference**2, axis=-1)[shells.atoms]
    factor = (-1.0) ** degrees * shells.norms[:, None] * 2 * pi / alpha * np.array(basis.numbers)
    radial = factor * boys(basis.highest, degrees, alpha * square)
    harmonics = jnp.concatenate(solid_harmonics(difference, basis.highest), axis=-1)
    return -jnp.sum(radial[basis.shell] * harmonics[basis.atom, :, basis.harmonic], axis=-1)


def nuclear_repulsion(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, ""]:
    """Σ_(C<D) Z_C Z_D / |C - D|, Hartree."""
    first, second = np.triu_indices(len(basis.numbers), 1)
    numbers = np.array(basis.numbers, float)
    distances = jnp.sqrt(jnp.sum((positions[first] - positions[second]) ** 2, axis=-1))
    return jnp.sum(numbers[first] * numbers[second] / distances)


def charges(basis: DensityBasis) -> Float[np.ndarray, " F"]:
    """w = ∫ ω_μ, electrons; the same wherever the nuclei are."""
    return _own_moments(basis, 0)


def dipoles(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, "F 3"]:
    """∫ r ω_μ, Bohr."""
    return _own_moments(basis, 1) + charges(basis)[:, None] * positions[basis.atom]


def quadrupoles(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, "F 3 3"]:
    """Second moments ∫ r_i r_j ω_μ, Bohr²."""
    centre = positions[basis.atom]
    mixed = _own_moments(basis, 1)[:, :, None] * centre[:, None]
    squares = charges(basis)[:, None, None] * centre[:, :, None] * centre[:, None]
    return _own_moments(basis, 2) + mixed + jnp.swapaxes(mixed, 1, 2) + squares


def _own_moments(basis: DensityBasis, power: int) -> Float[np.ndarray, "F ..."]:
    """∫ d_i d_j ... ω_μ with d = r - A, as many factors as the power."""
    shells = basis.shells
    radial = shells.norms * radial_moment(shells.exponents, shells.degrees + power)
    angular = np.concatenate([moments(degree, power) for degree in range(basis.highest + 1)])
    return radial[basis.shell].reshape(-1, *[1] * power) * angular[basis.harmonic]
