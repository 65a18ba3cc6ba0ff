"""What the tests of physics share: networks to test, changes of structures, comparisons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ergodica.neighbors import Capacity
from ergodica.potentials.potential import Potential
from ergodica.system import System
from tests.helpers.small import evaluate

__all__ = ["GEOFORMERS", "GRAPHORMERS", "M3GNETS", "ROOM", "VISNETS", "close", "crossing", "moved"]

ROOM = Capacity(48, 160, 6)  # one shape for all structures here, so that each network compiles once

VISNETS = [  # every pair of options occurs in some row
    {"lmax": 1, "vertex": "none", "vecnorm": "none", "rbf": "expnorm", "smooth": True},
    {"lmax": 1, "vertex": "edge", "vecnorm": "max_min", "rbf": "gauss", "smooth": False},
    {"lmax": 1, "vertex": "node", "vecnorm": "rms", "rbf": "expnorm", "smooth": False},
    {"lmax": 2, "vertex": "none", "vecnorm": "max_min", "rbf": "expnorm", "smooth": False},
    {"lmax": 2, "vertex": "edge", "vecnorm": "rms", "rbf": "expnorm", "smooth": True},
    {"lmax": 2, "vertex": "node", "vecnorm": "none", "rbf": "gauss", "smooth": True},
    {"lmax": 1, "vertex": "none", "vecnorm": "rms", "rbf": "gauss", "smooth": True, "trainable_vecnorm": True},
    {"lmax": 2, "vertex": "edge", "vecnorm": "none", "rbf": "expnorm", "smooth": False, "trainable_rbf": True},
    {"lmax": 1, "vertex": "node", "vecnorm": "max_min", "rbf": "expnorm", "smooth": True, "activation": "ssp"},
]

M3GNETS = [{"kind": "m3gnet", "threebody_cutoff": 2.4}, {"kind": "m3gnet", "threebody_cutoff": 2.4, "core": True}]

GRAPHORMERS = [{"kind": "graphormer"}]

GEOFORMERS = [
    {"kind": "geoformer", "vecnorm": "none", "trainable_rbf": True},
    {"kind": "geoformer", "vecnorm": "max_min", "trainable_rbf": False, "smooth": False},
]


def moved(system: System, change: Callable[[np.ndarray], np.ndarray], cell: np.ndarray | None = None) -> System:
    """The structure with its positions changed, and its cell where given."""
    return replace(system, positions=change(system.positions), cell=system.cell if cell is None else cell)


def close(found: np.ndarray | float, expected: np.ndarray | float, tolerance: float = 1e-9) -> None:
    """Agreement relative to the largest of the expected numbers."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


def crossing(potential: Potential, radius: float, step: float = 1e-7) -> tuple[float, float]:
    """Jump of energy and forces as the third atom of a chain leaves a sphere round the first, relative to their sizes.

    The second atom goes on pulling, so what the forces account for is taken off the energy's change.
    """
    bent = np.array([[0.0, 0.0, 0.0], [1.1, 0.9, 0.2], [0.0, 0.0, 0.0]])
    direction = np.array([0.8, 0.36, 0.48])
    ends = [System([8, 6, 1], bent + np.outer([0, 0, 1], (radius + s * step) * direction)) for s in (-1, 1)]
    inside, outside = evaluate(potential, ends, ROOM)
    size = max(abs(inside.energy), 1.0), max(np.abs(inside.forces).max(), 1.0)
    work = (inside.forces[2] + outside.forces[2]) @ direction * step
    return abs(outside.energy - inside.energy + work) / size[0], np.abs(inside.forces - outside.forces).max() / size[1]
