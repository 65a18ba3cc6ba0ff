"""A molecule's torsional energy taken apart: what a rotor decides alone, what two and three do together, and the rest.

The first three are kept on grids, so that their Boltzmann factors can be smoothed exactly (`marginals`). Torques of the
rest are in `torques`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ergodica.sampling.coordinates.torsions import RigidEnergy, changes, rigid_energy, rigid_rotors, turned
from ergodica.sampling.energies.mmff94 import Variant, charges, dispersion
from ergodica.units import KCAL_PER_MOL

if TYPE_CHECKING:
    from ergodica.sampling.molecules import Molecule

__all__ = ["GRID", "Landscape", "grid_angles", "landscape"]

GRID = 24
"""Points of a full turn."""
HIGHEST = 2.0
"""Energies (eV) at which grids are cut: they can't be visited, and the grids of parts must not cancel there."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Landscape:
    """A molecule as the sampler sees it; a pytree, padded as its energy is.

    Attributes:
        energy: of the dihedral angles.
        single: of each rotor alone, on the grid, eV [T, G].
        double: of two rotors, less what they have alone, eV [T, T, G, G].
        triple: of the three rotors of `triples`, less what they have alone and by twos, eV [P, G, G, G].
        triples: which rotors; of padding all the same [P, 3].
        several: 1 for atom pairs whose energy is on no grid: four rotors or more move them, or three that are not among
            the `triples`, which hold the strongest [M].
        apart: bonds between the axes of two rotors [T, T].
        valid: which rotors are no padding [T].
    """

    energy: RigidEnergy
    single: Float[Array, "T G"]
    double: Float[Array, "T T G G"]
    triple: Float[Array, "P G G G"]
    triples: Int[Array, "P 3"]
    several: Float[Array, " M"]
    apart: Int[Array, "T T"]
    valid: Bool[Array, " T"]


def landscape(molecule: Molecule, variant: Variant = "MMFF94") -> Landscape:
    """Of a molecule with MMFF94, in single precision.

    Raises:
        InputError: it has no rotors, or MMFF94 has no parameters for it.
    """
    from rdkit.Chem import GetDistanceMatrix

    energy = rigid_energy(molecule, variant)
    torsions = rigid_rotors(molecule)
    axes = np.asarray(torsions.atoms)[:, 1:3]
    real, rotors = len(axes), len(energy.harmonics)
    moving = _moving(energy, changes(np.asarray(torsions.moved), axes))
    count = moving.sum(axis=0)
    single = np.zeros((rotors, GRID), np.float32)
    double = np.zeros((rotors, rotors, GRID, GRID), np.float32)
    for one in range(real):
        single[one] = _grid(energy, moving, (one,))
    for one, other in combinations(range(real), 2):
        double[one, other] = _grid(energy, moving, (one, other))
        double[other, one] = double[one, other].T
    triple, triples = _strongest(energy, moving)
    on_grid = [(moving[row].all(axis=0) & (count == 3)) for row in triples if len({*row}) == 3]
    several = (count > 2) & ~np.any(on_grid, axis=0) if on_grid else count > 2
    between = GetDistanceMatrix(molecule.graph)
    apart = np.zeros((rotors, rotors), np.int32)
    apart[:real, :real] = between[axes[:, None, :, None], axes[None, :, None]].min(axis=(2, 3))
    parts = (
        single,
        double,
        triple,
        triples.astype(np.int32),
        several.astype(np.float32),
        apart,
        np.arange(rotors) < real,
    )
    return Landscape(energy, *(jnp.asarray(part) for part in parts))


def grid_angles() -> Float[np.ndarray, " G"]:
    """Points of the grids, rad."""
    return 2 * np.pi * np.arange(GRID) / GRID


def triples_of(rotors: int) -> int:
    """How many triples are kept: a chain of rotors has two less that follow each other, and branches have more."""
    return rotors


def _moving(energy: RigidEnergy, changed: Bool[np.ndarray, "R N N"]) -> Bool[np.ndarray, "T M"]:
    """Which rotors change the distance of which pairs; none of the padding."""
    first, second = np.asarray(energy.pairs.atoms).T
    found = np.zeros((len(energy.harmonics), len(first)), bool)
    found[: len(changed)] = changed[:, first, second]
    return found & np.asarray(energy.pairs.values)[:, 1:].any(axis=1)


def _grid(energy: RigidEnergy, moving: Bool[np.ndarray, "T M"], rotors: tuple[int, ...]) -> np.ndarray:
    """Energies (eV) of the pairs that just these rotors move, and of one rotor's own torsion terms, on a grid."""
    chosen = moving[list(rotors)].all(axis=0) & (moving.sum(axis=0) == len(rotors))
    axes = np.meshgrid(*[grid_angles()] * len(rotors), indexing="ij")
    found = np.zeros(axes[0].shape)
    if len(rotors) == 1:
        angles = np.broadcast_to(axes[0][:, None], (GRID, len(energy.harmonics)))
        found = np.asarray(energy.turning(jnp.asarray(angles)))[:, rotors[0]].astype(float)
    if chosen.any():
        atoms, values = np.asarray(energy.pairs.atoms)[chosen], np.asarray(energy.pairs.values)[chosen]
        used = np.unique(atoms)
        places = turned(energy.torsions, rotors, np.stack([axis.ravel() for axis in axes]), used)
        first, second = (places[np.searchsorted(used, column)] for column in atoms.T)
        lengths = np.maximum(np.sqrt(np.sum((second - first) ** 2, axis=1)), 1e-3)
        kinds = dispersion(lengths, values) + charges(lengths, values)
        found = found + KCAL_PER_MOL * np.asarray(kinds).sum(axis=0).reshape(found.shape)
    return np.minimum(found, found.min() + HIGHEST).astype(np.float32)


def _strongest(
    energy: RigidEnergy, moving: Bool[np.ndarray, "T M"]
) -> tuple[Float[np.ndarray, "P G G G"], Int[np.ndarray, "P 3"]]:
    """Grids of the three rotors whose common energies vary most."""
    rotors, count = len(moving), moving.sum(axis=0)
    kept = triples_of(rotors)
    triple = np.zeros((kept, *[GRID] * 3), np.float32)
    triples = np.zeros((kept, 3), int)
    found = []
    for three in combinations(range(rotors), 3):
        if np.any(moving[list(three)].all(axis=0) & (count == 3)):
            grid = _grid(energy, moving, three)
            found.append((float(np.minimum(grid - np.median(grid), 0.3).std()), three, grid))
    for place, (_, three, grid) in enumerate(sorted(found, key=lambda one: -one[0])[:kept]):
        triple[place], triples[place] = grid, three
    return triple, triples
