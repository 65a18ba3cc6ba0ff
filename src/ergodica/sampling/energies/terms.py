"""What the terms of force fields share: their atoms and parameters, and lengths and angles of many geometries at once.

Geometries are along the last axis, so that an atom of all of them is gathered in one piece.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

__all__ = ["TINY", "Places", "Row", "Scalars", "Terms", "Vectors"]
__all__ += ["angle", "bent", "columns", "cross", "dihedral", "dot", "ends", "length", "packed", "stretched"]

TINY = 1e-18
"""Below the square of what float32 tells from parallel."""

Row: TypeAlias = tuple[tuple[int, ...], tuple[float, ...]]
"""Atoms and parameters of one term."""
Places: TypeAlias = Float[Array, "N 3 B"]
Vectors: TypeAlias = Float[Array, "M 3 B"]
Scalars: TypeAlias = Float[Array, "M B"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Terms:
    """The atoms of each term of one kind [M, k], and its parameters [M, p]."""

    atoms: Int[Array, "M K"]
    values: Float[Array, "M P"]


def packed(atoms: int, values: int, rows: Iterable[Row]) -> Terms:
    """Terms of so many atoms and parameters each, in NumPy's float64: programs have them in their own precision."""
    found = list(rows)
    index: Any = np.array([row[0] for row in found], np.int32).reshape(-1, atoms)
    numbers: Any = np.array([row[1] for row in found], float).reshape(-1, values)
    return Terms(index, numbers)


def ends(atoms: Int[Array, "M K"], places: Places) -> tuple[Vectors, ...]:
    """Places of the first atom of each term, of the second, ..."""
    return tuple(places[column] for column in atoms.T)


def columns(values: Float[Array, "M P"]) -> tuple[Float[Array, "M 1"], ...]:
    """The first parameter of each term, the second, ..."""
    return tuple(column[:, None] for column in values.T)


def dot(one: Vectors, other: Vectors) -> Scalars:
    """Scalar products."""
    return jnp.sum(one * other, axis=1)


def cross(one: Vectors, other: Vectors) -> Vectors:
    """Vector products."""
    return jnp.cross(one, other, axis=1)


def length(vector: Vectors) -> Scalars:
    """Of vectors."""
    return jnp.sqrt(dot(vector, vector))


def angle(one: Vectors, other: Vectors) -> Scalars:
    """Between vectors, rad; finite, with its derivative, where they are parallel."""
    across = cross(one, other)
    return jnp.arctan2(jnp.sqrt(jnp.maximum(dot(across, across), TINY)), dot(one, other))


def dihedral(first: Vectors, left: Vectors, right: Vectors, last: Vectors) -> Scalars:
    """Angle between the planes of four atoms, rad, 0 where first and last are on one side (IUPAC's sign).

    Where three atoms are on one line there is no such plane: it is 0 there, with no derivative.
    """
    axis = right - left
    one, other = cross(first - left, axis), cross(last - right, axis)
    sine, cosine = dot(cross(one, other), axis), dot(one, other)
    straight = jnp.minimum(dot(one, one), dot(other, other)) <= TINY
    sine, cosine = jnp.where(straight, 0.0, sine), jnp.where(straight, 1.0, cosine)
    return jnp.arctan2(sine, cosine * length(jnp.where(straight[:, None], 1.0, axis)))


def stretched(terms: Terms, places: Places) -> Scalars:
    """Energies of springs between two atoms: force constant and length at rest."""
    one, other = ends(terms.atoms, places)
    constant, rest = columns(terms.values)
    return 0.5 * constant * (length(one - other) - rest) ** 2


def bent(terms: Terms, places: Places) -> Scalars:
    """Energies of springs in the angle of three atoms: force constant and angle at rest, rad."""
    one, middle, other = ends(terms.atoms, places)
    constant, rest = columns(terms.values)
    return 0.5 * constant * (angle(one - middle, other - middle) - rest) ** 2
