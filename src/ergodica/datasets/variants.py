"""What is done to a structure: strain, compression, rattling, vacancies, slabs.

Each function takes a structure and a source of randomness and gives a new structure; `acceptable` tells whether a
structure's atoms keep their distance. Distances are in units of the sum of the covalent radii (B. Cordero et al.,
Dalton Trans. 2832 (2008), doi:10.1039/b801115j), as ASE tabulates them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ergodica.datasets.chemistry import DENSE_VOLUME, STIFFNESS

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "acceptable",
    "compressed",
    "expanded",
    "rattled",
    "slab",
    "strained",
    "supercell",
    "volume_ratio",
    "with_vacancy",
]

SLOPE = 4.5
"""Pressure derivative of the bulk modulus; with it copper at 1000 GPa has 0.46 of its volume, as measured."""

ROUNDS = 60
"""Redraws of displacements, each a tenth smaller than the last, before rattling gives up, which it hardly ever does."""

INDICES = ((1, 0, 0), (1, 1, 0), (1, 1, 1))
"""Miller indices of slabs."""


def close_pairs(atoms: Atoms, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Atoms i and j [P] of the pairs that are closer than `share` of the sum of their covalent radii."""
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    radii = share * covalent_radii[atoms.numbers]
    return neighbor_list("ij", atoms, radii)  # type: ignore[no-any-return]


def acceptable(atoms: Atoms, share: float) -> bool:
    """Whether no two atoms are closer than `share` of the sum of their covalent radii."""
    return len(close_pairs(atoms, share)[0]) == 0


def supercell(atoms: Atoms, rng: np.random.Generator, most: int) -> Atoms:
    """The cell repeated along its shortest vectors, up to a number of atoms drawn between half of `most` and `most`."""
    target = rng.integers(max(most // 2, 1), most + 1)
    repeats = np.ones(3, int)
    while True:
        lengths = np.where(atoms.pbc, repeats * atoms.cell.lengths(), np.inf)
        if not np.isfinite(lengths).any():
            return atoms.copy()
        longer = repeats.copy()
        longer[np.argmin(lengths)] += 1
        if longer.prod() * len(atoms) > target:
            return atoms * repeats
        repeats = longer


def strained(atoms: Atoms, rng: np.random.Generator, largest: float) -> Atoms:
    """Deformed by a symmetric strain, its components uniform within ± `largest` (shear within half of it)."""
    strain = rng.uniform(-largest, largest, (3, 3))
    strain = (strain + strain.T) / 2 * np.where(np.eye(3), 1.0, 0.5)
    return _deformed(atoms, np.eye(3) + strain)


def expanded(atoms: Atoms, rng: np.random.Generator, largest: float) -> Atoms:
    """With a volume larger by a share uniform between 0 and `largest`."""
    return _deformed(atoms, np.eye(3) * (1 + rng.uniform(0, largest)) ** (1 / 3))


def compressed(atoms: Atoms, pressure: float) -> Atoms:
    """A crystal with the volume that it is guessed to have under a pressure (GPa)."""
    return _deformed(atoms, np.eye(3) * volume_ratio(list(atoms.symbols), atoms.get_volume(), pressure) ** (1 / 3))


def volume_ratio(symbols: Sequence[str], volume: float, pressure: float) -> float:
    """Volume under pressure over volume without, a guess; what pressure a structure really has, its teacher says.

    Each atom shrinks as its element does, by (1 + B' P / B)^(-1/B') (F. D. Murnaghan, PNAS 30, 244 (1944),
    doi:10.1073/pnas.30.9.244), and the volumes add up. A compound that is denser than its elements is stiffer too: B
    grows with the density to the power 2.5, which gives NaCl 20, MgO 140 and Al₂O₃ 130 GPa (measured: 24, 160, 250).

    Args:
        symbols: of the atoms.
        volume: of the cell without pressure, Å³.
        pressure: GPa.
    """
    before = np.array([DENSE_VOLUME[symbol] for symbol in symbols])
    stiffness = np.array([STIFFNESS[symbol] for symbol in symbols]) * max(before.sum() / volume, 1.0) ** 2.5
    after = before * (1 + SLOPE * pressure / stiffness) ** (-1 / SLOPE)
    return float(after.sum() / before.sum())


def rattled(atoms: Atoms, rng: np.random.Generator, amplitude: float, share: float) -> Atoms:
    """Every atom displaced by a Gaussian; displacements that bring atoms too close are drawn again, smaller.

    Args:
        atoms: a structure that is `acceptable`.
        rng: source of randomness.
        amplitude: standard deviation in units of the shortest distance between atoms; crystals melt at about 0.1.
        share: closest approach in units of the sum of the covalent radii.
    """
    width = amplitude * _shortest(atoms)
    start = atoms.positions
    new = atoms.copy()
    moves = rng.normal(size=start.shape) * width
    for shrink in 0.9 ** np.arange(1, ROUNDS + 1):
        new.positions = start + moves
        bad = np.unique(close_pairs(new, share)[0])
        if not len(bad):
            return new
        moves[bad] = rng.normal(size=(len(bad), 3)) * width * shrink
    return atoms.copy()


def _shortest(atoms: Atoms) -> float:
    """The shortest distance between two atoms, images included, Å; a lone atom's covalent diameter."""
    from ase.data import covalent_radii
    from ase.neighborlist import neighbor_list

    diameter = 2 * covalent_radii[atoms.numbers].max()
    for reach in (1.0, 2.0, 4.0):
        found = neighbor_list("d", atoms, reach * diameter)
        if len(found):
            return float(found.min())
    return float(diameter)


def with_vacancy(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    """Without one of its atoms, if it has several."""
    new = atoms.copy()
    if len(new) > 1:
        del new[int(rng.integers(len(new)))]
    return new


def slab(atoms: Atoms, rng: np.random.Generator, most: int, vacuum: float = 6.0) -> Atoms:
    """A slab with a low-index surface, periodic in all directions with vacuum (Å) between its images.

    Args:
        atoms: a crystal.
        rng: source of randomness.
        most: atoms it may have; the crystal itself comes back where the thinnest slab has more.
        vacuum: on each side, Å.
    """
    from ase.build import surface

    indices = INDICES[rng.integers(len(INDICES))]
    for layers in (3, 2, 1):
        new = surface(atoms, indices, layers, vacuum=vacuum, periodic=True)
        if len(new) <= most:
            return new
    return atoms.copy()


def _deformed(atoms: Atoms, matrix: Float[np.ndarray, "3 3"]) -> Atoms:
    """Cell and atoms under x → x M; a molecule's coordinates likewise."""
    new = atoms.copy()
    if new.pbc.any():
        new.set_cell(new.cell.array @ matrix, scale_atoms=True)
    else:
        new.positions = new.positions @ matrix
    return new
