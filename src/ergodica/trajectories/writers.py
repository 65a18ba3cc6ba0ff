"""Trajectories: frames with energies, forces and velocities, complete up to the last one whatever happens.

A run may be killed while a frame is written. What a file held when the state of the run was saved is its `mark`; a
restart takes the file back to it.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ergodica.errors import InputError, WorkFailed
from ergodica.trajectories.frame import Frame, require_length

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["SUFFIXES", "TrajectoryWriter", "append_atoms", "open_trajectory", "paths_of"]

SUFFIXES = (".h5", ".traj", ".extxyz", ".xyz")


class TrajectoryWriter(Protocol):
    """Writes frames one by one, so that an interrupted run leaves a readable file."""

    def write(self, frame: Frame) -> None:
        """Add a frame."""

    def mark(self) -> int:
        """Bring everything to the file; how much it then holds."""

    def close(self) -> None:
        """Finish the file."""


def open_trajectory(path: Path | None, mark: int | None = None) -> TrajectoryWriter:
    """A writer for a file, by its suffix.

    Args:
        path: `.h5` (HDF5 that mdtraj reads, small and fast), `.traj` (ASE) or `.extxyz`; None writes nothing.
        mark: go on where the file was when it held so much; begins a new file without.

    Raises:
        InputError: another suffix, or a file that is shorter than its mark.
        WorkFailed: the folder can't be written.
    """
    if path is None:
        return _Nothing()
    if path.suffix not in SUFFIXES:
        raise InputError(f"A trajectory is a {', '.join(SUFFIXES)} file, not '{path}'.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _Guarded(path, _opened(path, mark))
    except OSError as error:
        raise _full(path, error) from error


def _opened(path: Path, mark: int | None) -> TrajectoryWriter:
    if path.suffix == ".h5":
        from ergodica.trajectories.hdf5 import HDF5Writer

        return HDF5Writer(path, mark)
    return _AseWriter(path, mark) if path.suffix == ".traj" else _TextWriter(path, mark)


class _Nothing:
    """Writes nothing."""

    def write(self, frame: Frame) -> None:
        """Forget the frame."""

    def mark(self) -> int:
        """Nothing."""
        return 0

    def close(self) -> None:
        """Do nothing."""


class _Guarded:
    """Another writer, whose troubles become one sentence."""

    def __init__(self, path: Path, writer: TrajectoryWriter) -> None:
        self._path, self._writer = path, writer

    def write(self, frame: Frame) -> None:
        """Add a frame."""
        try:
            self._writer.write(frame)
        except OSError as error:
            raise _full(self._path, error) from error

    def mark(self) -> int:
        """Bring everything to the file."""
        try:
            return self._writer.mark()
        except OSError as error:
            raise _full(self._path, error) from error

    def close(self) -> None:
        """Finish the file."""
        try:
            self._writer.close()
        except OSError as error:
            raise _full(self._path, error) from error


class _TextWriter:
    """extxyz, a whole frame or none of it; its mark is a number of bytes."""

    def __init__(self, path: Path, mark: int | None) -> None:
        self._end = mark or 0
        require_length(path, path.stat().st_size if path.exists() else 0, self._end)
        self._file = path.open("wb" if mark is None else "r+b", buffering=0)
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def write(self, frame: Frame) -> None:
        from ase.io.extxyz import write_extxyz

        text = io.StringIO()
        write_extxyz(text, [frame.to_ase()])
        rest = text.getvalue().encode()
        try:
            while rest:  # a disk that fills up takes a part
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end = self._file.tell()

    def mark(self) -> int:
        return self._end

    def close(self) -> None:
        self._file.close()


class _AseWriter:
    """ASE's binary format, which is copied where it is to be shortened. Marks count frames."""

    def __init__(self, path: Path, mark: int | None) -> None:
        from ase.io.trajectory import Trajectory

        held = 0 if mark is None else self._length(path)
        require_length(path, held, mark or 0)
        if mark is not None and held > mark:
            part = path.with_name(f".{path.name}.part")
            with Trajectory(path) as old, Trajectory(part, "w") as new:
                for number in range(mark):
                    new.write(old[number])
            part.replace(path)
        self._count = mark or 0
        self._file: Any = Trajectory(path, "w" if mark is None else "a")

    @staticmethod
    def _length(path: Path) -> int:
        from ase.io.trajectory import Trajectory

        try:
            with Trajectory(path) as frames:
                return len(frames)
        except Exception as error:  # ase raises whatever it stumbles over
            raise InputError(
                f"'{path}' is not a readable trajectory ({error}); begin anew with --overwrite."
            ) from error

    def write(self, frame: Frame) -> None:
        self._count += 1
        self._file.write(frame.to_ase())

    def mark(self) -> int:
        return self._count

    def close(self) -> None:
        self._file.close()


def append_atoms(path: Path, atoms: Atoms) -> None:
    """Add a frame of any kind to an extxyz file.

    Raises:
        WorkFailed: the disk is full.
    """
    from ase.io.extxyz import write_extxyz

    try:
        with path.open("a", encoding="utf-8") as file:
            write_extxyz(file, [atoms])
    except OSError as error:
        raise _full(path, error) from error


def _full(path: Path, error: OSError) -> WorkFailed:
    return WorkFailed(f"Could not write '{path}' ({error.strerror or error}): free space or choose another folder.")


def paths_of(path: Path | None, count: int) -> Sequence[Path | None]:
    """A file for each structure: `run.traj`, or `run.0.traj`, `run.1.traj` ..."""
    if path is None or count == 1:
        return [path] * count
    return [path.with_suffix(f".{k}{path.suffix}") for k in range(count)]
