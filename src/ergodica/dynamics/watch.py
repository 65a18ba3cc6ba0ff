"""Where the model no longer knows what it does: frames whose uncertainty exceeds a limit, kept for labelling."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ergodica.dynamics.options import MDOptions
from ergodica.errors import ErgodicaError, InputError, WorkFailed
from ergodica.files import atomic_write
from ergodica.prediction import predict
from ergodica.system import Labels
from ergodica.trajectories.frame import Frame
from ergodica.trajectories.writers import append_atoms
from ergodica.uncertainty import require_spread

if TYPE_CHECKING:
    from ergodica.potentials.potential import Potential

__all__ = ["Astray", "UncertaintyWatch", "uncertain_path"]


STEP = re.compile(r"(?:^|\s)step=(\d+)")


class Astray(WorkFailed):
    """The dynamics went where the model can't follow; what was written until then is complete."""


def uncertain_path(trajectory: Path) -> Path:
    """The file of the uncertain frames of a trajectory: `run.traj` has `run.uncertain.extxyz`."""
    return trajectory.with_suffix(".uncertain.extxyz")


class UncertaintyWatch:
    """Looks at the frames of a run; those beyond the limit go to a file of their own, and end the run if so wished.

    They are written without the energies and forces of the model, which nobody should learn from.

    Args:
        potential: the model.
        options: of the run; without `max_uncertainty` nothing is looked at.
        trajectory: file of the run.
        start: step that the run goes on from, with the file of uncertain frames as it was there; 0 begins a new one.

    Raises:
        InputError: a limit for a single model, or frames to collect without a file.
    """

    def __init__(self, potential: Potential, options: MDOptions, trajectory: Path | None, start: int) -> None:
        self.options, self.limit, self.found = options, options.max_uncertainty, 0
        self.path: Path | None = None
        self._potential, self._trajectory, self._start = potential, trajectory, start
        if self.limit is None:
            return
        require_spread(potential)
        if trajectory is None and options.on_uncertain == "collect":
            raise InputError("Uncertain frames are collected beside a trajectory: say which to write.")
        self.path = None if trajectory is None else uncertain_path(trajectory)

    def __enter__(self) -> UncertaintyWatch:
        if self.path is not None and self.path.exists():
            _shorten(self.path, self._start or -1)  # a run that begins writes its step 0 again
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def look(self, frame: Frame) -> None:
        """Judge a frame.

        Raises:
            Astray: it is beyond the limit, and the run is to stop there.
        """
        if self.limit is None:
            return
        bare = replace(frame.system, labels=Labels())
        try:
            found: Any = predict(self._potential, bare, precision=self.options.precision, uncertainty=True)
        except ErgodicaError as error:
            raise Astray(f"The model has no answer at step {frame.step}: {error}") from error
        known = found[0].uncertainty
        largest = known.largest_force(bare.fixed)
        if largest <= self.limit:
            return
        self.found += 1
        if self.path is not None:
            atoms = replace(frame, system=bare).to_ase()
            atoms.info["uncertainty_eV_per_A"] = largest
            atoms.arrays["forces_std"] = known.forces
            append_atoms(self.path, atoms)
        if self.options.on_uncertain == "stop":
            raise Astray(self._verdict(largest, frame.step))

    def _verdict(self, value: float, step: int) -> str:
        kept = "" if self.path is None else f" '{self._trajectory}' holds the run, '{self.path}' the frame to label;"
        return (
            f"The model became uncertain at step {step}: {value:.3g} eV/Å on the worst atom, the limit is "
            f"{self.limit:g};{kept} train on such frames, raise the limit, or collect them and go on "
            "(--on-uncertain collect)."
        )


def _shorten(path: Path, step: int) -> None:
    """Leave out frames after a step: a run that goes on from there meets them again."""
    lines, kept = path.read_text(encoding="utf-8").splitlines(keepends=True), 0
    while kept < len(lines):
        after = kept + int(lines[kept]) + 2
        found = STEP.search(lines[kept + 1]) if after <= len(lines) else None
        if found is None or int(found[1]) > step:
            break
        kept = after
    if kept == 0:
        path.unlink()
    elif kept < len(lines):
        atomic_write(path, "".join(lines[:kept]).encode())
