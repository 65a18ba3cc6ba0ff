"""Calculators whose properties are known beforehand."""

from __future__ import annotations

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.lj import LennardJones
from ase.spacegroup import crystal
from ase.stress import full_3x3_to_voigt_6_stress

ARGON = {"epsilon": 0.0104, "sigma": 3.4}
NEAREST = 1.2 * 2 ** (1 / 6) * ARGON["sigma"]
"""A cut-off between the first and the second neighbours."""

CELLS = {
    1: (4, 5, 6, 80, 95, 105),
    2: (4, 5, 6, 80, 95, 105),
    14: (6, 5, 7, 90, 105, 90),
    62: (5, 6, 7, 90, 90, 90),
    88: (5, 5, 7, 90, 90, 90),
    123: (5, 5, 7, 90, 90, 90),
    148: (5, 5, 13, 90, 90, 120),
    162: (5, 5, 7, 90, 90, 120),
    167: (5, 5, 13, 90, 90, 120),
    168: (5, 5, 7, 90, 90, 120),
    191: (5, 5, 7, 90, 90, 120),
    195: (6, 6, 6, 90, 90, 90),
    225: (8, 8, 8, 90, 90, 90),
}
"""A cell for one space group or two of each Laue class."""


def argon(cutoff: float = NEAREST) -> LennardJones:
    return LennardJones(rc=cutoff, **ARGON)


def crystal_of(group: int, primitive: bool = True, turned: bool = True):
    """Atoms on general places of a space group, the crystal turned and shifted anyhow."""
    places = [(0.1, 0.21, 0.33), (0.37, 0.08, 0.69)]
    atoms = crystal(["C", "O"], places, spacegroup=group, cellpar=CELLS[group], primitive_cell=primitive)
    if turned:
        atoms.positions += [0.3, 0.4, 0.5]
        atoms.rotate(33, (1, 2, 3), rotate_cell=True)
        atoms.wrap()
    return atoms


class Hooke(Calculator):
    """A medium without atoms: stress C:ε with respect to a cell, forces zero.

    Args:
        cell: the unstrained cell.
        tensor: C_ijkl [3, 3, 3, 3], eV/Å³.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012

    def __init__(self, cell: np.ndarray, tensor: np.ndarray) -> None:
        super().__init__()
        self.cell, self.tensor = np.array(cell), tensor

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        gradient = (np.linalg.inv(self.cell) @ atoms.cell.array).T
        strain = (gradient + gradient.T) / 2 - np.eye(3)
        stress = np.einsum("ijkl,kl->ij", self.tensor, strain)
        energy = 0.5 * atoms.get_volume() * float((stress * strain).sum())
        self.results = {
            "energy": energy,
            "forces": np.zeros((len(atoms), 3)),
            "stress": full_3x3_to_voigt_6_stress(stress),
        }


class Volumetric(Calculator):
    """An energy that depends on the volume alone."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, energy) -> None:
        super().__init__()
        self.energy = energy

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": float(self.energy(atoms.get_volume())), "forces": np.zeros((len(atoms), 3))}
