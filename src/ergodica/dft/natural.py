"""Natural coordinates q = S^(1/2) p: of all functions at once, or fragment by fragment where the molecule is large.

The root of a matrix costs O(N³), and is nearly local: its rows for one group of atoms depend on functions nearby. So
they are taken from the root of the overlap of a fragment, which is the group and all groups within reach of it, and the
cost is linear. The whole molecule as its only fragment gives the exact root.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float, Int

from ergodica.dft.bonds import bonded
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.units import BOHR

__all__ = [
    "Fragments",
    "Natural",
    "RootOptions",
    "Roots",
    "cauchy_factors",
    "find_fragments",
    "from_natural",
    "make_natural",
    "nuclear_slope",
    "to_natural",
]

TIGHT, TIGHT_REACH = 5.0, 0.63
"""Functions with larger exponents (1/Bohr²) are left out of a fragment beyond this share of its reach."""
CLASSES, ROUNDED = 4, 64
"""Fragments are padded to so many sizes, multiples of this: conformers share compiled programs."""
RANK = 32
"""Of the matrix of denominators in the derivative of a root."""


@dataclass(frozen=True)
class RootOptions:
    """When the root of the overlap is made of fragments.

    Attributes:
        exact: density functions up to which there is only one fragment, the molecule.
        reach: of a fragment beyond its group, between the nearest atoms, Å.
        bonded_reach: the same where the group is bonded to another: functions of atoms that close are nearly
            dependent, and the root is less local.
    """

    exact: int = 2500
    reach: float = 3.5
    bonded_reach: float = 5.0


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Fragments:
    """Which functions belong to each of G fragments of similar size; F stands for padding.

    Attributes:
        own: functions of the group, rising [G, n].
        near: functions of the fragment, rising [G, m].
    """

    own: Int[Array, "G n"]
    near: Int[Array, "G m"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Roots:
    """Roots of the overlap of G fragments.

    Attributes:
        fragments: their functions.
        rows: of S^(1/2), the group's own [G, n, m].
        inverse_rows: of S^(-1/2) [G, n, m].
        vectors: eigenvectors of the overlap of each fragment [G, m, m].
        values: roots of its eigenvalues [G, m].
    """

    fragments: Fragments
    rows: Float[Array, "G n m"]
    inverse_rows: Float[Array, "G n m"]
    vectors: Float[Array, "G m m"]
    values: Float[Array, "G m"]


Natural = tuple[Roots, ...]
"""The roots of a whole molecule, its fragments in classes of similar size; every function is in one group."""


def find_fragments(
    basis: DensityBasis, positions: Float[np.ndarray, "N 3"] | None = None, options: RootOptions = RootOptions()
) -> tuple[Fragments, ...]:
    """Fragments of a molecule: a heavy atom with the hydrogens nearest to it, and all such groups within reach.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr; None takes the molecule as one fragment, whatever its size.
        options: when to split, and the reach.
    """
    everything = jnp.arange(basis.size)[None]
    if positions is None or basis.size <= options.exact:
        return (Fragments(everything, everything),)
    group, apart, linked = _groups(np.array(basis.numbers), positions * BOHR)
    group_of = group[basis.atom]
    share = np.where(basis.shells.exponents[basis.shell] > TIGHT, TIGHT_REACH, 1.0)
    reach = np.where(linked, options.bonded_reach, options.reach)
    own = [np.flatnonzero(group_of == number) for number in range(len(apart))]
    near = [np.flatnonzero(row[group_of] < share * far) for row, far in zip(apart, reach, strict=True)]
    order = np.argsort([len(row) for row in near], kind="stable")
    parts = [part for part in np.array_split(order, CLASSES) if len(part)]
    return tuple(
        Fragments(
            _padded([own[number] for number in part], basis.size, 1),
            _padded([near[number] for number in part], basis.size, ROUNDED),
        )
        for part in parts
    )


def _groups(
    numbers: Int[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, "G G"], Bool[np.ndarray, " G"]]:
    """The group of each atom, the distances between the nearest atoms of groups, and which are bonded to another."""
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    centres = np.flatnonzero(numbers > 1) if (numbers > 1).any() else np.arange(len(numbers))
    group = distance[:, centres].argmin(axis=1)
    apart = np.full((len(centres), len(centres)), np.inf)
    np.minimum.at(apart, (group[:, None], group), distance)
    return group, apart, bonded(numbers[centres], positions[centres]).sum(axis=1) > 1  # with itself


def _padded(rows: list[Int[np.ndarray, " _"]], filler: int, multiple: int) -> Int[Array, "G _"]:
    width = -(-max(map(len, rows)) // multiple) * multiple
    return jnp.asarray([np.pad(row, (0, width - len(row)), constant_values=filler) for row in rows])


def make_natural(overlap: Float[Array, "F F"], fragments: tuple[Fragments, ...]) -> Natural:
    """Decompose the overlap of every fragment; constant to JAX, `to_natural` knows the derivatives."""
    overlap = jax.lax.stop_gradient(overlap)

    def of_fragment(part: Fragments) -> Roots:
        squares, vectors = jnp.linalg.eigh(_submatrix(overlap, part.near))
        values = jnp.sqrt(squares)
        rows = vectors[_mine(part)] * (part.own < len(overlap))[:, None]
        return Roots(part, (rows * values) @ vectors.T, (rows / values) @ vectors.T, vectors, values)

    return tuple(jax.lax.map(of_fragment, part) for part in fragments)


def _mine(part: Fragments) -> Int[Array, " n"]:
    """Where the functions of a group stand in its fragment; padding stands anywhere."""
    return jnp.minimum(jnp.searchsorted(part.near, part.own), len(part.near) - 1)


def _submatrix(overlap: Float[Array, "F F"], near: Int[Array, " m"], fill: float = 1.0) -> Float[Array, "m m"]:
    """Of some functions; padding overlaps with itself alone."""
    taken = overlap.at[near].get(mode="fill", fill_value=0.0).at[:, near].get(mode="fill", fill_value=0.0)
    return taken + fill * jnp.diag(jnp.asarray(near == len(overlap), overlap.dtype))


def from_natural(natural: Natural, q: Float[Array, " F"]) -> Float[Array, " F"]:
    """p = S^(-1/2) q."""
    return _collected(natural, len(q), lambda part: part.inverse_rows @ _taken(q, part.fragments.near))


@jax.custom_jvp
def to_natural(natural: Natural, overlap: Float[Array, "F F"], p: Float[Array, " F"]) -> Float[Array, " F"]:
    """q = S^(1/2) p, with its derivatives by p and by the overlap, which is not looked at otherwise.

    With S = U s Uᵀ and Δ = Uᵀ dS U the change of S^(1/2) p is U (Δ_ij / (√s_i + √s_j)) Uᵀ p. Eigenvectors alone have
    derivatives with 1 / (s_i - s_j), which no symmetric molecule survives. The denominators make a matrix L Lᵀ of low
    rank, to rounding, and with it the change costs O(F²) once the roots are known.

    Args:
        natural: of this overlap.
        overlap: S.
        p: coefficients.
    """
    return _collected(natural, len(p), lambda part: part.rows @ _taken(p, part.fragments.near))


def _to_natural_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    (natural, overlap, p), (_, turned, moved) = primals, tangents
    q = to_natural(natural, overlap, p)
    change: Array = jnp.zeros_like(q)
    if not isinstance(moved, SymbolicZero):
        change = change + to_natural(natural, overlap, moved)
    if not isinstance(turned, SymbolicZero):
        change = change + _turned(natural, turned, p)
    return q, change


to_natural.defjvp(_to_natural_jvp, symbolic_zeros=True)


def _turned(natural: Natural, turned: Float[Array, "F F"], p: Float[Array, " F"]) -> Float[Array, " F"]:
    """How S^(1/2) p changes with S at fixed p."""

    def of_fragment(part: Roots) -> Float[Array, " n"]:
        near, vectors = part.fragments.near, part.vectors
        factors = cauchy_factors(part.values)
        inner = _submatrix(turned, near, 0.0) @ (vectors @ (factors * (vectors.T @ _taken(p, near))[:, None]))
        return vectors[_mine(part.fragments)] @ jnp.sum(factors * (vectors.T @ inner), axis=1)

    return _collected(natural, len(p), of_fragment)


def cauchy_factors(values: Float[Array, " m"]) -> Float[Array, "m K"]:
    """L with L Lᵀ = 1 / (v_i + v_j), a Cauchy matrix of positive values, by Cholesky's method with pivots.

    What is left falls geometrically, the faster the less the values differ: by factors of up to 10³ in molecules, for
    which `RANK` columns leave 1e-13.
    """

    def more(step: Int[Array, ""], state: tuple[Array, Array]) -> tuple[Array, Array]:
        factors, left = state
        pivot = jnp.argmax(left)
        column = 1 / (values + values[pivot]) - factors @ factors[pivot]
        known = column[pivot] > jnp.finfo(values.dtype).eps * largest
        column = jnp.where(known, column / jnp.sqrt(jnp.where(known, column[pivot], 1.0)), 0.0)
        left = jnp.where(jnp.arange(len(values)) == pivot, 0.0, left - column**2)
        return factors.at[:, step].set(column), left

    diagonal = 0.5 / values
    largest = diagonal.max()
    rank = min(RANK, len(values))
    return jax.lax.fori_loop(0, rank, more, (jnp.zeros((len(values), rank), values.dtype), diagonal))[0]


def nuclear_slope(
    whole: Roots, slopes: Float[Array, "3 F F"], atoms: Int[np.ndarray, " F"], p: Float[Array, " F"]
) -> Float[Array, "F N 3"]:
    """∂q/∂R at fixed p, 1/Bohr: the rule of `to_natural` for all nuclei at once, which costs O(F³) and not O(N F³).

    One nucleus moves its rows of the overlap and its columns, which are alike.

    Args:
        whole: roots of the whole molecule as one fragment.
        slopes: of the overlap by the nuclei of its rows (`overlap_slope`).
        atoms: nucleus of each function.
        p: coefficients.
    """
    vectors, values = whole.vectors[0], whole.values[0]
    shares = (vectors.T @ p)[:, None] / (values[:, None] + values)
    columns = vectors @ shares

    def along(slope: Float[Array, "F F"]) -> Float[Array, "F N"]:
        turned = slope @ vectors
        rows = vectors * (turned @ shares) + turned * columns
        return vectors @ jax.ops.segment_sum(rows, atoms, int(atoms.max()) + 1).T

    return jnp.moveaxis(jax.lax.map(along, slopes), 0, -1)


def _collected(natural: Natural, size: int, of_fragment: Callable[[Roots], Float[Array, " n"]]) -> Float[Array, " F"]:
    """What comes from each fragment for its group, in the order of the functions."""
    found = jnp.zeros(size, natural[0].rows.dtype)
    for part in natural:
        values = jax.lax.map(of_fragment, part) if len(part.rows) > 1 else of_fragment(_first(part))[None]
        found = found.at[part.fragments.own].add(values, mode="drop")
    return found


def _first(part: Roots) -> Roots:
    return jax.tree.map(lambda leaf: leaf[0], part)


def _taken(vector: Float[Array, " F"], near: Int[Array, " m"]) -> Float[Array, " m"]:
    return vector.at[near].get(mode="fill", fill_value=0.0)
