"""Torsion space: molecules whose bond lengths, angles and rings are rigid, and which turn about their single bonds.

In the limit of stiff bonds and angles, a chain's Boltzmann density over its dihedral angles is exp(-U/kT) times a
Jacobian that depends on lengths and angles only (Gō and Scheraga 1976, doi:10.1021/ma60052a001), so the measure of the
torus is the right one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ergodica.errors import InputError
from ergodica.sampling.mmff94 import MMFF94, Terms, Variant, mmff94

if TYPE_CHECKING:
    from ergodica.sampling.molecules import Molecule

__all__ = ["RigidEnergy", "Torsions", "rigid_energy", "rigid_rotors"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Torsions:
    """From dihedral angles to positions and back.

    Attributes:
        reference: positions of the atoms, Å [N, 3].
        atoms: of each dihedral angle [T, 4].
        moved: which atoms turn with it [T, N].
        angles: in the reference geometry, rad [T].
    """

    reference: Float[Array, "N 3"]
    atoms: Int[Array, "T 4"]
    moved: Bool[Array, "T N"]
    angles: Float[Array, " T"]

    def positions(self, angles: Float[Array, "*B T"]) -> Float[Array, "*B N 3"]:
        """Geometries with these dihedral angles (rad), Å.

        Each turn leaves the angles of all others as they are, so the order is of no consequence.
        """
        turns = (angles - self.angles).reshape(-1, angles.shape[-1]).T
        start = jnp.broadcast_to(self.reference[..., None], (*self.reference.shape, turns.shape[1]))

        def turn(places: Array, one: tuple[Array, Array, Array]) -> tuple[Array, None]:
            atoms, moved, by = one
            foot = places[atoms[1]]
            axis = places[atoms[2]] - foot
            axis = axis / jnp.sqrt(jnp.sum(axis**2, axis=0))
            arm = places - foot
            along = axis * jnp.sum(axis * arm, axis=1, keepdims=True)
            turned = along + jnp.cos(by) * (arm - along) + jnp.sin(by) * jnp.cross(axis[None], arm, axis=1)
            return jnp.where(moved[:, None, None], foot + turned, places), None

        places, _ = jax.lax.scan(turn, start.astype(turns.dtype), (self.atoms, self.moved, turns))
        return jnp.moveaxis(places, -1, 0).reshape(*angles.shape[:-1], *self.reference.shape)

    def angles_of(self, positions: Float[Array, "*B N 3"]) -> Float[Array, "*B T"]:
        """Dihedral angles of geometries, rad, in (-π, π]."""
        first, left, right, last = (positions[..., column, :] for column in self.atoms.T)
        axis = right - left
        one, other = jnp.cross(left - first, axis), jnp.cross(axis, last - right)
        sine = jnp.sum(jnp.cross(one, other) * axis, axis=-1) / jnp.sqrt(jnp.sum(axis**2, axis=-1))
        return jnp.arctan2(sine, jnp.sum(one * other, axis=-1))


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class RigidEnergy:
    """The energy of a molecule as a function of its dihedral angles.

    Attributes:
        torsions: the map to positions.
        varying: the terms that depend on the angles.
        constant: the rest, eV.
    """

    torsions: Torsions
    varying: MMFF94
    constant: Float[Array, ""]

    def __call__(self, angles: Float[Array, "*B T"]) -> Float[Array, "*B"]:
        """Energies, eV."""
        return self.constant + self.varying(self.torsions.positions(angles))


def rigid_rotors(molecule: Molecule) -> Torsions:
    """All rotors of a molecule.

    Raises:
        InputError: it has none.
    """
    rotors = molecule.rotors
    if not rotors:
        raise InputError(f"{molecule.name} has no bond to turn about, so it has a single conformer.")
    moved = np.zeros((len(rotors), len(molecule.numbers)), bool)
    for row, rotor in zip(moved, rotors, strict=True):
        row[list(rotor.moved)] = True
    reference, atoms = jnp.asarray(molecule.positions), jnp.asarray([rotor.atoms for rotor in rotors])
    bare = Torsions(reference, atoms, jnp.asarray(moved), jnp.zeros(len(rotors)))
    return replace(bare, angles=bare.angles_of(reference))


def rigid_energy(molecule: Molecule, variant: Variant = "MMFF94", dtype: type = np.float32) -> RigidEnergy:
    """The energy of a molecule over its torsions.

    Args:
        molecule: with its reference geometry.
        variant: of the force field.
        dtype: of all numbers.

    Raises:
        InputError: it has no torsions, or MMFF94 has no parameters for it.
    """
    torsions, field = rigid_rotors(molecule), mmff94(molecule, variant)
    varies = _changes(np.asarray(torsions.moved), np.asarray(torsions.atoms)[:, 1:3])
    none = jax.tree.map(lambda leaf: leaf[:0], field)
    varying = replace(none, torsions=_kept(field.torsions, varies, (0, 3)), pairs=_kept(field.pairs, varies, (0, 1)))
    constant = _difference(field, varying, torsions.reference)
    found = RigidEnergy(torsions, varying, constant)
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, found)


@jax.jit
def _difference(one: MMFF94, other: MMFF94, positions: Float[Array, "N 3"]) -> Float[Array, ""]:
    return one(positions) - other(positions)


def _changes(moved: Bool[np.ndarray, "T N"], axes: Int[np.ndarray, "T 2"]) -> Bool[np.ndarray, "N N"]:
    """Between which atoms the distance depends on an angle: one is moved, and the other is not and is off the axis."""
    off = ~moved
    for row, axis in zip(off, axes, strict=True):
        row[axis] = False
    one_way = np.einsum("ti,tj->ij", moved.astype(int), off.astype(int)) > 0
    return one_way | one_way.T


def _kept(terms: Terms, varies: Bool[np.ndarray, "N N"], ends: tuple[int, int]) -> Terms:
    """The terms between whose ends the distance varies."""
    atoms = np.asarray(terms.atoms)
    kept = varies[atoms[:, ends[0]], atoms[:, ends[1]]]
    return Terms(terms.atoms[kept], terms.values[kept])
