"""Structures on which a potential is put to the test, made of the elements it knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ergodica.elements import SYMBOLS
from ergodica.system import Labels, System

__all__ = ["TURN", "default_structures", "moved", "supercell"]

MOLECULES = ("CH3CH2OH", "CH3OH", "CH4", "H2O", "NH3", "CO2")
"""Names in ASE's collection, the most telling first."""

TURN: Float[np.ndarray, "3 3"] = np.linalg.qr(np.array([[1.0, 2.0, 3.0], [-2.0, 1.0, 0.5], [0.3, -1.0, 2.0]]))[0]
"""An orthogonal matrix without any special direction."""


def default_structures(elements: Sequence[str]) -> list[System]:
    """A molecule (or cluster), and the same in a triclinic cell hardly larger than itself."""
    elements = tuple(elements) or ("H", "C", "O")
    molecule = _molecule(elements) or _cluster(elements)
    turned = (molecule.positions - molecule.positions.mean(axis=0)) @ TURN.T
    molecule = replace(molecule, positions=turned)
    size = np.ptp(turned, axis=0) + 2.5
    cell = np.diag(size) + np.array([[0, 0, 0], [0.23, 0, 0], [-0.17, 0.31, 0]]) * size.min()
    crystal = replace(molecule, cell=cell, pbc=np.ones(3, bool), name="test crystal")
    return [molecule, crystal]


def _molecule(elements: Sequence[str]) -> System | None:
    from ase.build import molecule

    for name in MOLECULES:
        atoms = molecule(name)
        if set(atoms.get_chemical_symbols()) <= set(elements):
            return System(atoms.numbers, atoms.positions, name=name)
    return None


def _cluster(elements: Sequence[str]) -> System:
    """A bent pyramid of five atoms at the distances of single bonds."""
    from ase.data import covalent_radii

    numbers = np.array([SYMBOLS.index(elements[k % len(elements)]) for k in range(5)])
    corners = np.array([[0, 0, 0], [1, 0, 0.1], [0.45, 0.9, 0], [0.5, 0.25, 0.85], [-0.4, 0.75, 0.8]])
    return System(numbers, corners * 2.1 * covalent_radii[numbers].max(), name="cluster")


def moved(system: System, matrix: np.ndarray | None = None, shift: np.ndarray | float = 0.0) -> System:
    """The structure turned or strained with its cell by `matrix`, then shifted (Å); without labels and velocities."""
    matrix = np.eye(3) if matrix is None else matrix
    here = system.positions @ matrix.T + shift
    return replace(system, positions=here, cell=system.cell @ matrix.T, labels=Labels(), momenta=np.zeros((0, 3)))


def supercell(system: System) -> System:
    """Two cells, with a lattice basis that is not the obvious one; without labels and velocities."""
    positions = np.concatenate([system.positions, system.positions + system.cell[0]])
    basis = np.array([[2, 0, 0], [1, 1, 0], [0, 1, 1]])
    numbers, fixed, masses = (np.tile(values, 2) for values in (system.numbers, system.fixed, system.own_masses))
    return replace(
        moved(system),
        numbers=numbers,
        positions=positions,
        cell=basis @ system.cell,
        charge=2 * system.charge,
        fixed=fixed,
        own_masses=masses,
    )
