"""Speed of a network side by side with other programs.

    python benchmarks/speed.py visnet --peer mlip=/path/to/python --peer pyg=/path/to/python -o FILE.json
    python benchmarks/speed.py m3gnet --peer mattersim=/path/to/python -o FILE.json
    python benchmarks/speed.py m3gnet --peer mattersim=/path/to/python --md
    python benchmarks/speed.py lj --peer jaxmd=/path/to/python --md
    python benchmarks/speed.py emt --peer ase=/path/to/python --md

Each measurement is a fresh process: median wall time of a call of the ASE calculator (with --md: of a step of molecular
dynamics at constant energy, by the program's own engine where it has one, else by ASE), time to the first forces, peak
memory. Where the weights are equal, so must be the results: their largest differences are printed. Programs take turns
within each of several rounds, so that a drift of the machine hits all equally.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import ase.io
import numpy as np
from structures import STRUCTURES

WORKERS = Path(__file__).parent / "workers"
NETWORKS = {
    "visnet": {
        "title": "ViSNet, 128 channels, 6 layers, lmax 2, float32: energy + forces",
        "peers": ("mlip", "pyg"),
        "systems": ("ethanol", "aspirin", "water64", "water192"),
        "options": (),
        "same_weights": False,
        "timestep": 0.5,
    },
    "m3gnet": {
        "title": "M3GNet, 128 channels, 3 blocks (mattersim-v1.0.0-1M), float32: energy + forces + stress",
        "peers": ("mattersim",),
        "systems": ("silicon64", "silicon216", "silicon512", "silicon1000"),
        "options": ("--stress",),
        "same_weights": True,
        "timestep": 1.0,
    },
    "lj": {
        "title": "Lennard-Jones argon, switched off between 2 and 2.5 sigma, float32",
        "peers": ("jaxmd",),
        "systems": ("argon1000",),
        "options": (),
        "same_weights": True,
        "timestep": 2.0,
    },
    "emt": {
        "title": "Effective-medium theory of copper; Ergodica in float32, ASE in float64",
        "peers": ("ase",),
        "systems": ("copper1372",),
        "options": ("--stress",),
        "same_weights": True,
        "timestep": 2.0,
    },
}
SUMMARISED = ("median_ms", "min_ms", "p90_ms", "setup_s", "first_call_s", "start_to_first_forces_s", "peak_rss_MB")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help="its interpreter")
    parser.add_argument("--systems", nargs="+", choices=STRUCTURES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of repeated calls in each process")
    parser.add_argument("--min-calls", type=int, default=5, help="in each process, however long they take")
    parser.add_argument("--md", action="store_true", help="time steps of molecular dynamics")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for one process")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    network = NETWORKS[options.network]
    options.systems = options.systems or list(network["systems"])
    options.programs = {"ergodica": sys.executable}
    for peer in options.peer:
        name, equals, python = peer.partition("=")
        if name not in network["peers"] or not equals:
            parser.error(f"--peer {peer}: write {'=... or '.join(network['peers'])}=/path/to/python")
        options.programs[name] = python
    return options


def run_worker(program: str, python: str, file: Path, options: argparse.Namespace) -> dict:
    """One process; its JSON object, or {"error": last line of what went wrong}."""
    network = NETWORKS[options.network]
    command = [python, str(WORKERS / f"{options.network}_{program}.py"), str(file)]
    command += ["--seconds", str(options.seconds), "--min-calls", str(options.min_calls)]
    command += ["--md", str(NETWORKS[options.network]["timestep"])] if options.md else network["options"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.timeout, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {options.timeout:g} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def measure(options: argparse.Namespace) -> dict[str, dict[str, list[dict]]]:
    """system → program → one result a round; programs start in another order each round."""
    results: dict = {system: {program: [] for program in options.programs} for system in options.systems}
    names = list(options.programs)
    with tempfile.TemporaryDirectory() as folder:
        for system in options.systems:
            ase.io.write(Path(folder, f"{system}.xyz"), STRUCTURES[system](), format="extxyz")
        for turn in range(options.rounds):
            for system in options.systems:
                for program in names[turn % len(names) :] + names[: turn % len(names)]:
                    print(f"round {turn + 1}/{options.rounds}  {system:11s} {program} ...", end=" ", file=sys.stderr)
                    sys.stderr.flush()
                    file = Path(folder, f"{system}.xyz")
                    result = run_worker(program, options.programs[program], file, options)
                    results[system][program].append(result)
                    print(result.get("error") or f"{result['median_ms']:.1f} ms", file=sys.stderr)
    return results


def summarise(runs: list[dict]) -> dict:
    """Median over the rounds of each figure, with the spread of the main one."""
    good = [run for run in runs if "error" not in run]
    if not good:
        return {"error": runs[-1]["error"], "rounds": 0}
    medians = [run["median_ms"] for run in good]
    return {
        **{key: round(statistics.median(run[key] for run in good), 3) for key in SUMMARISED},
        "median_ms_of_rounds": [round(value, 3) for value in medians],
        "n_atoms": good[0]["n_atoms"],
        "rounds": len(good),
        "failed_rounds": len(runs) - len(good),
        "facts": good[0]["facts"],
    }


def differences(runs: dict[str, list[dict]]) -> dict[str, dict[str, float]]:
    """Largest deviation of each peer's energy (eV/atom), forces (eV/Å) and stress (eV/Å³) from Ergodica's."""
    found = {}
    own = next((run for run in runs["ergodica"] if "error" not in run), None)
    for program in runs if own else ():
        peer = next((run for run in runs[program] if "error" not in run), None)
        if program != "ergodica" and peer:
            keys = ("energy_eV", "forces_eV_per_A", "stress_eV_per_A3")
            parts = {key: float(np.abs(np.subtract(own[key], peer[key])).max()) for key in keys if own[key]}
            energy = parts.pop("energy_eV") / own["n_atoms"]
            found[program] = {"energy_eV_per_atom": energy} | parts
    return found


def machine() -> dict:
    """What the timings depend on; nothing that names the machine."""
    cpu, memory = platform.processor(), None
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_GiB": memory,
        "system": platform.system(),
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
    }


def print_table(summary: dict[str, dict[str, dict]]) -> None:
    """Medians, and how many times Ergodica's each figure is."""
    print(
        f"{'system':12s}{'atoms':>6s}  {'program':10s}{'call ms':>10s}{'ratio':>8s}{'first s':>9s}{'RSS MB':>8s}  note"
    )
    for system, programs in summary.items():
        own = programs["ergodica"].get("median_ms")
        for program, row in programs.items():
            if "error" in row:
                print(f"{system:12s}{'':6s}  {program:10s}{'failed':>10s}  {row['error']}")
                continue
            ratio = f"{row['median_ms'] / own:.2f}" if own else "-"
            print(
                f"{system:12s}{row['n_atoms']:6d}  {program:10s}{row['median_ms']:10.2f}{ratio:>8s}"
                f"{row['start_to_first_forces_s']:9.2f}{row['peak_rss_MB']:8.0f}  {row['facts'].get('note', '')}"
            )


def main() -> int:
    """Measure, print, write; 1 if a program failed everywhere on a system."""
    options = parse_arguments()
    report = {
        "benchmark": f"{NETWORKS[options.network]['title']}, {'steps of dynamics' if options.md else 'ASE calculator'}",
        "date": datetime.now(UTC).date().isoformat(),
        "settings": {"rounds": options.rounds, "seconds": options.seconds, "min_calls": options.min_calls},
        "machine": machine(),
    }
    results = measure(options)
    summary = {
        system: {program: summarise(runs) for program, runs in programs.items()} for system, programs in results.items()
    }
    print_table(summary)
    if NETWORKS[options.network]["same_weights"] and not options.md:
        report["largest_differences"] = {system: differences(runs) for system, runs in results.items()}
        print(json.dumps(report["largest_differences"], indent=2))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        temporary = options.output.with_suffix(".part")
        temporary.write_text(json.dumps({**report, "results": summary}, indent=2) + "\n")
        temporary.replace(options.output)
    return int(any("error" in row for programs in summary.values() for row in programs.values()))


if __name__ == "__main__":
    sys.exit(main())
