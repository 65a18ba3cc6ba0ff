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
RAMP = ("final_temperature", "final_pressure", "temperature", "pressure", "steps")
"""Options that it can't change either where temperature or pressure go from one value to another."""
ENDS = {"temperature": "final_temperature", "pressure": "final_pressure"}
OTHER = "other masses, or another cell of what is no crystal"


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
    systems = engine.systems
    held = b"".join(one.fixed.tobytes() + one.pbc.tobytes() for one in systems)
    # the cell of a crystal moves, and is part of the state
    heavy = b"".join(one.masses.tobytes() + (b"" if one.is_bulk else one.cell.tobytes()) for one in systems)
    return {
        "options": {key: getattr(engine.options, key) for key in (*SAME, *RAMP)},
        "model": engine.potential.fingerprint,
        "held": hashlib.sha256(held).hexdigest()[:16],
        "heavy": hashlib.sha256(heavy).hexdigest()[:16],
    }


def _unlike(header: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """Options of a run that a restart asks otherwise and can't change."""
    was = asked | header["options"]  # older files lack newer options
    reached = {key: was[key] if was[end] is None else was[end] for key, end in ENDS.items()}
    stays = {key: asked[key] if asked[end] is None else None for key, end in ENDS.items()} == reached
    ramps = any(one[end] is not None for one in (was, asked) for end in ENDS.values())
    fixed = ramps and not (stays and header["step"] >= was["steps"])  # a ramp that is over may be left out
    return [key for key in (*SAME, *(RAMP if fixed else ())) if asked[key] != was[key]]


def load_run(path: Path, engine: Engine) -> list[int]:
    """Take an engine that was made from the same start to where the run stood; returns the marks.

    Raises:
        InputError: the file is damaged, or of another system, model, ensemble, time step or precision.
    """
    header = read_header(path)
    if header.get("format") != FORMAT:
        raise InputError(f"'{path}' is not a restart file: remove it and begin anew with --overwrite.")
    here = _told(engine)
    if unlike := _unlike(header, here["options"]):
        was, asked = (told["options"][unlike[0]] for told in (header, here))
        raise InputError(f"'{path}' is of a run with {unlike[0]} {was}, not {asked}: a restart can't change it.")
    now = engine.state()
    state, _ = load_tree(path, now)
    if not np.array_equal(state["numbers"], now["numbers"]) or _shapes(state) != _shapes(now):
        raise InputError(f"'{path}' holds other atoms: it belongs to another run.")
    kinds = {"model": "another model", "held": "other fixed atoms or periodic directions", "heavy": OTHER}
    for key, what in kinds.items():
        if header.get(key, here[key]) != here[key]:
            raise InputError(f"'{path}' is of a run with {what}: give the same again, or begin anew with --overwrite.")
    engine.resume(state)
    return list(header["marks"])


def _shapes(state: dict[str, Any]) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(state)]
