"""The file of density labels: one HDF5 file to which conformers are appended.

Arrays of all conformers stand one behind the other, and `atoms` and `labels` tell how many of each are a conformer's.
They come as workers finish them; `order` has the fingerprints as they were given, and readers keep to it.
The file is written in HDF5's single-writer mode, a conformer's arrays before its numbers: others may read it meanwhile,
and after a `kill -9` it is whole up to the last conformer that was finished.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from ergodica.archives import parse_slice
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.labels.conformer import Conformer, DensityLabels, LabelOptions
from ergodica.dft.labels.second_order import SecondOrder
from ergodica.errors import InputError, WorkFailed
from ergodica.system import Labels, System

if TYPE_CHECKING:
    import h5py

__all__ = ["LabelFile", "read_labels"]

FORMAT = "ergodica-density-labels"
IN_THE_MAKING = ("already open for write", "unable to lock file")
"""What HDF5 says of a file that is being written, or whose writer was killed."""
ROOM = 1 << 20
"""Bytes that must be free beside what is written, because HDF5 takes the process down when the disk is full."""
BEFORE = {"curvature": False}
"""Options of files that were made before there was this one."""
PER_CONFORMER = {"energy": (), "dipole": (3,), "charge": (), "atoms": (), "labels": ()}
"""Datasets with one row a conformer; the numbers come last."""
PER_ATOM = {"atomic_numbers": (), "positions": (3,), "forces": (3,)}
PER_LABEL = tuple(field.name for field in fields(DensityLabels))
MATRICES = tuple(field.name for field in fields(SecondOrder))
"""Lower triangles, row by row; files made without curvature have none."""
UNITS = {"energy": "eV", "dipole": "Debye", "positions": "angstrom", "forces": "eV/angstrom", "kinetic": "Hartree",
         "kinetic_gradient": "Hartree", "xc": "Hartree", "xc_gradient": "Hartree", "apbe": "Hartree",
         "apbe_gradient": "Hartree", "orbital_kinetic": "Hartree", "response": "1/Hartree",
         "xc_curvature": "Hartree"}  # fmt: skip


class LabelFile:
    """A file to append conformers to.

    Args:
        path: the file; one that exists is continued.
        options: how the labels are made, which must be those of the file.
        overwrite: replace one that exists.
        order: fingerprints of conformers to come; readers get them in this order, behind those of before.

    Attributes:
        keys: fingerprints of the conformers in the file.

    Raises:
        InputError: the file is of another kind, made with other options, or another process is writing it.
        WorkFailed: the disk is full or the folder can't be written.
    """

    def __init__(
        self, path: str | Path, options: LabelOptions, overwrite: bool = False, order: Iterable[str] = ()
    ) -> None:
        self.path, self.keys = Path(path).resolve(), set[str]()  # a link stays one
        fresh = self.path.with_name(f".{self.path.name}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as undo:
                self._lock = undo.enter_context(_locked(self.path))  # first: others may have more to write
                kept = self.path if self.path.exists() and not overwrite else None
                known = _order(kept, options) if kept else []
                undo.callback(fresh.unlink, missing_ok=True)
                self._file = undo.enter_context(_created(fresh, options, list(dict.fromkeys([*known, *order]))))
                for _, key, row in _rows(kept) if kept else ():
                    self._write(key, row)
                fresh.replace(self.path)
                undo.pop_all()
        except OSError as error:
            raise WorkFailed(f"Could not write '{path}' ({error}): free space or choose another folder.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        Path(self._lock.name).unlink(missing_ok=True)
        self._lock.close()

    def append(self, key: str, conformer: Conformer) -> None:
        """Add a conformer; it is on disk when this returns.

        Raises:
            WorkFailed: the disk is full.
        """
        system, densities = conformer.system, conformer.densities
        row = {
            "energy": system.labels.energy,
            "dipole": conformer.dipole,
            "charge": system.charge,
            "atoms": len(system),
            "labels": len(densities.coefficients),
            "atomic_numbers": system.numbers,
            "positions": system.positions,
            "forces": system.labels.forces,
            **{name: getattr(densities, name) for name in PER_LABEL},
        }
        if conformer.second is not None:
            row |= {name: _packed(getattr(conformer.second, name)) for name in MATRICES}
        self._write(key, row)

    def _write(self, key: str, row: Mapping[str, Any]) -> None:
        size = sum(np.asarray(value).nbytes for value in row.values())
        if shutil.disk_usage(self.path.parent).free < size + ROOM:
            raise WorkFailed(f"The disk of '{self.path}' is full: free space and start again.")
        for name in (*PER_ATOM, *PER_LABEL, *(name for name in MATRICES if name in self._file)):
            _extend(self._file[name], np.asarray(row[name]).reshape(-1, *self._file[name].shape[1:]))
        self._file.flush()
        _extend(self._file["key"], np.array([key], "S40"))
        for name in PER_CONFORMER:
            _extend(self._file[name], np.asarray(row[name])[None])
        self._file.flush()
        self.keys.add(key)


def read_labels(path: str | Path, selection: slice | None = None, *, second: bool = True) -> list[Conformer]:
    """Conformers of a label file, in the order in which they were given to the labelling.

    Args:
        path: the file; it may be in the making. A selection may follow its name: "water.h5@0:200".
        selection: which of them, if the name does not say.
        second: read second derivatives, too, which are nearly all of a file.

    Raises:
        InputError: the file is missing, damaged or of another kind, or nothing is selected.
    """
    name, at, chosen = str(path).rpartition("@")
    if selection is None and at and name and not Path(path).exists():
        path, selection = name, parse_slice(chosen, Path(name))
    selection = slice(None) if selection is None else selection
    rows = _rows(Path(path), selection, second)
    found = [_conformer(row, f"{Path(path).name} conformer {number}") for number, _, row in rows]
    if not found:
        raise InputError(f"'{path}' holds no labelled conformer, or none is selected.")
    return found


def _conformer(row: Mapping[str, Any], name: str) -> Conformer:
    labels = Labels(float(row["energy"]), row["forces"], level_of_theory="PBE/6-31G(2df,p)")
    no_cell = np.zeros((3, 3)), np.zeros(3, bool)
    system = System(
        row["atomic_numbers"], row["positions"], *no_cell, charge=float(row["charge"]), labels=labels, name=name
    )
    densities = DensityLabels(**{name: row[name] for name in PER_LABEL})
    size, known = densities.coefficients.shape[1], MATRICES[0] in row
    second = SecondOrder(*(_unpacked(row[name], size) for name in MATRICES)) if known else None
    return Conformer(system, row["dipole"], densities, second)


def _packed(matrix: np.ndarray) -> np.ndarray:
    return matrix[np.tril_indices(len(matrix))]


def _unpacked(triangle: np.ndarray, size: int) -> np.ndarray:
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = triangle
    return matrix + np.tril(matrix, -1).T


def _locked(path: Path) -> IO[str]:
    """A file that no other process can lock as long as this one has it open, whatever becomes of the process."""
    import fcntl

    lock = path.with_name(f".{path.name}.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise InputError(f"Another process is writing '{path}': wait for it, or choose another file.") from error
    except OSError:
        pass  # a file system without locks
    return lock


def _created(path: Path, options: LabelOptions, order: Sequence[str]) -> h5py.File:
    import h5py

    file = h5py.File(path, "w", libver="latest")
    file.attrs["format"], file.attrs["options"] = FORMAT, json.dumps(asdict(options))
    file["order"] = np.array(order, "S40")
    shapes: dict[str, tuple[int, ...]] = {**PER_CONFORMER, **PER_ATOM, "perturbation": (2,)}
    for name in ("key", *PER_CONFORMER, *PER_ATOM, *PER_LABEL, *(MATRICES if options.curvature else ())):
        shape = shapes.get(name, ())
        data = file.create_dataset(name, (0, *shape), _type(name), chunks=_chunks(name, shape), maxshape=(None, *shape))
        if name in UNITS:
            data.attrs["units"] = UNITS[name]
    file.swmr_mode = True
    return file


def _type(name: str) -> Any:
    if name == "key":
        return "S40"
    if name in ("atoms", "labels", "atomic_numbers"):
        return np.int64
    return np.float32 if name.endswith("_gradient") or name in MATRICES else np.float64


def _chunks(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    wide = name == "coefficients" or name.endswith("_gradient") or name in MATRICES
    return (16384 if wide else 256, *shape)


def _extend(data: h5py.Dataset, values: np.ndarray) -> None:
    start = len(data)
    data.resize(start + len(values), axis=0)
    data[start:] = values


@contextmanager
def _reading(path: Path) -> Iterator[h5py.File]:
    """The file, finished, in the making or left by a killed writer."""
    import h5py

    if not path.is_file():
        raise InputError(f"There is no label file '{path}'.")
    try:
        try:
            file = h5py.File(path, "r", libver="latest")
        except OSError as error:
            if not any(sign in str(error) for sign in IN_THE_MAKING):
                raise  # of a broken file HDF5 would read again and again in this mode
            file = h5py.File(path, "r", libver="latest", swmr=True)
        with file:
            if file.attrs.get("format") != FORMAT:
                raise InputError(f"'{path}' is no file of density labels; make one with 'ergodica dft labels'.")
            yield file
    except InputError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise InputError(f"'{path}' is damaged or no file of density labels ({error}).") from error


def _order(path: Path, options: LabelOptions) -> list[str]:
    """Fingerprints of what is or was to come into a file that may be gone on with."""
    with _reading(path) as file:
        if len(file["key"]) and BEFORE | json.loads(file.attrs["options"]) != asdict(options):
            made = file.attrs["options"]
            raise InputError(f"'{path}' was made with other options ({made}): use those, or add --overwrite.")
        return [key.decode() for key in file.get("order", file["key"])[:]]


def _rows(path: Path, selection: slice = slice(None), second: bool = True) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Finished conformers with their numbers and fingerprints, in the order they were given in."""
    with _reading(path) as file:
        count = min(len(file[name]) for name in ("key", *PER_CONFORMER))
        place = {key: rank for rank, key in enumerate(file["order"][:])} if "order" in file else {}
        keys, parts = file["key"][:count], _parts(file, count)
        ranks = [place.get(key, len(place) + number) for number, key in enumerate(keys)]
        order = np.argsort(ranks, kind="stable").tolist()
        for number in range(count)[selection]:
            yield number, keys[order[number]].decode(), _row(file, order[number], parts[order[number]], second)


