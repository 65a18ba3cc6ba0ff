"""Speed of ViSNet (128 channels, 6 layers, lmax 2) side by side with other programs.

    python benchmarks/visnet_speed.py --peer mlip=/path/to/python --peer pyg=/path/to/python -o FILE.json

Each measurement is a fresh process: median wall time of energy + forces through the ASE calculator, time to the first
forces, peak memory. Programs take turns within each of several rounds, so that a drift of the machine hits all equally.
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
from structures import STRUCTURES

WORKERS = Path(__file__).parent / "workers"
PROGRAMS = ("ergodica", "mlip", "pyg")
SUMMARISED = ("median_ms", "min_ms", "p90_ms", "setup_s", "first_call_s", "start_to_first_forces_s", "peak_rss_MB")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help="mlip=... or pyg=...")
    parser.add_argument("--systems", nargs="+", choices=STRUCTURES, default=list(STRUCTURES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0, help="of repeated calls in each process")
    parser.add_argument("--min-calls", type=int, default=5, help="in each process, however long they take")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for one process")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    options.programs = {"ergodica": sys.executable}
    for peer in options.peer:
        name, equals, python = peer.partition("=")
        if name not in PROGRAMS or not equals:
            parser.error(f"--peer {peer}: write mlip=/path/to/python or pyg=/path/to/python")
        options.programs[name] = python
    return options


def run_worker(program: str, python: str, file: Path, options: argparse.Namespace) -> dict:
    """One process; its JSON object, or {"error": last line of what went wrong}."""
    command = [python, str(WORKERS / f"{program}_worker.py"), str(file)]
    command += ["--seconds", str(options.seconds), "--min-calls", str(options.min_calls)]
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
                    print(f"round {turn + 1}/{options.rounds}  {system:9s} {program} ...", end=" ", file=sys.stderr)
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
        f"{'system':10s}{'atoms':>6s}  {'program':10s}{'E+F ms':>10s}{'ratio':>8s}{'first s':>9s}{'RSS MB':>8s}  note"
    )
    for system, programs in summary.items():
        own = programs["ergodica"].get("median_ms")
        for program, row in programs.items():
            if "error" in row:
                print(f"{system:10s}{'':6s}  {program:10s}{'failed':>10s}  {row['error']}")
                continue
            ratio = f"{row['median_ms'] / own:.2f}" if own else "-"
            print(
                f"{system:10s}{row['n_atoms']:6d}  {program:10s}{row['median_ms']:10.2f}{ratio:>8s}"
                f"{row['start_to_first_forces_s']:9.2f}{row['peak_rss_MB']:8.0f}  {row['facts'].get('note', '')}"
            )


def main() -> int:
    """Measure, print, write; 1 if a program failed everywhere on a system."""
    options = parse_arguments()
    report = {
        "benchmark": "ViSNet, 128 channels, 6 layers, lmax 2, float32: energy + forces through the ASE calculator",
        "date": datetime.now(UTC).date().isoformat(),
        "settings": {"rounds": options.rounds, "seconds": options.seconds, "min_calls": options.min_calls},
        "machine": machine(),
    }
    results = measure(options)
    summary = {
        system: {program: summarise(runs) for program, runs in programs.items()} for system, programs in results.items()
    }
    print_table(summary)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        temporary = options.output.with_suffix(".part")
        temporary.write_text(json.dumps({**report, "results": summary}, indent=2) + "\n")
        temporary.replace(options.output)
    return int(any("error" in row for programs in summary.values() for row in programs.values()))


if __name__ == "__main__":
    sys.exit(main())
