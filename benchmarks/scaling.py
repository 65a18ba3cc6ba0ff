"""Time of a step and peak memory against the number of atoms.

    python benchmarks/scaling.py lj -o benchmarks/results/scaling_lj.json --plot docs/scaling_lj.png
    python benchmarks/scaling.py m3gnet-elements --cells 2 3 4 6 -o benchmarks/results/scaling_m3gnet.json

Constant energy from a lattice at 60 K (argon for lj, silicon otherwise), float32, one process for each size. Both the
wall clock and the processor time of all threads are taken, with the lists of neighbours that fell into those steps
(`lists`); on a shared machine only the second means something. Exponents are those of the straight line through the
logarithms of the sizes of 500 atoms and more. Memory is the growth of the process's peak from before the structure was
made to after the last step.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

CELLS = (3, 6, 12, 20, 30)
"""Cubic cells of four atoms along an edge: 108 to 108,000 atoms of argon."""
LINEAR_FROM = 500


def peak_bytes() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(model: str, cells: int, seconds: float) -> dict[str, float]:
    from ase.build import bulk

    from ergodica import load
    from ergodica.dynamics.engine import Engine
    from ergodica.dynamics.options import MDOptions
    from ergodica.system import System

    crystal = bulk("Ar", "fcc", a=5.3, cubic=True) if model == "lj" else bulk("Si", cubic=True)
    potential = load(model)
    before = peak_bytes()
    atoms = crystal.repeat(cells)
    moved = Engine(potential, [System.from_ase(atoms)], MDOptions(ensemble="nve", temperature=60.0, timestep=2.0))
    moved.advance(2)
    steps, lists, wall, cpu = 0, 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds or steps < 10:
        lists += moved.advance(10).lists
        steps += 10
    return {
        "atoms": len(atoms),
        "steps": steps,
        "lists": lists,
        "neighbor_slots": moved._width,
        "wall_ms_per_step": 1e3 * (time.perf_counter() - wall) / steps,
        "cpu_ms_per_step": 1e3 * (time.process_time() - cpu) / steps,
        "peak_bytes_per_atom": (peak_bytes() - before) / len(atoms),
    }


def exponents(rows: list[dict[str, float]]) -> dict[str, float]:
    large = [row for row in rows if row["atoms"] >= LINEAR_FROM]
    size = np.log([row["atoms"] for row in large])
    return {
        key: float(np.polyfit(size, np.log([row[f"{key}_ms_per_step"] for row in large]), 1)[0])
        for key in ("wall", "cpu")
    }


def plot(record: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    rows = record["sizes"]
    atoms = np.array([row["atoms"] for row in rows])
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for key in ("wall", "cpu"):
        left.loglog(atoms, [row[f"{key}_ms_per_step"] for row in rows], "o-", label=f"{key} time")
    last = rows[-1]
    left.loglog(atoms, last["cpu_ms_per_step"] * atoms / last["atoms"], "k:", label="linear")
    left.set(xlabel="atoms", ylabel="ms per step", title=record["model"])
    left.legend(frameon=False)
    right.loglog(atoms, [row["peak_bytes_per_atom"] / 1e3 for row in rows], "o-")
    right.set(xlabel="atoms", ylabel="peak memory, kB per atom")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--cells", type=int, nargs="+", default=list(CELLS), help="along an edge")
    parser.add_argument("--seconds", type=float, default=3.0, help="least time of each measurement")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.model, options.one, options.seconds)))
        return
    rows = []
    for cells in options.cells:
        words = [sys.executable, __file__, options.model, "--one", str(cells), "--seconds", str(options.seconds)]
        rows.append(json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print(json.dumps(rows[-1]), flush=True)
    record = {"model": options.model, "exponents_from_500_atoms": exponents(rows), "sizes": rows}
    print(json.dumps(record["exponents_from_500_atoms"]))
    if options.output:
        options.output.write_text(json.dumps(record, indent=1) + "\n")
    if options.plot:
        plot(record, options.plot)


if __name__ == "__main__":
    main()