def _parts(file: h5py.File, count: int) -> list[dict[str, slice]]:
    """Where the arrays of each conformer are."""
    ends, found = dict.fromkeys(("atom", "label", "function", "pair"), 0), []
    numbers = file["atomic_numbers"][:]
    for atoms, labels in zip(file["atoms"][:count].tolist(), file["labels"][:count].tolist(), strict=True):
        size = DensityBasis.of(numbers[ends["atom"] : ends["atom"] + atoms]).size
        counts = {"atom": atoms, "label": labels, "function": labels * size, "pair": size * (size + 1) // 2}
        found.append({name: slice(ends[name], ends[name] + length) for name, length in counts.items()})
        ends = {name: part.stop for name, part in found[-1].items()}
    return found


def _row(file: h5py.File, number: int, parts: Mapping[str, slice], second: bool) -> dict[str, Any]:
    """What the file holds of a conformer."""
    row: dict[str, Any] = {name: file[name][number] for name in PER_CONFORMER}
    row |= {name: file[name][parts["atom"]] for name in PER_ATOM}
    for name in PER_LABEL:
        wide = name == "coefficients" or name.endswith("_gradient")
        row[name] = file[name][parts["function"]].reshape(row["labels"], -1) if wide else file[name][parts["label"]]
    return row | {name: file[name][parts["pair"]] for name in MATRICES if second and name in file}
