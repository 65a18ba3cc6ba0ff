"""Symmetry operations of a crystal, and the crystal put exactly where they want it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ergodica._extras import require
from ergodica.errors import InputError
from ergodica.system import System

__all__ = ["Operations", "identity", "no_symmetry", "symmetrized", "symmetry_dataset"]


@dataclass(frozen=True)
class Operations:
    """What symmetry operations do to atoms and vectors.

    Attributes:
        image: atom that an operation brings to the place of this one [N, G].
        turn: rotations of Cartesian columns [G, 3, 3].
    """

    image: Int[np.ndarray, "N G"]
    turn: Float[np.ndarray, "G 3 3"]

    def __len__(self) -> int:
        return len(self.turn)


def identity(count: int) -> Operations:
    """No symmetry at all, of so many atoms."""
    return Operations(np.arange(count)[:, None], np.eye(3)[None])


def no_symmetry(name: str, symprec: float) -> InputError:
    """What to say when spglib gives up."""
    return InputError(f"{name}: spglib finds no symmetry within {symprec} Å; are atoms on one place?")


def symmetry_dataset(system: System, symprec: float) -> Any:
    """What spglib knows of a crystal.

    Args:
        system: the crystal.
        symprec: how far atoms may be from their symmetric places, Å.

    Raises:
        InputError: spglib is not installed, or finds no symmetry at all.
    """
    spglib = require("spglib", "phonons")
    fractional = system.positions @ np.linalg.inv(system.cell)
    try:
        data = spglib.get_symmetry_dataset((system.cell, fractional, system.numbers), symprec=symprec)
    except Exception as error:  # which one depends on spglib's version; older ones return None
        raise no_symmetry(system.name, symprec) from error
    if data is None:
        raise no_symmetry(system.name, symprec)
    return data


def symmetrized(system: System, symprec: float) -> tuple[System, Operations]:
    """The crystal with its symmetry made exact, not rotated, and the operations.

    The metric of the lattice becomes its mean over the operations, and so does the place of each atom.

    Args:
        system: the crystal.
        symprec: how far atoms may be from their symmetric places, Å.

    Raises:
        InputError: spglib is not installed, or finds no symmetry at all.
    """
    data = symmetry_dataset(system, symprec)
    rotations, shifts = np.asarray(data.rotations, float), np.asarray(data.translations, float)
    inverse = np.linalg.inv(system.cell)
    fractional = system.positions @ inverse
    metric = np.einsum("gki,kl,glj->ij", rotations, system.cell @ system.cell.T, rotations) / len(rotations)
    squares, vectors = np.linalg.eigh(inverse @ metric @ inverse.T)
    cell = system.cell @ (vectors * np.sqrt(squares)) @ vectors.T
    image = np.empty((len(system), len(rotations)), int)
    places = np.zeros_like(fractional)
    for k, (rotation, shift) in enumerate(zip(rotations, shifts, strict=True)):
        moved = fractional @ rotation.T + shift
        apart = moved[None] - fractional[:, None]
        apart -= np.round(apart)
        distance = np.linalg.norm(apart @ system.cell, axis=2)
        distance[system.numbers[:, None] != system.numbers] = np.inf
        image[:, k] = distance.argmin(axis=1)
        places += fractional + apart[np.arange(len(system)), image[:, k]]
    turn = cell.T @ rotations @ np.linalg.inv(cell.T)
    exact = replace(system, cell=cell, positions=places / len(rotations) @ cell)
    return exact, Operations(image, turn)
