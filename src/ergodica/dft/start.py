"""Densities to begin with: sums of neutral, spherical atoms, frozen by element in `data/atomic_densities.json`."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.integrals import charges
from ergodica.elements import SYMBOLS

__all__ = ["Start", "atomic_start"]

TABLE = Path(__file__).parent / "data" / "atomic_densities.json"

Start = Literal["sad", "minao"]
"""Superposed PBE atoms, or filled minimal orbitals as PySCF's guess has them."""


def atomic_start(basis: DensityBasis, electrons: float, kind: Start = "sad") -> Float[np.ndarray, " F"]:
    """Coefficients of superposed atoms, scaled so that the electrons of an ion come out right.

    Args:
        basis: of the molecule.
        electrons: how many there are to be.
        kind: which atoms.
    """
    table = _table()[kind]
    coefficients = np.zeros(basis.size)
    coefficients[basis.harmonic == 0] = np.concatenate([table[SYMBOLS[number]] for number in basis.numbers])
    return coefficients * (electrons / (charges(basis) @ coefficients))


@lru_cache(maxsize=1)
def _table() -> dict[str, dict[str, list[float]]]:
    return json.loads(TABLE.read_text(encoding="utf-8"))
