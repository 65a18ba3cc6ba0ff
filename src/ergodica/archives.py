"""The npz layouts of published data sets, as systems with labels. Opening the file is the business of `files.py`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ergodica.errors import InputError
from ergodica.system import Labels, System
from ergodica.units import KCAL_PER_MOL

__all__ = ["SLICE", "full_stress", "parse_slice", "read_archive"]

SLICE = re.compile(r"-?\d*(:-?\d*){0,2}")
"""A selection of frames as Python writes it."""


def parse_slice(text: str, path: Path) -> slice:
    """Read "3" as the fourth frame, "0:10" as the first ten.

    Raises:
        InputError: it is no selection of frames.
    """
    if not SLICE.fullmatch(text) or text == "":
        raise InputError(f"'{path}@{text}': the selection must look like @3 or @0:10 or @::5.")
    parts = [int(part) if part else None for part in text.split(":")]
    if len(parts) == 1 and parts[0] is not None:
        return slice(parts[0], parts[0] + 1 or None)
    return slice(*parts)


def full_stress(stress: Float[np.ndarray, "..."]) -> Float[np.ndarray, "3 3"] | None:
    """Voigt-6 (xx, yy, zz, yz, xz, xy) or nine components as a matrix; None where it was not computed (NaN)."""
    if not np.isfinite(stress).all():
        return None
    return stress[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]] if stress.shape == (6,) else stress.reshape(3, 3)


def read_archive(archive: Any, path: Path, selection: str | None) -> list[System]:
    """Systems of an opened npz archive; the layout is told by its keys.

    Raises:
        InputError: unknown layout, or a selection of what is not there.
    """
    keys = set(archive.files)
    for needed, reader in _ARCHIVES.items():
        if set(needed.split()) <= keys:
            return reader(archive, path, selection)
    if "numbers" in keys and any(key.endswith("_R") for key in keys):
        return _read_splits(archive, path, selection)
    known = ", ".join(f"({needed})" for needed in (*_ARCHIVES, "numbers train1_R train1_E train1_F"))
    raise InputError(f"'{path}' holds {', '.join(sorted(keys)[:8])}: none of the known layouts {known}.")


def _read_ragged(archive: Any, path: Path, selection: str | None) -> list[System]:
    """Structures of different sizes in flat arrays; eV, Å, stress in Voigt order with NaN where absent."""
    sizes = archive["n_atoms"]
    offset = np.concatenate([[0], np.cumsum(sizes)])
    known = ("numbers", "positions", "energy", "forces", "cell", "pbc", "stress")
    data = {key: archive[key] for key in known if key in archive.files}
    pbc = data.get("pbc", np.full((len(sizes), 3), "cell" in data))

    def system(index: int) -> System:
        atoms = slice(offset[index], offset[index + 1])
        labels = Labels(
            energy=float(data["energy"][index]) if "energy" in data else None,
            forces=data["forces"][atoms].astype(float) if "forces" in data else None,
            stress=full_stress(data["stress"][index]) if "stress" in data else None,
        )
        cell = data["cell"][index] if "cell" in data else np.zeros((3, 3))
        name = f"{path.name} frame {index}"
        return System(data["numbers"][atoms], data["positions"][atoms], cell, pbc[index], labels=labels, name=name)

    return [system(index) for index in range(len(sizes))[parse_slice(selection or ":", path)]]


def _read_frames(
    path: Path, name: str, selection: str, arrays: Sequence[np.ndarray | None], unit: float = 1.0
) -> list[System]:
    """Frames of one molecule from numbers [N], positions [F, N, 3] Å, energies [F] and forces in `unit` (eV)."""
    numbers, positions, energies, forces = arrays
    assert numbers is not None and positions is not None
    energies = None if energies is None else np.ravel(energies)

    def system(index: int) -> System:
        labels = Labels(
            energy=None if energies is None else float(energies[index]) * unit,
            forces=None if forces is None else np.asarray(forces[index], float) * unit,
        )
        return System(numbers, positions[index], labels=labels, name=f"{name} frame {index}")

    return [system(index) for index in range(len(positions))[parse_slice(selection, path)]]


def _read_splits(archive: Any, path: Path, selection: str | None) -> list[System]:
    """One molecule with named sets of frames ("train1", "test1"), eV and Å."""
    splits = {key[:-2]: len(archive[key]) for key in archive.files if key.endswith("_R")}
    match = re.fullmatch(r"(\w+)(?:\[(.*)\])?", selection or "")
    if match is None or match[1] not in splits:
        there = ", ".join(f"{name} ({frames} frames)" for name, frames in splits.items())
        first = next(iter(splits))
        raise InputError(f"'{path}' holds {there}: choose with '{path.name}@{first}' or '{path.name}@{first}[0:10]'.")
    split = match[1]
    keys = ("numbers", f"{split}_R", f"{split}_E", f"{split}_F")
    arrays = [archive[key] if key in archive.files else None for key in keys]
    return _read_frames(path, f"{path.name} {split}", match[2] or ":", arrays)


def _molecule_reader(*keys: str) -> Callable[[Any, Path, str | None], list[System]]:
    """Reader of an archive of one molecule in kcal/mol and Å, as rMD17 and MD17 are distributed."""

    def read(archive: Any, path: Path, selection: str | None) -> list[System]:
        for key, expected in (("e_unit", "kcal/mol"), ("r_unit", "Ang")):
            unit = str(archive[key]) if key in archive.files else expected
            if unit != expected:
                raise InputError(f"'{path}' is in units of {unit}: convert it to {expected}.")
        return _read_frames(path, path.name, selection or ":", [archive[key] for key in keys], KCAL_PER_MOL)

    return read


_ARCHIVES: dict[str, Callable[[Any, Path, str | None], list[System]]] = {
    "n_atoms numbers positions": _read_ragged,
    "nuclear_charges coords energies forces": _molecule_reader("nuclear_charges", "coords", "energies", "forces"),
    "z R E F": _molecule_reader("z", "R", "E", "F"),
}
"""Layouts by the keys they are known by."""
