"""What Ergodica's workers share: its ASE calculator, and its engine."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import protocol  # first: it starts the clock
from ase import Atoms
from ase.calculators.calculator import Calculator

__all__ = ["run"]


def run(make_potential: Callable[[], tuple[Any, dict]]) -> None:
    """Measure a potential, which comes with facts."""
    protocol.main(partial(calculator, make_potential), partial(dynamics, make_potential))


def calculator(make_potential: Callable[[], tuple[Any, dict]], atoms: Atoms) -> tuple[Calculator, dict]:
    """The ASE calculator."""
    from ergodica.calculators import Calculator as ErgodicaCalculator

    potential, facts = make_potential()
    return ErgodicaCalculator(potential), facts


def dynamics(
    make_potential: Callable[[], tuple[Any, dict]], atoms: Atoms, timestep: float, steps: int, chunks: int
) -> tuple[list[float], dict]:
    """The engine at constant energy."""
    from ergodica.dynamics.engine import Engine
    from ergodica.dynamics.options import MDOptions
    from ergodica.system import System

    potential, facts = make_potential()
    options = MDOptions(ensemble="nve", temperature=300.0, timestep=timestep, steps=steps * chunks)
    engine = Engine(potential, [System.from_ase(atoms)], options, momenta=atoms.get_momenta())
    ends, lists = [], 0
    for _ in range(chunks):
        lists += engine.advance(steps).lists
        ends.append(time.perf_counter())
    return ends, {**facts, "engine": "ergodica", "lists": lists}
