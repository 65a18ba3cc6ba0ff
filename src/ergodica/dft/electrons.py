"""Electrons of molecules whose densities can be minimised: closed shells, in no periodic cell."""

from __future__ import annotations

import numpy as np

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.system import System, unpaired_electrons

__all__ = ["electrons_of"]

CLOSEST = 0.4
"""Atoms nearer to each other than this are a mistake, Å."""


def electrons_of(system: System) -> int:
    """Electrons of a closed-shell molecule.

    Raises:
        InputError: it is periodic, has a fractional charge, no electrons, an odd number of them or, as its info says,
            unpaired ones, or atoms on top of each other.
    """
    if system.pbc.any():
        raise InputError(f"{system.name} is periodic: orbital-free DFT here is for molecules; set pbc to F.")
    if not np.isfinite(system.charge) or system.charge != round(system.charge):
        raise InputError(f"{system.name} has a charge of {system.charge}: give a whole number.")
    electrons = int(system.numbers.sum()) - round(system.charge)
    if electrons < 2 or electrons % 2:
        raise InputError(
            f"{system.name} has {electrons} electrons: only closed shells are possible, with an even number; "
            "check the atoms and the charge."
        )
    unpaired = unpaired_electrons(system.info, system.name)
    if unpaired:
        raise InputError(
            f"{system.name} is said to have {unpaired} unpaired electrons: only closed shells are possible."
        )
    distances = np.linalg.norm(system.positions[:, None] - system.positions, axis=-1)
    np.fill_diagonal(distances, np.inf)
    if distances.min() < CLOSEST:
        first, second = np.unravel_index(distances.argmin(), distances.shape)
        raise InputError(
            f"{system.name}: atoms {first} ({SYMBOLS[system.numbers[first]]}) and {second} "
            f"({SYMBOLS[system.numbers[second]]}) are {distances.min():.2f} Å apart: repair the coordinates."
        )
    return electrons
