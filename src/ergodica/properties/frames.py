"""A trajectory as arrays: what observables are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ergodica.elements import symbols_of
from ergodica.errors import InputError
from ergodica.units import FS

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

__all__ = ["Frames", "read_frames", "unwrapped"]

PER_FRAME = ("positions", "cells", "times", "velocities", "energies", "stresses", "conserved")


@dataclass(frozen=True)
class Frames:
    """Frames of one system, in order of time; what a trajectory does not hold is None.

    Attributes:
        numbers: atomic numbers [N].
        masses: amu [N].
        pbc: periodic directions [3].
        positions: Å [T, N, 3].
        cells: rows are lattice vectors, Å [T, 3, 3].
        times: fs [T], evenly spaced.
        velocities: Å/fs [T, N, 3].
        energies: potential energies, eV [T].
        stresses: static (virial) stress, eV/Å³, tension positive [T, 3, 3].
        conserved: the energy that the ensemble conserves, eV [T].
        name: of the trajectory, for messages.
    """

    numbers: Int[np.ndarray, " N"]
    masses: Float[np.ndarray, " N"]
    pbc: Bool[np.ndarray, " 3"]
    positions: Float[np.ndarray, "T N 3"]
    cells: Float[np.ndarray, "T 3 3"]
    times: Float[np.ndarray, " T"] | None = None
    velocities: Float[np.ndarray, "T N 3"] | None = None
    energies: Float[np.ndarray, " T"] | None = None
    stresses: Float[np.ndarray, "T 3 3"] | None = None
    conserved: Float[np.ndarray, " T"] | None = None
    name: str = "trajectory"

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: slice | Int[np.ndarray, " K"] | Bool[np.ndarray, " T"]) -> Frames:
        """Some of the frames."""
        parts = {key: getattr(self, key) for key in PER_FRAME}
        return replace(self, **{key: value[index] for key, value in parts.items() if value is not None})

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The elements, by atomic number."""
        return symbols_of(self.numbers)

    @property
    def volumes(self) -> Float[np.ndarray, " T"]:
        """Volumes of the cells, Å³."""
        return np.abs(np.linalg.det(self.cells))

    @property
    def interval(self) -> float | None:
        """Time between frames, fs."""
        return None if self.times is None or len(self) < 2 else float(self.times[-1] - self.times[0]) / (len(self) - 1)

    @cached_property
    def mobile(self) -> Bool[np.ndarray, " N"]:
        """Atoms that move at all [N]; those held fixed take no part in the temperature, nor in diffusion."""
        if self.velocities is not None:
            return (self.velocities != 0).any(axis=(0, 2))
        return (self.positions != self.positions[0]).any(axis=(0, 2)) | (len(self) < 2)

    @cached_property
    def freedom(self) -> int:
        """Degrees of freedom that hold heat: three an atom that moves, less three where the centre of mass rests."""
        n = int(self.mobile.sum())
        if self.velocities is None or n < 2 or n < self.n_atoms:
            return 3 * n
        momenta = self.masses[:, None] * self.velocities
        moving = np.abs(momenta.sum(axis=1)).max() > 1e-4 * np.abs(momenta).sum(axis=1).max()
        return 3 * n if moving else 3 * n - 3

    @property
    def kinetic(self) -> Float[np.ndarray, " T"] | None:
        """Kinetic energies, eV [T]."""
        if self.velocities is None:
            return None
        return 0.5 * np.einsum("i,tix,tix->t", self.masses, self.velocities, self.velocities) / FS**2

    @classmethod
    def from_ase(cls, images: Sequence[Atoms], interval: float | None = None, name: str = "trajectory") -> Frames:
        """From ASE's frames.

        Frames off the regular spacing, such as the last one of a run, are left out; where the spacing changes, what
        lies on the wider grid is kept.

        Args:
            images: the frames.
            interval: time between frames, fs; taken from `time_fs` of the frames by default.
            name: for messages.

        Raises:
            InputError: no frames, frames of different systems, or times that do not increase or make no grid.
        """
        if not images:
            raise InputError(f"'{name}' holds no frames.")
        first = images[0]
        for index, atoms in enumerate(images):
            if not np.array_equal(atoms.numbers, first.numbers) or not np.array_equal(atoms.pbc, first.pbc):
                raise InputError(
                    f"'{name}': frame {index} holds other atoms than frame 0; a trajectory is of one system."
                )
        frames = cls(
            numbers=first.numbers,
            masses=first.get_masses(),
            pbc=first.pbc,
            positions=np.array([atoms.positions for atoms in images]),
            cells=np.array([atoms.cell.array for atoms in images]),
            times=_times(images, interval, name),
            velocities=_stacked([atoms.get_velocities() * FS if atoms.has("momenta") else None for atoms in images]),
            energies=_stacked([_result(atoms, "energy") for atoms in images]),
            stresses=_stacked([_tensor(_result(atoms, "stress")) for atoms in images]),
            conserved=_stacked([atoms.info.get("conserved_eV") for atoms in images]),
            name=name,
        )
        return frames[_regular(frames.times, name)] if frames.times is not None and len(frames) > 2 else frames


