"""What it buys to move many structures at once: replicas of a molecule, relaxations of crystals.

    python benchmarks/batching.py replicas -m visnet-rmd17-ethanol --count 64 -o replicas.json
    python benchmarks/batching.py relax -m m3gnet-universal --count 200 -o relaxations.json
    python benchmarks/batching.py relax -m emt --count 200 --elements Al Ni Cu Pd Ag Pt Au

`replicas`: the copies side by side, and as runs one after another in one process, compiled once and, as a user of a
shell script has it, each in a process of its own (--processes of them are timed, and the time of all is in proportion).
`relax`: cells and atoms of crystals and alloys drawn by `ergodica generate`, by `relax`, and by ASE's BFGS with its
Fréchet filter one by one with Ergodica's calculator, so that the model is the same. Every figure is wall time, with
what was compiled in it, and without where it says so: the same work done a second time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import molecule
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from ergodica import Calculator, load, relax, simulate
from ergodica.datasets.generate import Stream
from ergodica.datasets.recipe import PrototypeOptions, Recipe, VariantOptions
from ergodica.files import write_structures
from ergodica.system import System

STEPS = 100
LARGEST = 16  # atoms of a crystal


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def replicas(options: argparse.Namespace) -> dict[str, Any]:
    potential, count = load(options.model), options.count
    ethanol = relax(potential, molecule("CH3CH2OH"))[0].system

    def together() -> Any:
        return simulate(potential, ethanol, steps=STEPS, replicas=count, every=STEPS)

    def apart() -> Any:
        return [simulate(potential, ethanol, steps=STEPS, seed=seed, every=STEPS) for seed in range(count)]

    first, _ = timed(together)
    second, run = timed(together)
    simulate(potential, ethanol, steps=1)
    alone, _ = timed(apart)
    with tempfile.TemporaryDirectory() as folder:
        write_structures(Path(folder, "ethanol.xyz"), [ethanol])
        command = [sys.executable, "-m", "ergodica", "md", "ethanol.xyz", "-m", options.model, "--quiet", "--overwrite"]
        command += ["--steps", str(STEPS), "--every", str(STEPS)]
        shell, _ = timed(
            lambda: [
                subprocess.run(command, cwd=folder, check=True, capture_output=True) for _ in range(options.processes)
            ]
        )
    return {
        "replicas": count,
        "steps": STEPS,
        "together_first_s": first,
        "together_s": second,
        "steps_per_s": run.steps_per_s,
        "one_after_another_s": alone,
        "one_after_another_in_processes_s": shell / options.processes * count,
        "ratio": alone / second,
        "ratio_to_processes": shell / options.processes * count / first,
    }


def crystals(options: argparse.Namespace) -> list[System]:
    """Different crystals, strained and rattled."""
    recipe = Recipe(
        seed=1, elements=tuple(options.elements or ()),
        prototypes=PrototypeOptions(elemental=True, ionic=0, metallic=options.count, alloys=options.count),
        variants=VariantOptions(number=0),
    )  # fmt: skip
    stream, found = Stream(recipe), []
    for place in range(len(stream)):
        found += [system for system in stream(place)[:1] if 1 < len(system) <= LARGEST]
    rng = np.random.default_rng(0)
    chosen = []
    for system in found[: options.count]:
        atoms = system.to_ase()
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.positions += 0.05 * rng.normal(size=atoms.positions.shape)
        chosen.append(System.from_ase(atoms))
    return chosen


def relaxations(options: argparse.Namespace) -> dict[str, Any]:
    potential, systems = load(options.model), crystals(options)

    def together() -> Any:
        return relax(potential, systems, cell=True, fmax=options.fmax, steps=options.steps)

    def one_by_one() -> list[tuple[bool, int, float]]:
        calculator, results = Calculator(potential), []
        for system in systems:
            atoms = system.to_ase()
            atoms.calc = calculator
            optimizer = BFGS(FrechetCellFilter(atoms), logfile=None)
            done = bool(optimizer.run(options.fmax, options.steps))
            results.append((done, optimizer.get_number_of_steps(), atoms.get_potential_energy() / len(atoms)))
        return results

    first, ours = timed(together)
    second, _ = timed(together)
    alone, theirs = timed(one_by_one)
    lower = [
        one.system.labels.energy / len(one.system) - energy
        for one, (done, _, energy) in zip(ours, theirs, strict=True)
        if one.converged and done
    ]
    return {
        "structures": len(systems),
        "atoms": sum(map(len, systems)),
        "fmax_eV_per_A": options.fmax,
        "together_first_s": first,
        "together_s": second,
        "ase_one_by_one_s": alone,
        "ratio_first": alone / first,
        "ratio": alone / second,
        "converged": sum(one.converged for one in ours),
        "ase_converged": sum(done for done, _, _ in theirs),
        "mean_steps": float(np.mean([one.steps for one in ours])),
        "ase_mean_steps": float(np.mean([steps for _, steps, _ in theirs])),
        "median_energy_difference_eV_per_atom": float(np.median(np.abs(lower))) if lower else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("replicas", "relax"))
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1, help="replicas: processes that are timed")
    parser.add_argument("--elements", nargs="*", help="relax: of the crystals; all that the recipe knows by default")
    parser.add_argument("--fmax", type=float, default=0.02)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    found = {"model": options.model} | (replicas(options) if options.what == "replicas" else relaxations(options))
    text = json.dumps(found, indent=2)
    print(text)
    if options.output:
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
