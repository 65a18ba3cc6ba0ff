"""A toy set labelled by Lennard-Jones, and a configuration small enough to train in a test."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.lj import LennardJones

from ergodica.potentials import ViSNetConfig
from ergodica.system import System
from ergodica.training.options import LossOptions, OptimizerOptions, RunOptions, TrainConfig
from ergodica.training.splits import Splits

MODEL = ViSNetConfig(hidden=8, layers=1, heads=2, num_rbf=4, max_z=10)
OFFSETS = {"H": -10.0, "C": -100.0}


def toy(count: int, seed: int = 0, offsets: dict[str, float] = OFFSETS) -> list[System]:
    """Tetrahedra of carbon and hydrogen of varying composition; each element adds its offset to the energy."""
    rng = np.random.default_rng(seed)
    corners = 2.2 / np.sqrt(8.0) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    systems = []
    for index in range(count):
        symbols = "C" * (1 + index % 3) + "H" * (3 - index % 3)
        atoms = Atoms(symbols, corners + rng.normal(scale=0.1, size=(4, 3)))
        atoms.calc = LennardJones(sigma=2.0, epsilon=0.1, rc=20.0)
        atoms.get_forces()
        system = System.from_ase(atoms, f"toy {index}")
        shift = sum(offsets[symbol] for symbol in symbols)
        systems.append(system.with_labels(type(system.labels)(system.labels.energy + shift, system.labels.forces)))
    return systems


def splits() -> Splits:
    """Six structures to fit, two to validate: three steps an epoch, in two chunks."""
    systems = toy(8)
    return Splits(systems[:6], systems[6:])


def config(output, loss=None, **run) -> TrainConfig:
    """The configuration that most tests share."""
    return TrainConfig(
        model=MODEL,
        loss=loss or LossOptions(kind="mse"),
        optimizer=OptimizerOptions(learning_rate=3e-3, warmup=0, schedule="plateau", ema=0.9, plateau_patience=100),
        run=RunOptions(**({"epochs": 3, "batch_size": 2, "steps_per_call": 2} | run)),
        output=str(output),
    )
