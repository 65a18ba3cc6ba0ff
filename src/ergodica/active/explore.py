"""Exploration: the model walks from the start structures until it is lost, and its frames are judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ergodica.active.options import ExploreOptions
from ergodica.dynamics.md import simulate
from ergodica.dynamics.watch import Astray
from ergodica.errors import ErgodicaError
from ergodica.files import atomic_write, read_lines, read_structures
from ergodica.potentials.potential import Potential
from ergodica.prediction import predict
from ergodica.system import Labels, System

__all__ = ["Explored", "explore"]


@dataclass(frozen=True)
class Explored:
    """The frames of all walks of a round.

    Attributes:
        frames: without labels.
        uncertainty: of the force on the worst atom of each [F], eV/Å.
        complete: share of the walks that reached their length.
    """

    frames: list[System]
    uncertainty: Float[np.ndarray, " F"]
    complete: float


def explore(
    potential: Potential,
    starts: Sequence[System],
    options: ExploreOptions,
    ceiling: float,
    seed: Sequence[int],
    folder: Path,
) -> Explored:
    """Walk from every start structure at every temperature; walks that are in the folder already are not repeated.

    Args:
        potential: an ensemble.
        starts: where the walks begin.
        options: how they go on.
        ceiling: uncertainty that ends a walk, eV/Å.
        seed: of velocities and noise, together with the number of the walk.
        folder: where trajectories go.

    Raises:
        WorkFailed: disk full or folder not writable. A walk that goes astray just ends.
    """
    frames: list[System] = []
    whole = []
    tasks = [(start, temperature) for start in starts for temperature in options.temperatures]
    for number, (start, temperature) in enumerate(tasks):
        own = int(np.random.default_rng([*seed, number]).integers(2**31))
        path = folder / f"walk-{number:03d}.traj"
        whole.append(_walk(potential, start, options.dynamics(temperature, own, ceiling), path))
        frames += [system.with_labels(Labels()) for system in read_structures(path)]
    known, found = _judged(potential, frames)
    worst = [one.uncertainty.largest_force(system.fixed) for system, one in zip(known, found, strict=True)]
    return Explored(known, np.array(worst), float(np.mean(whole)))


def _judged(potential: Potential, frames: list[System]) -> tuple[list[System], list[Any]]:
    """The frames and the predictions of them; the last of a walk that flew apart may have none, and is left out."""
    try:
        return frames, predict(potential, frames, uncertainty=True)
    except ErgodicaError:
        if len(frames) < 2:
            return [], []
    halves = [_judged(potential, part) for part in (frames[: len(frames) // 2], frames[len(frames) // 2 :])]
    return [one for known, _ in halves for one in known], [one for _, found in halves for one in found]


def _walk(potential: Potential, start: System, options: Any, path: Path) -> bool:
    """One walk; whether it reached its length. A walk that was cut off by a kill begins again."""
    outcome = path.with_suffix(".json")
    if not outcome.exists():
        end = "complete"
        try:
            simulate(potential, start, options, trajectory=path)
        except Astray as error:
            end = str(error)
        atomic_write(outcome, json.dumps({"end": end, "temperature_K": options.temperature}).encode())
    return bool(json.loads("".join(read_lines(outcome)))["end"] == "complete")
