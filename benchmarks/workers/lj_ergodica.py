"""Ergodica's Lennard-Jones."""

from __future__ import annotations

from typing import Any

import ergodica_worker  # first: it starts the clock


def make_potential() -> tuple[Any, dict]:
    """Argon's, switched off where jax-md switches it off."""
    import jax

    import ergodica

    potential = ergodica.load("lj", sigma=3.405, epsilon=0.010341, onset=2.0 * 3.405, cutoff=2.5 * 3.405)
    return potential, {"ergodica": ergodica.__version__, "jax": jax.__version__}


if __name__ == "__main__":
    ergodica_worker.run(make_potential)
