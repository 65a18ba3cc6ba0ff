"""Ergodica's effective-medium theory."""

from __future__ import annotations

from typing import Any

import ergodica_worker  # first: it starts the clock


def make_potential() -> tuple[Any, dict]:
    """ASE's parameters."""
    import jax

    import ergodica

    return ergodica.load("emt"), {"ergodica": ergodica.__version__, "jax": jax.__version__}


if __name__ == "__main__":
    ergodica_worker.run(make_potential)
