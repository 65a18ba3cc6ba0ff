"""Trajectories: frames with energies, forces and momenta, complete up to the last one whatever happens."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ergodica.errors import InputError, WorkFailed

if TYPE_CHECKING:
    from ase import Atoms

    from ergodica.dynamics.options import MDOptions

__all__ = ["TrajectoryWriter", "last_frame"]

SUFFIXES = (".traj", ".xyz", ".extxyz")


class TrajectoryWriter:
    """Writes frames one by one, so that an interrupted run leaves a readable file.

    Args:
        path: `.traj` (binary, restartable) or `.xyz`/`.extxyz`; None writes nothing.
        every: steps between frames, noted in the file.
        append: go on after the last frame.

    Raises:
        InputError: another suffix.
        WorkFailed: the disk is full or the folder can't be written.
    """

    def __init__(self, path: Path | None, every: int, append: bool) -> None:
        if path is not None and path.suffix not in SUFFIXES:
            raise InputError(f"A trajectory is a {', '.join(SUFFIXES)} file, not '{path}'.")
        self.path, self.every = path, every
        self._file: Any = None
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._open(path, append)
        except OSError as error:
            raise _full(path, error) from error

    @staticmethod
    def _open(path: Path, append: bool) -> Any:
        if path.suffix == ".traj":
            from ase.io.trajectory import Trajectory

            return Trajectory(path, "a" if append else "w")
        return path.open("a" if append else "w", encoding="utf-8")

    def __enter__(self) -> TrajectoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, atoms: Atoms, step: int, options: MDOptions) -> None:
        """Add a frame.

        Raises:
            WorkFailed: the disk is full.
        """
        if self.path is None:
            return
        atoms.info.update(step=step, time_fs=step * options.timestep)
        try:
            if self.path.suffix == ".traj":
                self._file.write(atoms)
            else:
                from ase.io.extxyz import write_extxyz

                write_extxyz(self._file, [atoms])
                self._file.flush()
        except OSError as error:
            raise _full(self.path, error) from error


def _full(path: Path, error: OSError) -> WorkFailed:
    return WorkFailed(f"Could not write '{path}' ({error.strerror or error}): free space or choose another folder.")


def last_frame(path: Path) -> tuple[Atoms, int]:
    """Last frame of a `.traj`, momenta included, and its step.

    Raises:
        InputError: the file is of another kind, damaged, or not one of ours.
    """
    from ase.io.trajectory import Trajectory

    if path.suffix != ".traj":
        raise InputError(f"Only a .traj file keeps every digit and can be continued, not '{path}'.")
    try:
        with Trajectory(path) as frames:
            atoms = frames[-1]
    except Exception as error:  # ase raises whatever it stumbles over
        raise InputError(f"'{path}' is not a readable trajectory ({error}); start anew with --overwrite.") from error
    if "step" not in atoms.info:
        raise InputError(f"'{path}' was not written by 'ergodica md': its frames do not say at which step they stand.")
    return atoms, int(atoms.info["step"])