def read_frames(path: str | Path, interval: float | None = None) -> Frames:
    """Read a trajectory, as `ergodica md` or other programs write it; see `Frames.from_ase`.

    Raises:
        InputError: the file is missing, damaged, or no trajectory of one system.
    """
    from ergodica.files import read_atoms

    return Frames.from_ase(read_atoms(path), interval, str(path))


def _stacked(values: Sequence[Any]) -> Any:
    """One array, or None where a frame lacks the value."""
    return None if any(value is None for value in values) else np.array(values, float)


def _result(atoms: Atoms, key: str) -> Any:
    return None if atoms.calc is None else atoms.calc.results.get(key)


def _tensor(stress: Any) -> Any:
    from ase.stress import voigt_6_to_full_3x3_stress

    return None if stress is None else voigt_6_to_full_3x3_stress(stress) if np.shape(stress) == (6,) else stress


def _times(images: Sequence[Atoms], interval: float | None, name: str) -> Float[np.ndarray, " T"] | None:
    if interval is not None:
        if not interval > 0:
            raise InputError(f"The time between frames must be positive, not {interval:g} fs.")
        return interval * np.arange(len(images))
    times = _stacked([atoms.info.get("time_fs") for atoms in images])
    if times is not None and (np.diff(times) <= 0).any():
        index = int(np.argmax(np.diff(times) <= 0)) + 1
        raise InputError(
            f"'{name}': frame {index} is not later than the one before ({times[index]:g} fs): "
            "give one run at a time, or the time between frames (--interval)."
        )
    return times


def _regular(times: Float[np.ndarray, " T"], name: str) -> Bool[np.ndarray, " T"]:
    """Frames on the grid of the usual spacing, else of the widest."""
    gaps = np.diff(times)
    for spacing in (np.median(gaps), gaps.max()):
        steps = (times - times[0]) / spacing
        on_grid = np.abs(steps - np.round(steps)) < 1e-3
        whole = np.round(steps[on_grid])
        if np.array_equal(whole, np.arange(len(whole))) and whole[-1] > max(steps[-1] - 1, 0):  # all but the last
            return on_grid
    odd = int(np.argmax(np.abs(gaps - gaps[0]) > 1e-3 * gaps[0]))
    raise InputError(
        f"'{name}': frames are {gaps[0]:g} fs apart, and {gaps[odd]:g} fs from frame {odd} on: give an evenly spaced "
        f"part ({name}@{odd}:), or the time between frames (--interval)."
    )


def unwrapped(frames: Frames, remove_drift: bool = True) -> tuple[Float[np.ndarray, "T N 3"], float]:
    """Positions that go on through the faces of the cell, and how far an atom went at most between frames.

    From frame to frame every atom takes the shortest way in fractional coordinates, so that a changing cell does not
    carry atoms along (compare von Bülow, Bullerjahn and Hummer, J. Chem. Phys. 153, 021101 (2020)).

    Args:
        frames: wrapped into the cell or not.
        remove_drift: subtract the motion of the centre of mass.

    Returns:
        positions in Å, and the largest step as a part of the cell: beyond 0.5 an atom can't be followed.
    """
    positions, largest = frames.positions, 0.0
    if frames.pbc.any():
        from ase.geometry import complete_cell, minkowski_reduce

        _, turn = minkowski_reduce(complete_cell(frames.cells[0]), frames.pbc)
        cells = np.array([turn @ complete_cell(cell) for cell in frames.cells])
        places = positions @ np.linalg.inv(cells)
        steps = np.diff(places, axis=0)
        steps -= np.where(frames.pbc, np.round(steps), 0.0)
        largest = float(np.abs(steps[..., frames.pbc]).max(initial=0.0))
        path = np.cumsum(np.concatenate([positions[:1], steps @ cells[1:]]), axis=0)
        positions = path
    if remove_drift:
        weights = frames.masses / frames.masses.sum()
        centre = np.einsum("i,tix->tx", weights, positions)
        positions = positions - (centre - centre[0])[:, None]
    return positions, largest
