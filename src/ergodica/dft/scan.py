"""Scans of a dihedral angle, and their picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ergodica.dft.bonds import bonded
from ergodica.errors import InputError
from ergodica.pictures import write_picture
from ergodica.system import Labels, System
from ergodica.units import HARTREE, KCAL_PER_MOL

__all__ = ["plot_scan", "turned"]

STRAIGHT = 1e-3
"""Sine below which an angle is straight."""


def turned(system: System, dihedral: tuple[int, int, int, int], points: int) -> tuple[list[float], list[System]]:
    """Angles and rigid copies of a molecule with the dihedral at each of them.

    Args:
        system: the molecule.
        dihedral: four atoms; the side of the fourth turns.
        points: how many angles, from 0 to 360 degrees.

    Raises:
        InputError: there are no angles, an atom does not exist or is named twice, the two in the middle are not bonded
            or part of a ring, the outer ones do not hang on them, or three lie on a line.
    """
    if len(set(dihedral)) < 4 or not all(0 <= atom < len(system) for atom in dihedral):
        raise InputError(f"The dihedral needs four different atoms from 0 to {len(system) - 1}.")
    if points < 1:
        raise InputError(f"A scan of {points} angles is none: ask for 1 or more.")
    atoms = system.with_labels(Labels()).to_ase()
    first, second, third, fourth = dihedral
    side = _side(system, second, third)
    if fourth not in side or first in side:
        raise InputError(f"Atom {fourth} must hang on atom {third}, and atom {first} on {second}: mend the order.")
    if min(_sine(system, first, second, third), _sine(system, second, third, fourth)) < STRAIGHT:
        raise InputError("Three atoms of the dihedral lie on a line: it has no angle.")
    found, angles = [], np.linspace(0.0, 360.0, points).tolist()
    for angle in angles:
        atoms.set_dihedral(*dihedral, angle, indices=side)
        found.append(replace(system, positions=atoms.positions.copy(), labels=Labels(), name=f"{angle:.0f} degrees"))
    return angles, found


def _side(system: System, first: int, second: int) -> list[int]:
    """Atoms that hang on the second of two bonded atoms."""
    bonds = bonded(system.numbers, system.positions)
    if not bonds[first, second]:
        raise InputError(f"Atoms {first} and {second} are not bonded: nothing turns about them.")
    bonds[first, second] = bonds[second, first] = False
    reached, edge = {second}, [second]
    while edge:
        edge = [int(k) for k in np.flatnonzero(bonds[edge].any(axis=0)) if k not in reached]
        reached |= set(edge)
    if first in reached:
        raise InputError(f"The bond between atoms {first} and {second} is part of a ring: it can't be turned.")
    return sorted(reached)


def _sine(system: System, *atoms: int) -> float:
    """Of the angle at the second of three atoms."""
    one, vertex, other = system.positions[list(atoms)]
    left, right = one - vertex, other - vertex
    return float(np.linalg.norm(np.cross(left, right)) / (np.linalg.norm(left) * np.linalg.norm(right)))


def plot_scan(path: str | Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Energies above the lowest against the angle, Kohn-Sham's beside them where known; a cross did not converge."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    axes = figure.subplots()
    angles = [record["angle_degrees"] for record in records]
    for key, label, style in (("reference", "Kohn-Sham", "k-"), ("energy", "orbital-free", "C0o")):
        if all(record[f"{key}_Ha"] is not None for record in records):
            energies = HARTREE / KCAL_PER_MOL * np.array([record[f"{key}_Ha"] for record in records])
            good = np.array([record["converged" if key == "energy" else f"{key}_converged"] for record in records])
            height = energies - (energies[good] if good.any() else energies).min()
            axes.plot(angles, np.where(good, height, np.nan), style, label=label)
            axes.plot(np.array(angles)[~good], height[~good], f"{style[:-1]}x")
    if any(record["extrapolated"] for record in records):
        axes.set_title("extrapolated: the functional was not trained on this molecule", fontsize="small")
    axes.set(xlabel="dihedral angle, degrees", ylabel="energy, kcal/mol")
    axes.legend(frameon=False)
    write_picture(path, figure)
