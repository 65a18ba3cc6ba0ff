"""Small potentials with parameters everywhere different from zero, and their evaluation in the caller's precision."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np

from ergodica.neighbors import Capacity, find_edges, pack
from ergodica.potentials.potential import CONFIGS, ModelConfig, Potential, compiled_derivatives
from ergodica.system import System

__all__ = ["Numbers", "evaluate", "random_crystal", "random_molecule", "random_rotation", "small_potential"]

CUTOFF = 3.0


class Numbers(NamedTuple):
    """Results of one structure: energy, eV; forces, eV/Å; virial, eV; energies of the atoms, eV."""

    energy: float
    forces: np.ndarray
    virial: np.ndarray
    atomic: np.ndarray


SMALL: dict[str, dict[str, Any]] = {
    "visnet": {"hidden": 16, "layers": 2, "heads": 4, "num_rbf": 8},
    "m3gnet": {"units": 16, "blocks": 2},
    "graphormer": {"hidden": 16, "ffn": 24, "layers": 2, "rounds": 2, "heads": 4, "num_rbf": 8},
    "geoformer": {"hidden": 16, "ffn": 24, "layers": 2, "heads": 4, "num_rbf": 8},
}


def small_potential(seed: int = 0, kind: str = "visnet", **options: Any) -> Potential:
    """A network of 2 layers and 16 channels; biases and norms are off their trivial initial values, too."""
    config = CONFIGS[kind](**SMALL[kind] | {"cutoff": CUTOFF, "max_z": 20} | options)
    rng = np.random.default_rng(seed)
    return Potential(config, jax.tree.map(lambda leaf: leaf + 0.1 * rng.normal(size=leaf.shape), _initial(config)))


@lru_cache(maxsize=64)
def _initial(config: ModelConfig) -> Any:
    """Initial parameters; kept, because making them takes longer than using them."""
    return Potential.create(config).params


def evaluate(
    potential: Potential, systems: Sequence[System], capacity: Capacity | None = None, dtype: type = np.float64
) -> list[Numbers]:
    """All structures in one batch."""
    batch = pack(systems, [find_edges(s, potential.cutoff) for s in systems], capacity, dtype=dtype)
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), potential.params)
    out = jax.tree.map(np.asarray, compiled_derivatives(potential.config)(params, batch))
    stop = np.cumsum([len(s) for s in systems])
    results = []
    for row, (end, system) in enumerate(zip(stop, systems, strict=True)):
        own = slice(end - len(system), end)
        results.append(Numbers(float(out.energies[own].sum()), out.forces[own], out.virial[row], out.energies[own]))
    return results


def random_molecule(rng: np.random.Generator, atoms: int = 6, spacing: float = 1.0) -> System:
    """Atoms no closer than `spacing` (Å) in a small box without periodicity."""
    return System(rng.choice([1, 6, 8], atoms), _spread(rng, atoms, spacing, np.eye(3) * 3.2, np.zeros(3, bool)))


def random_crystal(rng: np.random.Generator, atoms: int = 4, pbc: Sequence[bool] = (True, True, True)) -> System:
    """A skew cell about as wide as the cut-off, so that atoms see their own images."""
    cell = np.eye(3) * 3.0 + rng.uniform(-0.6, 0.6, (3, 3))
    return System(rng.choice([1, 6, 8], atoms), _spread(rng, atoms, 1.0, cell, np.array(pbc)), cell, np.array(pbc))


def _spread(rng: np.random.Generator, atoms: int, spacing: float, cell: np.ndarray, pbc: np.ndarray) -> np.ndarray:
    images = np.stack(np.meshgrid(*([-1, 0, 1] if p else [0] for p in pbc), indexing="ij"), -1).reshape(-1, 3) @ cell
    chosen: list[np.ndarray] = []
    while len(chosen) < atoms:
        trial = rng.random(3) @ cell
        if all(np.linalg.norm(trial - other + images, axis=1).min() > spacing for other in chosen):
            chosen.append(trial)
    return np.array(chosen)


def random_rotation(rng: np.random.Generator, *, improper: bool = False) -> np.ndarray:
    """A random orthogonal matrix of determinant 1, or -1."""
    matrix, upper = np.linalg.qr(rng.normal(size=(3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    return matrix * (-1 if (np.linalg.det(matrix) < 0) != improper else 1)
