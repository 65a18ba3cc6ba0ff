"""The restart file: a run as it stood, so that it goes on with the same bits after any end, `kill -9` included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from ergodica.checkpoint import load_tree, read_header, save_tree
from ergodica.dynamics.engine import Engine
from ergodica.dynamics.options import MDOptions
from ergodica.errors import InputError

__all__ = ["load_run", "restart_path", "save_run"]

FORMAT = "ergodica-run"
SAME = ("ensemble", "precision", "cell", "cell_axes")
"""Options that a restart can't change."""


def restart_path(trajectory: Path) -> Path:
    """The restart file of a trajectory: `run.h5` has `run.h5.restart`."""
    return trajectory.with_name(f"{trajectory.name}.restart")


def save_run(path: Path, options: MDOptions, state: dict[str, Any], marks: list[int]) -> None:
    """Write the state of a run atomically.

    Args:
        path: the restart file.
        options: of the run.
        state: `Engine.state()`.
        marks: how much its trajectories hold.

    Raises:
        WorkFailed: the disk is full or the folder can't be written; the older file stays as it was.
    """
    same = {key: getattr(options, key) for key in SAME}
    header = {"format": FORMAT, "version": 1, "step": int(state["motion"].step), "marks": marks, "options": same}
    save_tree(path, state, header)


def load_run(path: Path, engine: Engine) -> list[int]:
    """Take an engine that was made from the same start to where the run stood; returns the marks.

    Raises:
        InputError: the file is damaged, or of another system, ensemble or precision.
    """
    header = read_header(path)
    if header.get("format") != FORMAT:
        raise InputError(f"'{path}' is not a restart file: remove it and begin anew with --overwrite.")
    for key, value in header["options"].items():
        asked = getattr(engine.options, key)
        if asked != value:
            raise InputError(f"'{path}' is of a run with {key} {value}, not {asked}: a restart can't change it.")
    here = engine.state()
    state, _ = load_tree(path, here)
    if not np.array_equal(state["numbers"], here["numbers"]) or _shapes(state) != _shapes(here):
        raise InputError(f"'{path}' holds other atoms: it belongs to another run.")
    engine.resume(state)
    return list(header["marks"])


def _shapes(state: dict[str, Any]) -> list[tuple[int, ...]]:
    return [np.shape(leaf) for leaf in jax.tree.leaves(state)]
