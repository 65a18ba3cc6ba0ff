"""Coefficients atom by atom, and what surrounds each atom: the input of learned functionals.

All atoms get the same table of M harmonics (those up to the highest degree, l² ... (l + 1)² - 1) times K shells, so
that one array holds them; where an element has no function the table is zero. Rotations act on the harmonics alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.dft.gaussians.basis import DensityBasis, exponents_of_elements
from ergodica.dft.gaussians.solid_harmonics import solid_harmonics
from ergodica.elements import SYMBOLS
from ergodica.nn.geometry import safe_norm, unit_vectors
from ergodica.nn.radial import gaussian_basis, gaussian_constants, polynomial_cutoff

__all__ = ["Geometry", "Layout", "Radial", "flattened", "geometry", "index_table", "surroundings", "tabulated"]


@dataclass(frozen=True)
class Layout:
    """The table for a set of elements.

    Attributes:
        elements: atomic numbers, rising.
    """

    elements: tuple[int, ...]

    @cached_property
    def shells(self) -> Int[np.ndarray, "E L"]:
        """Shells of each element and degree."""
        exponents = [exponents_of_elements()[SYMBOLS[number]] for number in self.elements]
        highest = max(len(one) for one in exponents)
        return np.array([[len(part) for part in one] + [0] * (highest - len(one)) for one in exponents])

    @property
    def highest(self) -> int:
        """Highest degree."""
        return self.shells.shape[1] - 1

    @property
    def width(self) -> int:
        """Shells in the table, K."""
        return int(self.shells.max())

    @cached_property
    def degree(self) -> Int[np.ndarray, " M"]:
        """Degree of each harmonic."""
        return np.repeat(np.arange(self.highest + 1), 2 * np.arange(self.highest + 1) + 1)

    @cached_property
    def firsts(self) -> Int[np.ndarray, " L"]:
        """Place of the first harmonic of each degree."""
        return np.arange(self.highest + 1) ** 2

    @cached_property
    def present(self) -> Float[np.ndarray, "E M K"]:
        """1 where an element has a function."""
        return 1.0 * (np.arange(self.width) < self.shells[:, self.degree, None])

    def species(self, numbers: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
        """Place of each atom's element among the elements."""
        return np.searchsorted(self.elements, numbers)


@lru_cache(maxsize=256)
def index_table(layout: Layout, basis: DensityBasis) -> Int[np.ndarray, "N M K"]:
    """Which coefficient stands where in the table of each atom; F where none does.

    Args:
        layout: the table, which knows all elements of the molecule.
        basis: of the molecule.
    """
    table = np.full((len(basis.numbers), len(layout.degree), layout.width), basis.size)
    keys = np.stack([basis.atom, basis.shells.degrees[basis.shell]], axis=1)
    first = np.searchsorted(keys @ [1000, 1], keys @ [1000, 1])  # of the same atom and degree
    shell = (np.arange(basis.size) - first) // (2 * keys[:, 1] + 1)
    table[basis.atom, basis.harmonic, shell] = np.arange(basis.size)
    return table


def tabulated(flat: Float[Array, " F"], index: Int[np.ndarray, "N M K"] | Array) -> Float[Array, "N M K"]:
    """Coefficients in the table."""
    return jnp.append(flat, jnp.zeros((), flat.dtype))[index]


def flattened(table: Float[Array, "N M K"], index: Int[np.ndarray, "N M K"] | Array, size: int) -> Float[Array, " F"]:
    """Coefficients out of the table: `tabulated` the other way."""
    return jnp.zeros(size + 1, table.dtype).at[index].set(table)[:-1]


@dataclass(frozen=True)
class Radial:
    """How distances are resolved.

    Attributes:
        cutoff: atoms farther away than this are not seen, Bohr.
        size: Gaussians from 0 to the cut-off.
    """

    cutoff: float = 10.0
    size: int = 16


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Geometry:
    """Pairs of atoms of one molecule, padded to N: of each with all, or with J that hold all it can see.

    Attributes:
        species: of each atom [N].
        valid: whether an atom is one, 1 or 0 [N].
        radial: Gaussians of the distances times the fading, zero of an atom with itself [N, J, R].
        fade: from 1 to 0 at the cut-off, 1 of an atom with itself, 0 where one is padding [N, J].
        harmonics: of the directions i → j [N, J, M].
        others: which atoms j are, N for none [N, J]; None: all in their order.
    """

    species: Int[Array, " N"]
    valid: Float[Array, " N"]
    radial: Float[Array, "N J R"]
    fade: Float[Array, "N J"]
    harmonics: Float[Array, "N J M"]
    others: Int[Array, "N J"] | None = None

    @property
    def j(self) -> str:
        """Axes of what `of_others` gives, for `einsum`."""
        return "j" if self.others is None else "ij"

    def of_others(self, values: Float[Array, "N ..."]) -> Float[Array, "..."]:
        """Values of the atoms j [N, ...], or [N, J, ...] where each atom has its own."""
        return values if self.others is None else values.at[self.others].get(mode="fill", fill_value=0.0)


def geometry(
    layout: Layout,
    radial: Radial,
    species: Int[Array, " N"],
    valid: Float[Array, " N"],
    positions: Float[Array, "N 3"],
    others: Int[Array, "N J"] | None = None,
) -> Geometry:
    """What the network sees of the nuclei; positions in Bohr."""
    atoms = jnp.arange(len(positions))
    these = atoms[None] if others is None else jnp.minimum(others, len(positions) - 1)
    there = valid if others is None else valid.at[others].get(mode="fill", fill_value=0.0)
    vectors = positions[these] - positions[:, None]
    distance = safe_norm(vectors)
    apart = jnp.asarray(these != atoms[:, None], positions.dtype)
    fade = polynomial_cutoff(distance, radial.cutoff) * valid[:, None] * there
    centres, exponents = (jnp.asarray(one, positions.dtype) for one in gaussian_constants(radial.cutoff, radial.size))
    gaussians = gaussian_basis(distance, centres, exponents) * (fade * apart)[..., None]
    harmonics = jnp.concatenate(solid_harmonics(unit_vectors(vectors, distance), layout.highest), axis=-1)
    return Geometry(species, valid, gaussians, fade, harmonics * apart[..., None], others)


def surroundings(layout: Layout, place: Geometry) -> Float[Array, "N M C"]:
    """Σ_j R_n(r_ij) Y_lm(r_ij) by element of j and Gaussian n, and a last channel that is 1 for l = 0.

    Linear functions of these are all functions of single neighbours that turn with the molecule.
    """
    elements = jnp.eye(len(layout.elements), dtype=place.radial.dtype)[place.species] * place.valid[:, None]
    found = jnp.einsum(f"ijn,{place.j}e,ijm->imen", place.radial, place.of_others(elements), place.harmonics)
    found = found.reshape(*found.shape[:2], -1)
    constant = jnp.zeros((*found.shape[:2], 1), found.dtype).at[:, 0].set(1.0)
    return jnp.concatenate([found, constant], axis=-1)
