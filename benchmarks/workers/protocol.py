"""What every worker of a speed benchmark does: time one program on one structure, print one JSON object.

Needs only ASE and NumPy, so that it runs in any program's environment. A worker defines `make_calculator(atoms)`, which
returns an ASE calculator and a dictionary of facts (versions, parameters, notes), and calls `main(make_calculator)`.
With `--md` it is the steps of molecular dynamics that are timed: those of the program's own engine where the worker
gives one, `dynamics(atoms, timestep, steps, chunks)` → seconds at which each chunk of steps ended and facts; else those
of ASE with the calculator.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from functools import partial

STARTED = time.perf_counter()

import ase.io  # noqa: E402 - the clock of the start-up runs first
import numpy as np  # noqa: E402
from ase import Atoms  # noqa: E402
from ase.calculators.calculator import Calculator  # noqa: E402
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution  # noqa: E402

SHAKE = 0.01  # Å: about what an atom moves in a femtosecond


Dynamics = Callable[[Atoms, float, int, int], tuple[list[float], dict]]


def main(make_calculator: Callable[[Atoms], tuple[Calculator, dict]], dynamics: Dynamics | None = None) -> None:
    """Parse `FILE --seconds S --min-calls N --max-calls N`, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", help="one structure, extended xyz")
    parser.add_argument("--stress", action="store_true", help="ask for the stress, too")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for the repeated calls")
    parser.add_argument("--min-calls", type=int, default=5)
    parser.add_argument("--max-calls", type=int, default=200)
    parser.add_argument("--md", type=float, metavar="FS", help="time steps of so many fs instead of single calls")
    options = parser.parse_args()
    atoms = ase.io.read(options.file)
    if options.md is None:
        result = measure(atoms, make_calculator, options)
    else:
        result = measure_steps(atoms, dynamics or partial(ase_dynamics, make_calculator), options)
    json.dump(result, sys.stdout)
    print()


CHUNK, CHUNKS = 20, 9
"""Steps between looks at the clock, and how many of them; the first is not counted."""


def measure_steps(atoms: Atoms, dynamics: Dynamics, options: argparse.Namespace) -> dict:
    """Wall times of steps at constant energy, from velocities of 300 K; neighbour lists are renewed as they must."""
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    ends, facts = dynamics(atoms, options.md, CHUNK, CHUNKS)
    times = np.diff(ends) / CHUNK
    return {
        "n_atoms": len(atoms),
        "median_ms": 1e3 * float(np.median(times)),
        "min_ms": 1e3 * float(times.min()),
        "p90_ms": 1e3 * float(np.quantile(times, 0.9)),
        "calls": CHUNK * len(times),
        "setup_s": ends[0] - STARTED,
        "first_call_s": ends[0] - STARTED,
        "start_to_first_forces_s": ends[0] - STARTED,
        "peak_rss_MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "energy_eV": None,
        "forces_eV_per_A": None,
        "stress_eV_per_A3": None,
        "facts": {"python": platform.python_version(), **facts},
    }


def ase_dynamics(
    make_calculator: Callable[[Atoms], tuple[Calculator, dict]], atoms: Atoms, timestep: float, steps: int, chunks: int
) -> tuple[list[float], dict]:
    """ASE's velocity Verlet with a calculator."""
    from ase.md.verlet import VelocityVerlet
    from ase.units import fs

    atoms.calc, facts = make_calculator(atoms)
    dynamics = VelocityVerlet(atoms, timestep * fs)
    ends = []
    for _ in range(chunks):
        dynamics.run(steps)
        ends.append(time.perf_counter())
    return ends, {**facts, "engine": "ASE"}


def measure(
    atoms: Atoms, make_calculator: Callable[[Atoms], tuple[Calculator, dict]], options: argparse.Namespace
) -> dict:
    """Wall times of energy and forces (and stress) through the calculator, and what it says of the first structure.

    Every call sees new positions, a small random step away from the given ones, so that no result can come from a
    cache; a neighbour list that lives in a skin is fair, as it is in molecular dynamics. The calls that warm up
    (compilation, and one more) are timed apart.
    """
    rng = np.random.default_rng(0)
    start = atoms.positions.copy()

    def call() -> float:
        atoms.positions = start + rng.normal(scale=SHAKE, size=start.shape)
        begin = time.perf_counter()
        forces = atoms.get_forces()
        energy = atoms.get_potential_energy()
        if options.stress:
            atoms.get_stress()
        spent = time.perf_counter() - begin
        if not (np.isfinite(energy) and np.isfinite(forces).all() and forces.shape == start.shape):
            raise RuntimeError("energy or forces are not finite numbers of the right shape")
        return spent

    begin = time.perf_counter()
    atoms.calc, facts = make_calculator(atoms)
    setup = time.perf_counter() - begin
    first, second = call(), call()
    times: list[float] = []
    while len(times) < options.min_calls or (sum(times) < options.seconds and len(times) < options.max_calls):
        times.append(call())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # ru_maxrss is in kB on Linux
    atoms.positions = start
    return {
        "n_atoms": len(atoms),
        "median_ms": 1e3 * float(np.median(times)),
        "min_ms": 1e3 * min(times),
        "p90_ms": 1e3 * float(np.quantile(times, 0.9)),
        "calls": len(times),
        "setup_s": setup,
        "first_call_s": first,
        "second_call_s": second,
        "start_to_first_forces_s": begin - STARTED + setup + first,
        "peak_rss_MB": peak,
        "energy_eV": float(atoms.get_potential_energy()),
        "forces_eV_per_A": atoms.get_forces().tolist(),
        "stress_eV_per_A3": atoms.get_stress().tolist() if options.stress else None,
        "facts": {"python": platform.python_version(), **facts},
    }
