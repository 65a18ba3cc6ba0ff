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
Matrices of large molecules are made block by block, each pair of blocks once, and made again for derivatives: what is
in between, tens of times their size, is never there at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.dft.gaussians.basis import DensityBasis, radial_moment
from ergodica.dft.gaussians.boys import boys
from ergodica.dft.gaussians.solid_harmonics import couplings, moments, solid_harmonics

__all__ = ["charges", "coulomb", "dipoles", "external", "nuclear_repulsion", "overlap", "overlap_slope", "quadrupoles"]


BLOCK, WHOLE = 400, 1500
"""Functions of a block, about; molecules with no more than the second are one block."""


# ---------------------------------------------------------------------------------------------------------- two centres


def overlap(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, "F F"]:
    """S = ∫ ω_μ ω_ν.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
    """
    return _by_blocks(basis, positions, _overlap)


def overlap_slope(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, "3 F F"]:
    """How S_μν changes when the nucleus of μ moves along x, y and z, and that of ν does not, 1/Bohr.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
    """
    apart, every = 1.0 - jnp.eye(len(positions), dtype=positions.dtype), _functions(basis, range(len(basis.numbers)))
    _, slope = jax.linearize(lambda between: _overlap(basis, every, every, between), positions[:, None] - positions)
    return jax.lax.map(lambda axis: slope(apart[:, :, None] * axis), jnp.eye(3, dtype=positions.dtype))


def coulomb(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, "F F"]:
    """W = ∫∫ ω_μ(r) ω_ν(r') / |r - r'|, so that the density repels itself by p·W·p/2, Hartree.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
    """
    return _by_blocks(basis, positions, _coulomb)


class _Functions(NamedTuple):
    """Functions of b atoms, rows or columns of a matrix; what pads them has norm 0.

    Attributes:
        atoms: their places in the molecule [b].
        on: the atom of each shell, among these [k].
        exponents: of the shells, 1/Bohr² [k].
        norms: of the shells [k].
        degrees: of the shells [k].
        shell: of each function, among these [f].
        atom: of each function, among these [f].
        harmonic: of each function [f].
    """

    atoms: Int[np.ndarray, " b"]
    on: Int[np.ndarray, " k"]
    exponents: Float[np.ndarray, " k"]
    norms: Float[np.ndarray, " k"]
    degrees: Int[np.ndarray, " k"]
    shell: Int[np.ndarray, " f"]
    atom: Int[np.ndarray, " f"]
    harmonic: Int[np.ndarray, " f"]


def _functions(basis: DensityBasis, atoms: range) -> _Functions:
    """Of some atoms in a row."""
    shells = basis.shells
    begin, end = np.searchsorted(shells.atoms, [atoms.start, atoms.stop])
    mine = (basis.atom >= atoms.start) & (basis.atom < atoms.stop)
    return _Functions(
        np.array(atoms),
        shells.atoms[begin:end] - atoms.start,
        shells.exponents[begin:end],
        shells.norms[begin:end],
        shells.degrees[begin:end],
        basis.shell[mine] - begin,
        basis.atom[mine] - atoms.start,
        basis.harmonic[mine],
    )


