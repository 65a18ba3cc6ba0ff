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
Matrices of large molecules are made block by block, each pair of blocks once, and made again for derivatives, which are
there by reverse differentiation alone: what is in between, tens of times their size, is never there at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
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
    return _symmetric(basis, positions, _overlap)


def overlap_slope(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, "3 F F"]:
    """How S_μν changes when the nucleus of μ moves along x, y and z, and that of ν does not, 1/Bohr.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
    """
    apart, every = 1.0 - jnp.eye(len(positions), dtype=positions.dtype), _functions(basis, range(len(basis.numbers)))

    def of_pairs(between: Float[Array, "N N 3"]) -> Float[Array, "F F"]:
        return _matrix(every, every, between, _overlap(basis, every, every, between))

    _, slope = jax.linearize(of_pairs, positions[:, None] - positions)
    return jax.lax.map(lambda axis: slope(apart[:, :, None] * axis), jnp.eye(3, dtype=positions.dtype))


def coulomb(basis: DensityBasis, positions: Float[Array, "N 3"]) -> Float[Array, "F F"]:
    """W = ∫∫ ω_μ(r) ω_ν(r') / |r - r'|, so that the density repels itself by p·W·p/2, Hartree.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
    """
    return _symmetric(basis, positions, _coulomb)


Factors = list[Float[Array, "k K"]]
"""Radial factors of pairs of shells, for k = 0, 1 ..."""
_Radials = Callable[..., Factors]


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


def _symmetric(basis: DensityBasis, positions: Float[Array, "N 3"], radials: _Radials) -> Float[Array, "F F"]:
    """A matrix of all functions; of large molecules made block by block."""
    if basis.size > WHOLE:
        return _by_blocks(basis, radials, positions)
    every = _functions(basis, range(len(basis.numbers)))
    between = positions[:, None] - positions
    return _matrix(every, every, between, radials(basis, every, every, between))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _by_blocks(basis: DensityBasis, radials: _Radials, positions: Float[Array, "N 3"]) -> Float[Array, "F F"]:
    """Some atoms with some others at a time, a pair of blocks once."""
    blocks = _Blocks.of(basis)
    factors = blocks.factors(positions, radials)
    found = jax.lax.map(lambda one: _matrix(*blocks.pair(positions, one[0]), one[1]), factors)
    count, width = len(blocks.sizes), max(blocks.sizes)
    places = np.full((count, count), len(found))
    places[tuple(blocks.pairs.T)] = np.arange(len(found))
    shares = np.tril(1 - 0.5 * np.eye(count))[:, :, None, None]
    lower = jnp.swapaxes(found.at[places].get(mode="fill", fill_value=0.0) * shares, 1, 2).reshape(count * width, -1)
    real = np.flatnonzero(np.arange(width) < np.array(blocks.sizes)[:, None])
    lower = lower if len(real) == len(lower) else lower[real][:, real]
    return lower + lower.T


def _by_blocks_forward(basis: DensityBasis, radials: _Radials, positions: Array) -> tuple[Array, Array]:
    return _by_blocks(basis, radials, positions), positions


def _by_blocks_backward(basis: DensityBasis, radials: _Radials, positions: Array, slope: Array) -> tuple[Array]:
    """Each pair of blocks is made again: what is in between, tens of times the matrix, is never there at once.

    JAX's own rule would cut and join matrices of all functions for every pair.
    """
    blocks = _Blocks.of(basis)
    begin, sizes = jnp.asarray(np.cumsum([0, *blocks.sizes[:-1]])), jnp.asarray(blocks.sizes)
    width = max(blocks.sizes)
    padded = jnp.pad(slope, (0, width))

    def of_pair(total: Array, one: tuple[Int[Array, " 2"], Factors]) -> tuple[Array, None]:
        pair, factors = one
        rows, columns, between = blocks.pair(positions, pair)
        (first, second), real = begin[pair], jnp.arange(width) < sizes[pair][:, None]
        here = jax.lax.dynamic_slice(padded, (first, second), (width, width))
        mirrored = jax.lax.dynamic_slice(padded, (second, first), (width, width)).T
        here = jnp.where(real[0][:, None] & real[1], here + jnp.where(first == second, 0.0, mirrored), 0.0)
        direct, turned = jax.vjp(lambda *one: _matrix(rows, columns, *one), between, factors)[1](here)
        through = jax.vjp(lambda between: radials(basis, rows, columns, between), between)[1](turned)[0]
        total = total.at[rows.atoms].add(jnp.sum(direct + through, axis=1))
        return total.at[columns.atoms].add(-jnp.sum(direct + through, axis=0)), None

    return (jax.lax.scan(of_pair, jnp.zeros_like(positions), blocks.factors(positions, radials))[0],)


