"""Where two teachers agree: the region in which the labels of either can be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.system import Labels, System
from ergodica.units import EV_PER_A3_IN_GPA

__all__ = ["Agreement", "Tolerance", "compare"]

ROUNDS = 3
"""Fits of the reference energies, each to the structures that agreed before."""


@dataclass(frozen=True)
class Tolerance:
    """How far two teachers may differ: by `absolute + relative · size`, the size being the mean of both answers'.

    Attributes:
        forces: for the largest difference of an atom's force, eV/Å; the size is the largest force of the structure.
        stress: for the norm of the difference of the stresses, GPa; the size is the norm of the stress.
        energy: for the energies after a fit of one energy an element, eV/atom; no relative part. Loose by default: some
            published networks learnt corrected energies, some raw ones, and no energy an element explains corrections
            that depend on the compound (0.1 eV/atom in the median between CHGNet and SevenNet).
        relative: the relative part.
    """

    forces: float = 0.2
    stress: float = 2.0
    energy: float = 0.2
    relative: float = 0.2

    def __post_init__(self) -> None:
        for name in ("forces", "stress", "energy", "relative"):
            if not getattr(self, name) >= 0:
                raise InputError(f"The tolerance of {name} must not be negative, it is {getattr(self, name)}.")


@dataclass(frozen=True)
class Agreement:
    """How two teachers compare on F structures; NaN where one of them has no answer.

    Attributes:
        agree: within every tolerance [F].
        forces: largest difference of an atom's force [F], eV/Å.
        stress: norm of the difference of the stresses [F], GPa; 0 where there is none to compare.
        energy: difference of the energies less the fit [F], eV/atom.
        offsets: the fitted energy of each element, second less first teacher, eV.
    """

    agree: Bool[np.ndarray, " F"]
    forces: Float[np.ndarray, " F"]
    stress: Float[np.ndarray, " F"]
    energy: Float[np.ndarray, " F"]
    offsets: dict[str, float]


def compare(
    systems: Sequence[System],
    first: Sequence[Labels | None],
    second: Sequence[Labels | None],
    tolerance: Tolerance | None = None,
) -> Agreement:
    """Compare the answers of two teachers.

    Total energies of two programs differ by an energy an element (pseudopotentials, corrections). That is fitted by
    least squares, first to the structures whose forces and stresses agree, then to those whose energies agree, too.

    Args:
        systems: structures [F].
        first: labels of the first teacher; None where it failed.
        second: labels of the second.
        tolerance: how far they may differ.
    """
    tolerance = tolerance or Tolerance()
    both = np.array([a is not None and b is not None for a, b in zip(first, second, strict=True)], bool)
    forces, stress, energy = np.full((3, len(systems)), np.nan)
    close = np.zeros(len(systems), bool)
    for index in map(int, np.flatnonzero(both)):
        a, b = first[index], second[index]
        assert a is not None and b is not None and a.energy is not None and b.energy is not None
        forces[index], ok = _difference(a.forces, b.forces, tolerance.forces, tolerance.relative, atoms=True)
        stress[index], fine = _difference(
            a.stress, b.stress, tolerance.stress / EV_PER_A3_IN_GPA, tolerance.relative, atoms=False
        )
        stress[index] *= EV_PER_A3_IN_GPA
        close[index] = ok and fine
        energy[index] = (b.energy - a.energy) / len(systems[index])
    offsets, table = np.zeros(len(SYMBOLS)), _shares(systems)
    agree = close.copy()
    for _ in range(ROUNDS):
        if not agree.any():
            break
        offsets = np.linalg.lstsq(table[agree], energy[agree], rcond=1e-8)[0]
        agree = close & (np.abs(energy - table @ offsets) <= tolerance.energy)
    present = np.flatnonzero(table[both].any(axis=0))
    known = {SYMBOLS[z]: float(offsets[z]) for z in present}
    return Agreement(agree, forces, stress, energy - table @ offsets, known)


def _difference(
    first: np.ndarray | None, second: np.ndarray | None, absolute: float, relative: float, *, atoms: bool
) -> tuple[float, bool]:
    """Size of the difference, and whether it is small enough; forces are judged atom by atom."""
    if first is None or second is None:
        return 0.0, True
    rows = (first, second) if atoms else (first.reshape(1, -1), second.reshape(1, -1))
    sizes = [float(np.linalg.norm(row, axis=1).max()) for row in rows]
    difference = float(np.linalg.norm(rows[0] - rows[1], axis=1).max())
    return difference, difference <= absolute + relative * sum(sizes) / 2


def _shares(systems: Sequence[System]) -> Float[np.ndarray, "F Z"]:
    """Share of each element in each structure, by atomic number."""
    counts = [np.bincount(system.numbers, minlength=len(SYMBOLS)) / len(system) for system in systems]
    return np.array(counts).reshape(len(systems), len(SYMBOLS))