def _by_blocks(
    basis: DensityBasis, positions: Float[Array, "N 3"], matrix: Callable[..., Array]
) -> Float[Array, "F F"]:
    """A symmetric matrix of all functions; of large molecules some atoms with some others at a time, a pair once."""
    count = len(basis.numbers)
    if basis.size <= WHOLE:
        every = _functions(basis, range(count))
        return matrix(basis, every, every, positions[:, None] - positions)
    parts = np.array_split(np.arange(count), -(-basis.size // BLOCK))
    blocks = [_functions(basis, range(part[0], part[-1] + 1)) for part in parts]
    stacked = [jnp.asarray(_stacked(rows)) for rows in zip(*blocks, strict=True)]

    @jax.checkpoint
    def of_pair(pair: Int[Array, " 2"]) -> Float[Array, "f f"]:
        rows, columns = (_Functions(*(leaf[number] for leaf in stacked)) for number in pair)  # type: ignore[arg-type]
        return matrix(basis, rows, columns, positions[rows.atoms][:, None] - positions[columns.atoms])

    places = range(len(blocks))
    pairs = [(row, column) for row in places for column in range(row + 1)]
    found = dict(zip(pairs, jax.lax.map(of_pair, np.array(pairs)), strict=True))

    def block(row: int, column: int) -> Float[Array, "g h"]:
        if row < column:
            return block(column, row).T
        return found[row, column][: len(blocks[row].shell), : len(blocks[column].shell)]

    return jnp.block([[block(row, column) for column in places] for row in places])


def _stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of one length: the shorter ones end with what they begin with."""
    width = max(map(len, rows))
    return np.stack([np.append(row, np.full(width - len(row), row[0])) for row in rows])


def _overlap(
    basis: DensityBasis, rows: _Functions, columns: _Functions, differences: Float[Array, "b N 3"]
) -> Float[Array, "f F"]:
    pairs = _pairs(rows, columns, differences)
    gaussian = pairs.amplitude * jnp.exp(-pairs.x)
    radials = [gaussian * (-1 / pairs.mu) ** k * _laguerre(pairs, k, k) for k in range(basis.highest + 1)]
    return _matrix(rows, columns, differences, radials)


def _coulomb(
    basis: DensityBasis, rows: _Functions, columns: _Functions, differences: Float[Array, "b N 3"]
) -> Float[Array, "f F"]:
    pairs = _pairs(rows, columns, differences)
    amplitude = 2 * pi / pairs.mu * pairs.amplitude
    gaussian = 0.5 * amplitude * jnp.exp(-pairs.x)
    poisson = [gaussian * (-1 / pairs.mu) ** k * _laguerre(pairs, k, k - 1) for k in range(1, basis.highest + 1)]
    radials = [amplitude * boys(2 * basis.highest, pairs.degree, pairs.x), *poisson]
    return _matrix(rows, columns, differences, radials)


class _Pairs(NamedTuple):
    """What the radial factors of pairs of shells are made of, each [k, K].

    Attributes:
        amplitude: n_1 n_2 (-1)^l1 (β/τ)^l1 (α/τ)^l2 (π/τ)^(3/2), τ = α + β: all that does not depend on k or R.
        mu: αβ/τ.
        x: μR².
        degree: l1 + l2.
    """

    amplitude: Float[Array, "k K"]
    mu: Float[Array, "k K"]
    x: Float[Array, "k K"]
    degree: Int[Array, "k K"]


def _pairs(rows: _Functions, columns: _Functions, differences: Float[Array, "b N 3"]) -> _Pairs:
    # behind a barrier, lest the compiler work out constants of shape [k, K], slowly, and store them
    (alpha, norm, degree), (beta, other_norm, other_degree) = jax.lax.optimization_barrier(
        tuple(_shells(side, differences.dtype) for side in (rows, columns))
    )
    signed = jnp.where(degree % 2, -norm, norm)[:, None] * other_norm
    total = alpha[:, None] + beta
    shares = (beta / total) ** degree[:, None] * (alpha[:, None] / total) ** other_degree
    mu = alpha[:, None] * beta / total
    square = jnp.sum(differences**2, axis=-1)
    x = mu * square[rows.on][:, columns.on]
    return _Pairs(signed * shares * (pi / total) ** 1.5, mu, x, degree[:, None] + other_degree)


def _shells(side: _Functions, dtype: Any) -> tuple[Array, Array, Array]:
    """Exponents, norms and degrees."""
    return jnp.asarray(side.exponents, dtype), jnp.asarray(side.norms, dtype), jnp.asarray(side.degrees, jnp.int32)


def _laguerre(pairs: _Pairs, k: int, order: int) -> Float[Array, "k K"]:
    """n! L_n^(L + 1/2)(x) of order n, L = l1 + l2 - 2k, by its recursion."""
    shift = (pairs.degree - 2 * k + 0.5).astype(pairs.x.dtype)
    before: Array = jnp.zeros_like(pairs.x)
    value: Array = jnp.ones_like(pairs.x)
    for n in range(order):
        before, value = value, (2 * n + 1 + shift - pairs.x) * value - n * (n + shift) * before
    return value


def _matrix(
    rows: _Functions, columns: _Functions, differences: Float[Array, "b N 3"], radials: Sequence[Float[Array, "k K"]]
) -> Float[Array, "f F"]:
    """Σ_k radial_k(shells) Σ_M G_kM S_LM(R)."""
    highest = len(radials) - 1
    harmonics = jnp.concatenate(solid_harmonics(differences, 2 * highest), axis=-1)
    tables = jnp.asarray(couplings(highest), differences.dtype)
    angular = jnp.einsum("kxyh,abh->kaxby", tables, harmonics)
    count, first, width, second, _ = angular.shape
    angular = jnp.reshape(angular, (count, first * width, second * width))
    mine, others = (side.atom * width + side.harmonic for side in (rows, columns))
    total: Array | float = 0.0
    for radial, part in zip(radials, angular, strict=True):
        total = total + radial[rows.shell][:, columns.shell] * part[mine][:, others]
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
