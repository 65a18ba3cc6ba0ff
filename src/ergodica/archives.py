"""The npz layouts of published data sets, as systems with labels. Opening the file is the business of `files.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ergodica.errors import InputError
from ergodica.system import Labels, System
from ergodica.units import KCAL_PER_MOL

__all__ = ["SLICE", "full_stress", "parse_slice", "ragged_arrays", "read_archive"]

SLICE = re.compile(r"(-?\d+)?(:(-?\d+)?){0,2}")
"""A selection of frames as Python writes it."""


def parse_slice(text: str, path: Path) -> slice:
    """Read "3" as the fourth frame, "0:10" as the first ten.

    Raises:
        InputError: it is no selection of frames.
    """
    parts = [int(part) if part else None for part in text.split(":")] if SLICE.fullmatch(text) else []
    if text == "" or not parts or parts[2:] == [0]:
        raise InputError(f"'{path}@{text}': the selection must look like @3 or @0:10 or @::5.")
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
    """Structures of different sizes in flat arrays; eV, Å, stress in Voigt order with NaN where absent.

    Positions may be given as multiples of the cell vectors (`scaled`). Further arrays of one entry a structure, such as
    a name or a property, become its info.
    """
    sizes = archive["n_atoms"]
    offset = np.concatenate([[0], np.cumsum(sizes)])
    known = ("numbers", "positions", "scaled", "energy", "forces", "cell", "pbc", "stress", "info", "fixed", "masses")
    data = {key: archive[key] for key in archive.files if key != "n_atoms"}
    extra = {key: value for key, value in data.items() if key not in known and value.shape == (len(sizes),)}
    pbc = data.get("pbc", np.full((len(sizes), 3), "cell" in data))

    def system(index: int) -> System:
        atoms = slice(offset[index], offset[index + 1])
        info = json.loads(data["info"][index]) if "info" in data else {}
        info |= {key: value[index].item() for key, value in extra.items()}
        forces = _present(data["forces"][atoms].astype(float)) if "forces" in data else None
        energy = _present(np.asarray(data["energy"][index], float)) if "energy" in data else None
        return System(
            numbers=data["numbers"][atoms],
            positions=data["positions"][atoms] if "positions" in data else data["scaled"][atoms] @ data["cell"][index],
            cell=data["cell"][index] if "cell" in data else np.zeros((3, 3)),
            pbc=pbc[index],
            charge=float(info.pop("charge", 0.0)),
            labels=Labels(
                energy=None if energy is None else float(energy),
                forces=forces,
                stress=full_stress(data["stress"][index]) if "stress" in data else None,
                teacher=info.pop("teacher", ""),
                level_of_theory=info.pop("level_of_theory", ""),
            ),
            name=f"{path.name} frame {index}",
            info=info,
            fixed=data["fixed"][atoms] if "fixed" in data else np.zeros(0, bool),
            own_masses=_own(data["masses"][atoms]) if "masses" in data else np.zeros(0),
        )

    return [system(index) for index in range(len(sizes))[parse_slice(selection or ":", path)]]


def _own(masses: np.ndarray) -> np.ndarray:
    """Masses of isotopes; none where they are those of the elements, which is written as NaN."""
    return np.zeros(0) if np.isnan(masses).any() else masses


def _present(label: np.ndarray) -> np.ndarray | None:
    """A label, or None where every number of it is NaN: it was not computed."""
    return None if np.isnan(label).all() else label


def ragged_arrays(systems: Sequence[System]) -> dict[str, np.ndarray]:
    """The flat arrays of a ragged archive; NaN marks labels that were not computed.

    `n_atoms` [F]; `numbers`, `positions` (Å) and `forces` (eV/Å) of all atoms in a row; `energy` [F], eV; `cell`
    [F, 3, 3], Å; `pbc` [F, 3]; `stress` [F, 6], eV/Å³, tension positive, Voigt order; `info` [F], JSON. Where there are
    any: `fixed` atoms, and `masses` of isotopes, u.
    """

    def forces(system: System) -> np.ndarray:
        known = system.labels.forces
        return np.full((len(system), 3), np.nan) if known is None else known

    def stress(system: System) -> np.ndarray:
        known = system.labels.stress
        return np.full(6, np.nan) if known is None else known[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    def info(system: System) -> bytes:
        labels = system.labels
        known = {"charge": system.charge, "teacher": labels.teacher, "level_of_theory": labels.level_of_theory}
        return json.dumps({**system.info, **{key: value for key, value in known.items() if value}}).encode()

    def masses(system: System) -> np.ndarray:
        return system.own_masses if system.own_masses.size else np.full(len(system), np.nan)

    energies = [system.labels.energy for system in systems]
    rare: dict[str, np.ndarray] = {}
    if any(system.fixed.any() for system in systems):
        rare["fixed"] = np.concatenate([system.fixed for system in systems])
    if any(system.own_masses.size for system in systems):
        rare["masses"] = np.concatenate([masses(system) for system in systems])
    return {
        "n_atoms": np.array([len(system) for system in systems], np.int32),
        "numbers": np.concatenate([system.numbers for system in systems]).astype(np.uint8),
        "positions": np.concatenate([system.positions for system in systems]),
        "energy": np.array([np.nan if energy is None else energy for energy in energies]),
        "forces": np.concatenate([forces(system) for system in systems]),
        "cell": np.array([system.cell for system in systems]),
        "pbc": np.array([system.pbc for system in systems]),
        "stress": np.array([stress(system) for system in systems]),
        "info": np.array([info(system) for system in systems]),
        **rare,
    }


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
    "n_atoms numbers scaled cell": _read_ragged,
    "nuclear_charges coords energies forces": _molecule_reader("nuclear_charges", "coords", "energies", "forces"),
    "z R E F": _molecule_reader("z", "R", "E", "F"),
}
"""Layouts by the keys they are known by."""
