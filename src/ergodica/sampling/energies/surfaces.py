"""A frozen surface, and the energy of one atom above it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.elements import symbols_of
from ergodica.errors import InputError
from ergodica.potentials.emt import EMT_TABLE, EMTConfig, Sums, embedded, sums_of_pair

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Surface", "Visitor", "surface_height", "surface_of", "visitor", "width"]

FLAT = 1e-6
"""Heights of lattice vectors that count as none, Å."""
LAYER = 1.2
"""Atoms less than this below the uppermost one are of the same layer, Å."""
VACUUM = 5.0
"""Least gap above a slab that is periodic in its height, too, Å."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Surface:
    """A slab whose uppermost layer is at z = 0.

    Attributes:
        numbers: atomic numbers [S].
        positions: Å [S, 3].
        lattice: rows are the lattice vectors in the plane, Å [2, 2].
    """

    numbers: Int[Array, " S"]
    positions: Float[Array, "S 3"]
    lattice: Float[Array, "2 2"]

    @property
    def area(self) -> Float[Array, ""]:
        """Of the cell, Å²."""
        return jnp.abs(jnp.linalg.det(self.lattice))

    def nearest(self, x: Float[Array, "*B 3"]) -> tuple[Float[Array, "*B S 4 3"], Float[Array, "*B S 4"]]:
        """Vectors from a place to each atom's nearest images, two along each lattice vector, and their lengths.

        These are all within the smallest width of the cell; a step from one image to another happens beyond it.
        """
        away = self.positions - x[..., None, :]
        inner = away[..., :2] @ jnp.linalg.inv(self.lattice)
        inner = inner - jnp.round(inner)
        second = inner - jnp.where(inner < 0, -1.0, 1.0)
        first, last = jnp.stack([inner[..., 0], second[..., 0]], -1), jnp.stack([inner[..., 1], second[..., 1]], -1)
        pairs = jnp.stack(jnp.broadcast_arrays(first[..., :, None], last[..., None, :]), axis=-1)
        plane = pairs.reshape(*pairs.shape[:-3], 4, 2) @ self.lattice
        height = jnp.broadcast_to(away[..., None, 2:], (*plane.shape[:-1], 1))
        vectors = jnp.concatenate([plane, height], axis=-1)
        return vectors, jnp.sqrt(jnp.sum(vectors**2, axis=-1) + 1e-12)


def surface_of(slab: Atoms) -> Surface:
    """A surface from a slab of ASE whose upper side is meant; its arrays are NumPy's.

    Raises:
        InputError: the slab is not periodic in two directions that lie in the plane, or has no room above it.
    """
    cell, height = np.asarray(slab.cell), slab.positions[:, 2]
    if not slab.pbc[:2].all() or np.abs(cell[:2, 2]).max() > FLAT:
        raise InputError(
            "A surface needs a slab that repeats along its first two lattice vectors, which lie in the plane of x and "
            "y: build it with ase.build, such as fcc111('Cu', (3, 3, 4), vacuum=8)."
        )
    gap = abs(cell[2, 2]) - np.ptp(height)
    if slab.pbc[2] and gap < VACUUM:
        raise InputError(f"There are only {gap:.1f} Å of vacuum above the slab: add some (Atoms.center(8, axis=2)).")
    positions = slab.positions - [0.0, 0.0, surface_height(height)]
    return Surface(slab.numbers.copy(), positions, cell[:2, :2].copy())  # type: ignore[arg-type]


def surface_height(heights: Float[np.ndarray, " S"]) -> float:
    """Mean height of the uppermost layer, Å: one atom that sticks out does not lift it."""
    return float(heights[heights > heights.max() - LAYER].mean())


def width(surface: Surface) -> float:
    """Distance of opposite edges of the cell, the smaller one, Å."""
    lattice = np.asarray(surface.lattice, float)
    return float(abs(np.linalg.det(lattice)) / np.linalg.norm(lattice, axis=1).max())


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Visitor:
    """The energy of one atom above a frozen surface by effective-medium theory.

    Attributes:
        surface: the slab.
        number: atomic number of the atom.
        known: what the atoms of the slab get from each other [S].
    """

    surface: Surface
    number: Int[Array, ""]
    known: Sums

    def __call__(self, x: Float[Array, "*B 3"]) -> Float[Array, "*B"]:
        """Energy of the slab with the atom less that of the slab without, against a free atom, eV."""
        numbers = self.surface.numbers
        lengths = self.surface.nearest(x)[1]
        to_atom, to_slab = sums_of_pair(self.number, numbers[:, None], lengths)
        own = jax.tree.map(lambda part: part.sum((-2, -1)), to_atom)
        rest = jax.tree.map(lambda one, part: one + part.sum(-1), self.known, to_slab)
        change = embedded(numbers, rest) - embedded(numbers, self.known)
        free = embedded(self.number, Sums(jnp.zeros(()), jnp.zeros(())))
        return embedded(self.number, own) - free + jnp.sum(change, axis=-1)


def visitor(surface: Surface, number: int) -> Visitor:
    """An atom and a surface.

    Args:
        surface: the slab.
        number: atomic number of the atom.

    Raises:
        InputError: an element has no parameters, or the cell is so small that the atom meets its own images.
    """
    unknown = [one for one in symbols_of({*np.asarray(surface.numbers).tolist(), number}) if one not in EMT_TABLE]
    if unknown:
        raise InputError(f"Effective-medium theory has no {unknown[0]}: it knows {' '.join(EMT_TABLE)}.")
    if width(surface) < EMTConfig.cutoff:
        raise InputError(
            f"The cell is {width(surface):.1f} Å wide and an atom would meet its own images: repeat it to "
            f"{EMTConfig.cutoff:.1f} Å at least (slab.repeat((2, 2, 1)))."
        )
    with jax.enable_x64(True):
        lengths = surface.nearest(jnp.asarray(surface.positions))[1]
        apart = lengths > 1e-3
        pairs = sums_of_pair(
            jnp.asarray(surface.numbers)[:, None, None], jnp.asarray(surface.numbers)[:, None], lengths
        )[0]
        known = jax.tree.map(lambda part: np.asarray(jnp.sum(part * apart, axis=(1, 2))), pairs)
    return Visitor(surface, np.int32(number), known)  # type: ignore[arg-type]