_by_blocks.defvjp(_by_blocks_forward, _by_blocks_backward)


class _Blocks(NamedTuple):
    """Atoms of a large molecule, some in a row at a time.

    Attributes:
        basis: of the molecule.
        functions: of each block, padded to one length.
        sizes: functions of each block, without padding.
        pairs: of blocks, each once [P, 2].
    """

    basis: DensityBasis
    functions: _Functions
    sizes: list[int]
    pairs: Int[np.ndarray, "P 2"]

    @classmethod
    def of(cls, basis: DensityBasis) -> _Blocks:
        parts = np.array_split(np.arange(len(basis.numbers)), -(-basis.size // BLOCK))
        blocks = [_functions(basis, range(part[0], part[-1] + 1)) for part in parts]
        functions = _Functions(*(_stacked(rows) for rows in zip(*blocks, strict=True)))
        pairs = np.stack(np.tril_indices(len(blocks)), axis=1)
        return cls(basis, functions, [len(block.shell) for block in blocks], pairs)

    def pair(
        self, positions: Float[Array, "N 3"], pair: Int[Array, " 2"]
    ) -> tuple[_Functions, _Functions, Float[Array, "b B 3"]]:
        """Rows, columns and differences between their atoms."""
        rows, columns = (_Functions(*(jnp.asarray(leaf)[one] for leaf in self.functions)) for one in pair)  # type: ignore[arg-type]
        return rows, columns, positions[rows.atoms][:, None] - positions[columns.atoms]

    def factors(self, positions: Float[Array, "N 3"], radials: _Radials) -> tuple[Int[Array, "P 2"], Factors]:
        """All pairs with their radial factors.

        In a loop of their own: within one, the compiler works a factor out again for every function of its shells.
        """
        pairs = jnp.asarray(self.pairs)
        return pairs, jax.lax.map(lambda pair: radials(self.basis, *self.pair(positions, pair)), pairs)


def _stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of one length: the shorter ones end with what they begin with."""
    width = max(map(len, rows))
    return np.stack([np.append(row, np.full(width - len(row), row[0])) for row in rows])


def _overlap(basis: DensityBasis, rows: _Functions, columns: _Functions, differences: Float[Array, "b B 3"]) -> Factors:
    pairs = _pairs(rows, columns, differences)
    gaussian = pairs.amplitude * jnp.exp(-pairs.x)
    return [gaussian * (-1 / pairs.mu) ** k * _laguerre(pairs, k, k) for k in range(basis.highest + 1)]


def _coulomb(basis: DensityBasis, rows: _Functions, columns: _Functions, differences: Float[Array, "b B 3"]) -> Factors:
    pairs = _pairs(rows, columns, differences)
    amplitude = 2 * pi / pairs.mu * pairs.amplitude
    gaussian = 0.5 * amplitude * jnp.exp(-pairs.x)
    poisson = [gaussian * (-1 / pairs.mu) ** k * _laguerre(pairs, k, k - 1) for k in range(1, basis.highest + 1)]
    return [amplitude * boys(2 * basis.highest, pairs.degree, pairs.x), *poisson]


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
    width = (highest + 1) ** 2
    mine, others = (side.atom * width + side.harmonic for side in (rows, columns))
    total: Array | float = 0.0
    for k, radial in enumerate(radials):
        reached = (2 * (highest - k) + 1) ** 2  # harmonics up to the largest L
        table = jnp.asarray(couplings(highest)[k, :, :, :reached], differences.dtype)
        angular = jnp.einsum("xyh,abh->axby", table, harmonics[..., :reached])
        angular = angular.reshape(-1, len(columns.atoms) * width)
        total = total + radial[rows.shell][:, columns.shell] * angular[mine][:, others]
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
