"""Torsion space: molecules whose bond lengths, angles and rings are rigid, and which turn about their single bonds.

In the limit of stiff bonds and angles, a chain's Boltzmann density over its dihedral angles is exp(-U/kT) times a
Jacobian that depends on lengths and angles only (Gō and Scheraga 1976, doi:10.1021/ma60052a001), so the measure of the
torus is the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ergodica.errors import InputError
from ergodica.sampling.energies.mmff94 import MMFF94, Terms, Variant, charges, dispersion, mmff94
from ergodica.units import KCAL_PER_MOL

if TYPE_CHECKING:
    from ergodica.sampling.molecules import Molecule

__all__ = ["RigidEnergy", "Torsions", "changes", "padded", "resized", "rigid_energy", "rigid_rotors", "turned"]


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
        places = self.places(angles.reshape(-1, angles.shape[-1]))
        return jnp.moveaxis(places, -1, 0).reshape(*angles.shape[:-1], *self.reference.shape)

    def places(self, angles: Float[Array, "B T"]) -> Float[Array, "N 3 B"]:
        """The same with the batch last, as energies want it."""
        turns = (angles - self.angles).T
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

        return jax.lax.scan(turn, start.astype(turns.dtype), (self.atoms, self.moved, turns))[0]

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
    """The energy of a molecule as a function of its dihedral angles; a pytree.

    Rotors, atoms and pairs are padded to round numbers, so that molecules of about one size share compiled programs.

    Attributes:
        torsions: the map to positions.
        harmonics: of each rotor's own torsion terms: factors of cos nθ and sin nθ for n = 1, 2, 3, eV [T, 3, 2].
        pairs: whose distance depends on an angle, as in `MMFF94.pairs`.
        senses: of each rotor and pair: 1 if the rotor moves the second atom alone, -1 if the first, 0 [T, M].
        constant: the rest, eV.
    """

    torsions: Torsions
    harmonics: Float[Array, "T 3 2"]
    pairs: Terms
    senses: Float[Array, "T M"]
    constant: Float[Array, ""]

    def __call__(self, angles: Float[Array, "*B R"]) -> Float[Array, "*B"]:
        """Energies, eV; angles of padding may be left out."""
        flat = self.padded(angles).reshape(-1, len(self.harmonics))
        places = self.torsions.places(flat)
        first, second = (places[column] for column in self.pairs.atoms.T)
        lengths = jnp.sqrt(jnp.sum((second - first) ** 2, axis=1))
        values = self.pairs.values
        apart = KCAL_PER_MOL * (dispersion(lengths, values) + charges(lengths, values)).sum(axis=0)
        return (self.constant + apart + self.turning(flat).sum(axis=-1)).reshape(angles.shape[:-1])

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of rotors, atoms and pairs, those of padding among them."""
        return len(self.torsions.angles), len(self.torsions.reference), len(self.pairs.atoms)

    def turning(self, angles: Float[Array, "*B T"], sigma: Float[Array, "*B"] | float = 0.0) -> Float[Array, "*B T"]:
        """Energies of each rotor's torsion terms, eV, in the mean over noise of that width (rad)."""
        order = jnp.arange(1, 4)
        damped = jnp.exp(-0.5 * (order * jnp.asarray(sigma)[..., None]) ** 2)[..., None, :, None]
        multiples = angles[..., None] * order
        waves = damped * jnp.stack([jnp.cos(multiples), jnp.sin(multiples)], axis=-1)
        return jnp.einsum("...tnk,tnk->...t", waves, self.harmonics)

    def padded(self, angles: Float[Array, "*B R"]) -> Float[Array, "*B T"]:
        """With zeros for the rotors that are padding."""
        missing = len(self.harmonics) - angles.shape[-1]
        return jnp.pad(angles, [(0, 0)] * (angles.ndim - 1) + [(0, missing)]) if missing else angles


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
    moved = np.asarray(torsions.moved)
    changed = np.any(changes(moved, np.asarray(torsions.atoms)[:, 1:3]), axis=0, keepdims=True)[0]
    axes = {frozenset(row[1:3].tolist()) for row in np.asarray(torsions.atoms)}
    # atoms in the row of a triple bond lie on its axis: what ends on them doesn't turn, though the other end moves
    about = np.array([frozenset(row[1:3].tolist()) in axes for row in np.asarray(field.torsions.atoms)], bool)
    turning, still = _parted(field.torsions, _joins(changed, field.torsions, (0, 3)) & about)
    apart, fixed = _parted(field.pairs, _joins(changed, field.pairs, (0, 1)))
    rest = replace(field, torsions=still, pairs=fixed)
    senses: Any = moved[:, apart.atoms[:, 1]].astype(float) - moved[:, apart.atoms[:, 0]]
    harmonics, constant = _harmonics(torsions, turning)
    whole: Any = np.asarray(constant + float(_value(rest, torsions.reference)))
    found = _rounded_up(RigidEnergy(torsions, harmonics, apart, senses, whole))
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, dtype if np.issubdtype(leaf.dtype, np.floating) else leaf.dtype), found
    )


@jax.jit
def _value(field: MMFF94, positions: Float[Array, "N 3"]) -> Float[Array, ""]:
    return field(positions)


