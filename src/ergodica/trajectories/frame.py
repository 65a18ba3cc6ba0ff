"""A frame of a trajectory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ergodica.errors import InputError
from ergodica.system import System
from ergodica.units import FS

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Frame", "require_length"]


@dataclass(frozen=True)
class Frame:
    """A structure on its way.

    Attributes:
        system: with the model's energy, forces and stress, and momenta where they are known.
        step: since the beginning of the run.
        time: the same, fs.
    """

    system: System
    step: int
    time: float

    @property
    def velocities(self) -> Float[np.ndarray, "N 3"] | None:
        """Å/fs."""
        system = self.system
        return system.momenta / system.masses[:, None] * FS if system.momenta.size else None

    def to_ase(self) -> Atoms:
        """With momenta, where they are known, and step and time_fs in `info`."""
        atoms = self.system.to_ase()
        if self.system.momenta.size:
            atoms.set_momenta(self.system.momenta, apply_constraint=False)
        atoms.info.update(step=self.step, time_fs=self.time)
        return atoms


def require_length(path: Path, held: int, mark: int) -> None:
    """Raise `InputError` when a file holds less than it did."""
    if held < mark:
        raise InputError(f"'{path}' is shorter than it was when the run stopped: begin anew with --overwrite.")
