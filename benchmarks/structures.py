"""The structures that the benchmarks share; the same numbers everywhere, whatever the random generator's version."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read
from ase.units import _amu

HERE = Path(__file__).parent


def ethanol() -> Atoms:
    """9 atoms."""
    return molecule("CH3CH2OH")


def aspirin() -> Atoms:
    """21 atoms, relaxed with a force field."""
    return read(HERE / "aspirin.xyz")


def water_box(molecules: int, density: float = 1.0, seed: int = 0) -> Atoms:
    """Periodic cubic box of water: molecules on a grid with random orientations.

    Args:
        molecules: how many; where that is no cube of an integer, grid sites chosen at random stay empty.
        density: g/cm³.
        seed: of sites and orientations.
    """
    rng = np.random.RandomState(seed)  # its stream is frozen, that of `default_rng` is not
    monomer = molecule("H2O")
    mass = molecules * monomer.get_masses().sum() * _amu * 1e3  # g
    length = (mass / density * 1e24) ** (1 / 3)  # Å
    side = int(np.ceil(molecules ** (1 / 3) - 1e-9))
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    sites = (grid[np.sort(rng.permutation(len(grid))[:molecules])] + 0.5) * length / side
    offsets = monomer.positions - monomer.get_center_of_mass()
    positions = np.concatenate([site + offsets @ _random_rotation(rng).T for site in sites])
    return Atoms(np.tile(monomer.numbers, molecules), positions, cell=[length] * 3, pbc=True)


def _random_rotation(rng: np.random.RandomState) -> np.ndarray:
    """Uniform rotation from a random unit quaternion."""
    quaternion = rng.normal(size=4)
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def silicon(repeats: int) -> Atoms:
    """Cubic cells of diamond-structure silicon, 8 atoms each, every atom some 0.05 Å off its site."""
    atoms = bulk("Si", cubic=True) * (repeats, repeats, repeats)
    atoms.positions += np.random.RandomState(0).normal(scale=0.05, size=atoms.positions.shape)
    return atoms


def liquid_argon() -> Atoms:
    """1,000 atoms on a simple cubic lattice of the density of the liquid, which melts at once."""
    lattice = bulk("Ar", "sc", a=3.6, cubic=True) * (10, 10, 10)
    lattice.positions += np.random.RandomState(0).normal(scale=0.02, size=lattice.positions.shape)
    return lattice


def copper() -> Atoms:
    """1,372 atoms of fcc, every atom some 0.05 Å off its site."""
    atoms = bulk("Cu", cubic=True) * (7, 7, 7)
    atoms.positions += np.random.RandomState(0).normal(scale=0.05, size=atoms.positions.shape)
    return atoms


STRUCTURES = {
    "argon1000": liquid_argon,
    "copper1372": copper,
    "ethanol": ethanol,
    "aspirin": aspirin,
    "water64": lambda: water_box(64),
    "water192": lambda: water_box(192),
    "silicon64": lambda: silicon(2),
    "silicon216": lambda: silicon(3),
    "silicon512": lambda: silicon(4),
    "silicon1000": lambda: silicon(5),
}
"""Name → builder. The number after `water` counts molecules (192 and 576 atoms), that after `silicon` atoms."""