def _harmonics(torsions: Torsions, terms: Terms) -> tuple[Any, float]:
    """Of the rotors that torsion terms turn with, and what is left (eV): a term's angle is that of its rotor, shifted.

    Half of V₁(1 + cos φ) + V₂(1 - cos 2φ) + V₃(1 + cos 3φ).
    """
    atoms: Any = np.asarray(terms.atoms)
    values = 0.5 * KCAL_PER_MOL * np.asarray(terms.values) * [1, -1, 1]
    shift = np.asarray(replace(torsions, atoms=atoms).angles_of(torsions.reference))
    axes = [frozenset(row[1:3].tolist()) for row in np.asarray(torsions.atoms)]
    rotor = np.array([axes.index(frozenset(row[1:3].tolist())) for row in atoms], int)
    found = np.zeros((len(axes), 3, 2))
    phase = (shift - np.asarray(torsions.angles)[rotor])[:, None] * np.arange(1, 4)
    np.add.at(found, rotor, values[..., None] * np.stack([np.cos(phase), -np.sin(phase)], axis=-1))
    return found, float(0.5 * KCAL_PER_MOL * np.asarray(terms.values).sum())


def changes(moved: Bool[np.ndarray, "T N"], axes: Int[np.ndarray, "T 2"]) -> Bool[np.ndarray, "T N N"]:
    """Between which atoms the distance depends on which angle: one is moved, the other is not and is off the axis."""
    off = ~moved
    for row, axis in zip(off, axes, strict=True):
        row[axis] = False
    one_way = moved[:, :, None] & off[:, None]
    return one_way | one_way.swapaxes(1, 2)


def turned(
    torsions: Torsions, rotors: Sequence[int], angles: Float[np.ndarray, "K B"], used: Int[np.ndarray, " U"]
) -> Float[np.ndarray, "U 3 B"]:
    """Where some atoms are (Å) when some rotors have these angles (rad), the others those of the reference."""
    atoms, moved = np.asarray(torsions.atoms), np.asarray(torsions.moved)
    ends = atoms[list(rotors), 1:3].ravel()
    wanted = np.union1d(used, ends)
    places = np.repeat(np.asarray(torsions.reference, np.float32)[wanted][..., None], angles.shape[1], axis=2)
    for rotor, value in zip(rotors, angles, strict=True):
        by = (value - float(torsions.angles[rotor])).astype(np.float32)
        left, right = np.searchsorted(wanted, atoms[rotor, 1:3])
        axis = places[right] - places[left]
        axis = axis / np.sqrt(np.sum(axis**2, axis=0))
        rows = moved[rotor, wanted]
        arm = places[rows] - places[left]
        along = axis * np.sum(axis * arm, axis=1, keepdims=True)
        around = np.cross(np.broadcast_to(axis, arm.shape), arm, axis=1)
        places[rows] = places[left] + along + np.cos(by) * (arm - along) + np.sin(by) * around
    return places[np.searchsorted(wanted, used)]


def _joins(chosen: Bool[np.ndarray, "N N"], terms: Terms, ends: tuple[int, int]) -> Bool[np.ndarray, " K"]:
    """Whether a term's ends are a chosen pair."""
    atoms = np.asarray(terms.atoms)
    return chosen[atoms[:, ends[0]], atoms[:, ends[1]]]


def _parted(terms: Terms, kept: Bool[np.ndarray, " K"]) -> tuple[Terms, Terms]:
    """The terms that are kept, and the others."""
    return Terms(terms.atoms[kept], terms.values[kept]), Terms(terms.atoms[~kept], terms.values[~kept])


ROTOR_STEP, ATOM_STEP, PAIR_STEP = 4, 8, 64
"""Numbers are rounded up to multiples of these; pairs to a quarter of a power of two where that is more."""


def _rounded_up(energy: RigidEnergy) -> RigidEnergy:
    rotors, atoms, pairs = energy.sizes
    coarse = max(PAIR_STEP, 2 ** int(np.ceil(np.log2(max(pairs, 1)))) // 4)
    steps = (ROTOR_STEP, ATOM_STEP, coarse)
    return resized(
        energy, tuple(-(-size // step) * step for size, step in zip((rotors, atoms, pairs), steps, strict=True))
    )


def resized(energy: RigidEnergy, sizes: tuple[int, ...]) -> RigidEnergy:
    """With rotors that move nothing, atoms that none moves and pairs without energy, up to these numbers of them."""
    torsions, pairs = energy.torsions, energy.pairs
    rotors, atoms, more = ((0, size - old) for size, old in zip(sizes, energy.sizes, strict=True))
    nothing: Any = np.tile(np.array([[1.0, 0.0, 0.0]], pairs.values.dtype), (more[1], 1))
    values: Any = np.concatenate([pairs.values, nothing])
    return RigidEnergy(
        Torsions(
            padded(torsions.reference, atoms, NONE, mode="edge"),
            padded(torsions.atoms, rotors, NONE, mode="edge"),
            padded(torsions.moved, rotors, atoms),
            padded(torsions.angles, rotors),
        ),
        padded(energy.harmonics, rotors, NONE, NONE),
        Terms(padded(pairs.atoms, more, NONE, mode="edge"), values),
        padded(energy.senses, rotors, more),
        energy.constant,
    )


NONE = (0, 0)


def padded(values: Array | np.ndarray, *more: tuple[int, int], **options: Any) -> Any:
    """By so many rows before and after, axis by axis."""
    return np.pad(np.asarray(values), more, **options)
