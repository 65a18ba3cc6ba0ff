"""HDF5 trajectories in the convention of MDTraj (https://mdtraj.org/latest/hdf5_format.html), with forces and stress.

The file is written in HDF5's single-writer mode: others may read it meanwhile (`h5py.File(path, swmr=True)`), and after
a `kill -9` it is whole up to the last `mark`. Cells that don't have a along x and b in the xy plane are turned so,
with everything else, because MDTraj keeps lengths and angles alone.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ergodica.errors import InputError
from ergodica.system import Labels, System
from ergodica.trajectories.frame import Frame, require_length
from ergodica.units import FS, KJ_PER_MOL

if TYPE_CHECKING:
    import h5py


__all__ = ["HDF5Writer", "read_hdf5"]

CHUNK_BYTES = 1 << 18
ROOM = 1 << 16  # for what HDF5 writes beside the frames
UNITS = {
    "coordinates": "nanometers", "velocities": "nanometers/picosecond", "time": "picoseconds",
    "cell_lengths": "nanometers", "cell_angles": "degrees", "potentialEnergy": "kilojoules/mole",
    "kineticEnergy": "kilojoules/mole", "temperature": "kelvin", "forces": "eV/angstrom", "stress": "eV/angstrom^3",
    "cell_vectors": "angstroms",
}  # fmt: skip


class HDF5Writer:
    """Frames of one structure; its mark is a number of frames.

    Args:
        path: the file.
        mark: go on after so many frames.
    """

    def __init__(self, path: Path, mark: int | None) -> None:
        self._path, self._count = path, mark or 0
        self._file: h5py.File | None = None if mark is None else _shortened(path, mark)
        self._waiting: list[dict[str, np.ndarray]] = []
        self._largest = 0

    def write(self, frame: Frame) -> None:
        """Take a frame; it reaches the file with its chunk or with the next mark."""
        row = _row(frame)
        if self._file is None:
            _require_room(self._path, row)
            self._file = _created(self._path, frame.system, row)
        if not self._largest:
            self._largest = _frames_of_chunk(row)
        self._waiting.append(row)
        if len(self._waiting) >= self._largest:
            self._append()

    def mark(self) -> int:
        """Bring everything to the file; how many frames it then holds."""
        self._append()
        return self._count

    def close(self) -> None:
        """Finish the file."""
        try:
            self._append()
        finally:
            if self._file is not None:
                self._file.close()

    def _append(self) -> None:
        if self._file is None or not self._waiting:
            return
        _require_room(self._path, self._waiting[0])
        end = self._count + len(self._waiting)
        for name in self._waiting[0]:
            data = self._file[name]
            data.resize(end, axis=0)
            data[self._count : end] = np.stack([row[name] for row in self._waiting])
        self._file.flush()
        self._count, self._waiting = end, []


def _row(frame: Frame) -> dict[str, np.ndarray]:
    """What the file keeps of a frame."""
    system = frame.system
    turn = _standard(system)
    row: dict[str, Any] = {
        "coordinates": np.float32(0.1 * system.positions @ turn),
        "time": 1e-3 * frame.time,
        "step": np.int64(frame.step),
    }
    if (velocities := frame.velocities) is not None:
        row["velocities"] = np.float32(100.0 * velocities @ turn)
        row["kineticEnergy"] = 0.5 * float((system.momenta**2 / system.masses[:, None]).sum()) / KJ_PER_MOL
    labels = system.labels
    if labels.energy is not None:
        row["potentialEnergy"] = labels.energy / KJ_PER_MOL
    if labels.forces is not None:
        row["forces"] = np.float32(labels.forces @ turn)
    if labels.stress is not None:
        row["stress"] = turn.T @ labels.stress @ turn
    if system.pbc.any():
        cell = system.cell @ turn
        lengths, angles = _lengths_and_angles(cell)
        row |= {"cell_vectors": cell, "cell_lengths": 0.1 * lengths, "cell_angles": angles}
    return {name: np.asarray(value) for name, value in row.items()}


def _standard(system: System) -> Float[np.ndarray, "3 3"]:
    """The rotation after which a lies along x and b in the xy plane."""
    cell = system.cell
    if not system.is_bulk or np.abs(np.triu(cell, 1)).max() < 1e-9 * np.abs(cell).max():
        return np.eye(3)
    turn, lower = np.linalg.qr(cell.T)
    turn = turn * np.sign(np.diagonal(lower))
    turn[:, 2] *= np.sign(np.linalg.det(turn))  # no reflection, whatever the hand of the cell
    return turn


def _lengths_and_angles(cell: Float[np.ndarray, "3 3"]) -> tuple[np.ndarray, np.ndarray]:
    from ase.geometry import cell_to_cellpar

    found = cell_to_cellpar(cell)
    return found[:3], found[3:]


def _require_room(path: Path, row: Mapping[str, np.ndarray]) -> None:
    """Raise `OSError` unless a chunk can be written beside the file: HDF5 itself takes the process down with it."""
    count = _frames_of_chunk(row) * sum(values.nbytes for values in row.values()) + ROOM
    with tempfile.TemporaryFile(dir=path.parent) as file:
        file.write(bytes(count))


def _frames_of_chunk(row: Mapping[str, np.ndarray]) -> int:
    return int(np.clip(CHUNK_BYTES // row["coordinates"].nbytes, 1, 1024))


def _created(path: Path, system: System, row: Mapping[str, np.ndarray]) -> h5py.File:
    import h5py

    file = h5py.File(path, "w", libver="latest")
    about = {"conventions": "Pande", "conventionVersion": "1.1", "program": "ergodica",
             "title": system.name, "application": "molecular dynamics"}  # fmt: skip
    for key, value in about.items():
        file.attrs[key] = np.bytes_(value)
    file["topology"] = np.array([_topology(system).encode()])
    file["atomic_numbers"] = system.numbers
    file["periodic"] = system.pbc
    file["fixed"] = system.fixed
    file["masses"] = system.own_masses
    file.attrs["charge"] = system.charge
    frames = _frames_of_chunk(row)
    for name, values in row.items():
        data = file.create_dataset(
            name, (0, *values.shape), values.dtype, chunks=(frames, *values.shape), maxshape=(None, *values.shape)
        )
        if name in UNITS:
            data.attrs["units"] = np.bytes_(UNITS[name])
    file.swmr_mode = True
    return file


def _topology(system: System) -> str:
    """One residue that holds all atoms."""
    from ase.data import chemical_symbols

    atoms = [
        {"index": k, "name": f"{chemical_symbols[z]}{k + 1}", "element": chemical_symbols[z]}
        for k, z in enumerate(system.numbers)
    ]
    residue = {"index": 0, "name": "SYS", "resSeq": 1, "segmentID": "", "atoms": atoms}
    return json.dumps({"chains": [{"index": 0, "residues": [residue]}], "bonds": []})


def _shortened(path: Path, mark: int) -> h5py.File | None:
    """The file with so many frames, open to go on; rewritten, as a killed writer's file can't be opened for writing."""
    import h5py

    if mark == 0:
        return None
    if not path.exists():
        require_length(path, 0, mark)
    if shutil.disk_usage(path.parent).free < path.stat().st_size + ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    fresh = path.with_name(path.name + ".part")
    with _reading(path) as old, h5py.File(fresh, "w", libver="latest") as new:
        require_length(path, len(old["step"]), mark)
        for key, value in old.attrs.items():
            new.attrs[key] = value
        for name, data in old.items():
            if data.maxshape[:1] != (None,):
                old.copy(data, new)
                continue
            copy = new.create_dataset(
                name, (mark, *data.shape[1:]), data.dtype, chunks=data.chunks, maxshape=data.maxshape
            )
            for start in range(0, mark, data.chunks[0]):
                copy[start : min(start + data.chunks[0], mark)] = data[start : min(start + data.chunks[0], mark)]
            for key, value in data.attrs.items():
                copy.attrs[key] = value
    os.replace(fresh, path)
    file = h5py.File(path, "r+", libver="latest")
    file.swmr_mode = True
    return file


@contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    """The file, also while it is written and after its writer was killed."""
    import h5py

    try:
        try:
            file = h5py.File(path, "r", libver="latest")
        except OSError:
            file = h5py.File(path, "r", libver="latest", swmr=True)
    except OSError as error:
        raise InputError(f"'{path}' is not a readable HDF5 file ({error}).") from error
    with file:
        if "coordinates" not in file or "topology" not in file:
            raise InputError(f"'{path}' is an HDF5 file, but not a trajectory in MDTraj's convention.")
        yield file


def read_hdf5(path: Path, index: slice = slice(None)) -> Iterator[Frame]:
    """The frames of a trajectory, MDTraj's own among them.

    Raises:
        InputError: the file is no trajectory.
    """
    with _reading(path) as file:
        numbers, pbc, fixed, masses = _atoms(file)
        charge = float(file.attrs.get("charge", 0.0))
        count = len(file["coordinates"])
        for k in range(count)[index]:
            row = {name: file[name][k] for name in _SERIES if name in file}
            cell = _cell(row)
            energy, stress, forces = (row.get(key) for key in ("potentialEnergy", "stress", "forces"))
            labels = Labels(
                energy=None if energy is None else float(energy) * KJ_PER_MOL,
                forces=None if forces is None else np.asarray(forces, float),
                stress=None if stress is None else np.asarray(stress, float),
            )
            periodic = pbc if cell is not None else np.zeros(3, bool)
            step, time = int(row.get("step", k)), 1e3 * float(row.get("time", 0.0))
            positions = 10.0 * np.asarray(row["coordinates"], float)
            info: dict[str, str | float] = {"step": step, "time_fs": time}
            system = System(
                numbers, positions, np.zeros((3, 3)) if cell is None else cell, periodic, labels=labels,
                charge=charge, name=f"{path} frame {k}", info=info, fixed=fixed, own_masses=masses,
            )  # fmt: skip
            if "velocities" in row:
                velocities = 0.01 * np.asarray(row["velocities"], float)
                system = replace(system, momenta=system.masses[:, None] * velocities / FS)
            yield Frame(system, step, time)


_SERIES = ("coordinates", "velocities", "time", "step", "potentialEnergy", "forces", "stress", "cell_vectors",
           "cell_lengths", "cell_angles")  # fmt: skip


def _atoms(file: h5py.File) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Atomic numbers, periodicity, fixed atoms and masses of isotopes."""
    from ase.data import atomic_numbers

    if "atomic_numbers" in file:
        masses = file["masses"][()] if "masses" in file else np.zeros(0)
        return file["atomic_numbers"][()], file["periodic"][()], file["fixed"][()], masses
    chains = json.loads(file["topology"][0])["chains"]
    symbols = [atom["element"] for chain in chains for residue in chain["residues"] for atom in residue["atoms"]]
    numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
    return numbers, np.ones(3, bool), np.zeros(len(symbols), bool), np.zeros(0)


def _cell(row: Mapping[str, np.ndarray]) -> Float[np.ndarray, "3 3"] | None:
    from ase.geometry import cellpar_to_cell

    if "cell_vectors" in row:
        return np.asarray(row["cell_vectors"], float)
    if "cell_lengths" not in row:
        return None
    return cellpar_to_cell([*(10.0 * row["cell_lengths"]), *row["cell_angles"]])
