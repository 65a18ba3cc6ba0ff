"""Which atoms are bonded, by their distances."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from ergodica.elements import COVALENT_RADII

__all__ = ["bonded"]

BOND = 1.3
"""Atoms closer than this many times the sum of their covalent radii are bonded."""


def bonded(numbers: Int[np.ndarray, " N"], positions: Float[np.ndarray, "N 3"]) -> Bool[np.ndarray, "N N"]:
    """Pairs of atoms with a bond (positions in Å), and each atom with itself."""
    radii = np.array([COVALENT_RADII[number] for number in numbers])
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    return distances < BOND * (radii[:, None] + radii)
