"""The restart file: a run as it stood, so that it goes on with the same bits after any end, `kill -9` included."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ergodica.checkpoint import load_tree, read_header, save_tree
from ergodica.dynamics.engine import Engine
from ergodica.errors import InputError

__all__ = ["load_run", "restart_path", "save_run"]

FORMAT = "ergodica-run"
SAME = ("ensemble", "precision", "cell", "cell_axes", "timestep")
"""Options that a restart can't change."""
RAMP = ("steps", "temperature", "final_temperature", "pressure", "final_pressure")
"""Options that it can't change either where temperature or pressure go from one value to another."""


def restart_path(trajectory: Path) -> Path:
    """The restart file of a trajectory: `run.h5` has `run.h5.restart`."""
    return trajectory.with_name(f"{trajectory.name}.restart")


def save_run(path: Path, engine: Engine, state: dict[str, Any], marks: list[int]) -> None:
    """Write the state of a run atomically.

    Args:
        path: the restart file.
        engine: of the run.
        state: `Engine.state()`.
        marks: how much its trajectories hold.

    Raises:
        WorkFailed: the disk is full or the folder can't be written; the older file stays as it was.
    """
    head = {"format": FORMAT, "version": 1, "step": int(state["motion"].step), "marks": marks}
    save_tree(path, state, head | _told(engine))


def _told(engine: Engine) -> dict[str, Any]:
    """What else than the state must be the same, as the file's head holds it."""
    held = hashlib.sha256(b"".join(one.fixed.tobytes() + one.pbc.tobytes() for one in engine.systems)).hexdigest()[:16]
    return {
        "options": {key: getattr(engine.options, key) for key in (*SAME, *RAMP)},
        "model": engine.potential.fingerprint,
        "held": held,
    }


def load_run(path: Path, engine: Engine) -> list[int]:
    """Take an engine that was made from the same start to where the run stood; returns the marks.

    Raises:
        InputError: the file is damaged, or of another system, model, ensemble, time step or precision.
    """
    header = read_header(path)
    if header.get("format") != FORMAT:
        raise InputError(f"'{path}' is not a restart file: remove it and begin anew with --overwrite.")
    here, options = _told(engine), engine.options
    ramps = options.final_temperature is not None or options.final_pressure is not None
    for key in (*SAME, *(RAMP if ramps else ())):
        was, asked = header["options"].get(key, here["options"][key]), here["options"][key]
        if asked != was:
            raise InputError(f"'{path}' is of a run with {key} {was}, not {asked}: a restart can't change it.")
    now = engine.state()
    state, _ = load_tree(path, now)
    if not np.array_equal(state["numbers"], now["numbers"]) or _shapes(state) != _shapes(now):
        raise InputError(f"'{path}' holds other atoms: it belongs to another run.")
    for key, what in (("model", "another model"), ("held", "other fixed atoms or periodic directions")):
        if header.get(key, here[key]) != here[key]:
            raise InputError(f"'{path}' is of a run with {what}: give the same again, or begin anew with --overwrite.")
    engine.resume(state)
    return list(header["marks"])


def _shapes(state: dict[str, Any]) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(state)]
