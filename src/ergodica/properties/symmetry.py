"""What symmetry says of elastic constants: invariant tensors, independent constants, strains that suffice."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float

from ergodica._extras import require
from ergodica.dynamics.symmetry import symmetry_dataset
from ergodica.system import System

__all__ = ["VOIGT", "CrystalSymmetry", "crystal_symmetry", "from_voigt_strain", "mandel_rotation", "to_voigt"]

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Voigt's order xx, yy, zz, yz, xz, xy."""

ROOT = np.sqrt(np.array([1.0, 1.0, 1.0, 2.0, 2.0, 2.0]))
"""Mandel's weights: with them, rotations of Voigt vectors are orthogonal matrices."""

PAIRS = [(i, j) for i in range(6) for j in range(i, 6)]

LAUE = {
    "-1": ("triclinic", ("1", "-1")),
    "2/m": ("monoclinic", ("2", "m", "2/m")),
    "mmm": ("orthorhombic", ("222", "mm2", "mmm")),
    "4/m": ("tetragonal", ("4", "-4", "4/m")),
    "4/mmm": ("tetragonal", ("422", "4mm", "-42m", "-4m2", "4/mmm")),
    "-3": ("trigonal", ("3", "-3")),
    "-3m": ("trigonal", ("32", "3m", "-3m")),
    "6/m": ("hexagonal", ("6", "-6", "6/m")),
    "6/mmm": ("hexagonal", ("622", "6mm", "-6m2", "-62m", "6/mmm")),
    "m-3": ("cubic", ("23", "m-3")),
    "m-3m": ("cubic", ("432", "-43m", "m-3m")),
}
"""Crystal system and point groups of the eleven Laue classes."""


@dataclass(frozen=True)
class CrystalSymmetry:
    """Symmetry of a crystal, as far as elasticity sees it, in the standard axes.

    Attributes:
        space_group: international symbol and number, "Fm-3m (225)".
        laue: Laue class, such as "m-3m".
        system: crystal system.
        axes: from the Cartesian axes of the structure to the standard ones [3, 3]: v' = axes @ v.
        basis: symmetric tensors that the crystal allows, in Voigt's matrix form [n, 6, 6].
        independent: names of n constants that fix the others, such as ("C11", "C12", "C44").
    """

    space_group: str
    laue: str
    system: str
    axes: Float[np.ndarray, "3 3"]
    basis: Float[np.ndarray, "n 6 6"]
    independent: tuple[str, ...]

    def strains(self) -> tuple[int, ...]:
        """The fewest of Voigt's six strains whose stresses fix all constants, the best conditioned among them."""
        for count in range(1, 7):
            best = max(combinations(range(6), count), key=lambda chosen: round(self._conditioning(chosen), 6))
            if self._conditioning(best) > 1e-6:
                return best
        raise AssertionError("six strains fix everything")

    def _conditioning(self, chosen: tuple[int, ...]) -> float:
        seen = self.basis[:, :, chosen].reshape(len(self.basis), -1)
        return float(np.linalg.svd(seen, compute_uv=False)[-1]) if seen.shape[1] >= len(self.basis) else 0.0


def crystal_symmetry(system: System, symprec: float) -> CrystalSymmetry:
    """The symmetry of a crystal.

    Standard axes are those of spglib's conventional cell: x along a, y in the plane of a and b, z along c*. Hexagonal
    axes are used for trigonal crystals; the unique axis of monoclinic ones is b.

    Args:
        system: the crystal.
        symprec: how far atoms may be from their symmetric places, Å.

    Raises:
        InputError: spglib is not installed, or finds no symmetry at all.
    """
    spglib = require("spglib", "phonons")
    data = symmetry_dataset(system, symprec)
    laue = next(name for name, (_, groups) in LAUE.items() if data.pointgroup in groups)
    # the group of the space-group type, not that of the cell at hand: a supercell may lack rotations of its crystal
    operations = spglib.get_symmetry_from_database(data.hall_number)
    lattice = np.asarray(data.std_lattice, float).T  # rotations act on columns of fractional coordinates
    rotations = np.unique(operations["rotations"].reshape(-1, 9), axis=0).reshape(-1, 3, 3)
    basis = invariant_tensors(lattice @ rotations @ np.linalg.inv(lattice))
    name = f"{data.international} ({data.number})"
    axes = np.asarray(data.std_rotation_matrix, float)
    return CrystalSymmetry(name, laue, LAUE[laue][0], axes, basis, _independent(basis))


def mandel_rotation(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "6 6"]:
    """The orthogonal matrix that turns symmetric tensors in Mandel's vector form as `matrix` turns vectors."""
    columns = []
    for column in range(6):
        tensor = np.zeros((3, 3))
        i, j = VOIGT[column]
        tensor[i, j] = tensor[j, i] = 1.0 if i == j else 0.5
        turned = matrix @ tensor @ matrix.T
        columns.append(to_voigt(turned) * ROOT * (1.0 if i == j else np.sqrt(2.0)))
    return np.array(columns).T


def invariant_tensors(rotations: Float[np.ndarray, "g 3 3"]) -> Float[np.ndarray, "n 6 6"]:
    """An orthogonal basis of the elastic tensors that a group of rotations leaves alone, in Voigt's matrix form.

    The mean over the group is a projector on the 21 symmetric matrices; its eigenvectors of eigenvalue 1 are the basis.
    """
    units = []
    for i, j in PAIRS:
        unit = np.zeros((6, 6))
        unit[i, j] = unit[j, i] = 1.0 if i == j else np.sqrt(0.5)
        units.append(unit)
    basis = np.array(units)
    turns = np.array([mandel_rotation(rotation) for rotation in rotations])
    mean = np.einsum("gij,bjk,glk->bil", turns, basis, turns, optimize=True) / len(turns)
    projector = np.einsum("aij,bij->ab", basis, mean)
    values, vectors = np.linalg.eigh((projector + projector.T) / 2)
    allowed = np.einsum("bk,bij->kij", vectors[:, values > 0.5], basis)
    return allowed / np.outer(ROOT, ROOT)


def _independent(basis: Float[np.ndarray, "n 6 6"]) -> tuple[str, ...]:
    """The first constants, in the order C11, C12, ... C66, that fix all others."""
    chosen: list[tuple[int, int]] = []
    for i, j in PAIRS:
        columns = np.array([basis[:, a, b] for a, b in [*chosen, (i, j)]])
        if np.linalg.svd(columns, compute_uv=False)[-1] > 1e-6 and len(columns) <= len(basis):
            chosen.append((i, j))
    return tuple(f"C{i + 1}{j + 1}" for i, j in chosen)


def to_voigt(tensor: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, " 6"]:
    """A symmetric tensor's six components in Voigt's order (no factors of two)."""
    return np.array([tensor[i, j] for i, j in VOIGT])


def from_voigt_strain(index: int, amplitude: float) -> Float[np.ndarray, "3 3"]:
    """The strain tensor of one engineering strain: shears γ = 2ε."""
    i, j = VOIGT[index]
    strain = np.zeros((3, 3))
    strain[i, j] = strain[j, i] = amplitude if i == j else amplitude / 2
    return strain
