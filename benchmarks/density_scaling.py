"""Time and peak memory of a minimised density against the number of electrons, beside Kohn-Sham in the same run.

    python benchmarks/density_scaling.py water4.xyz water8.xyz water16.xyz water50.xyz -f MODEL --series water \
        --orbitals-up-to 170 -o benchmarks/results/density_scaling.json --plot docs/ofdft_scaling.png

Each file holds one molecule; each calculation is a process of its own with the same number of threads, one after
another. A series joins those that the file of results holds already, and all are plotted. Everything counts: integrals,
roots, start, minimisation, energy, forces, dipole; `first` with compiling, if the program is not in the cache, `again`
without. Kohn-Sham is PySCF's, PBE/6-31G(2df,p), Coulomb energy fitted, grid level 2, converged to 1e-6 Ha, which is the
faster way to do it there; its forces are counted as well. Exponents are of the straight line through the logarithms of
sizes from 100 electrons.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scaling import peak_bytes

LINEAR_FROM = 100


def orbital_free(path: str, functional: str) -> dict[str, Any]:
    from ergodica.dft.run import DensityOptions, minimize_density
    from ergodica.files import read_structures

    system = read_structures(path)[0]
    times = []
    for _ in range(2):
        began = time.perf_counter()
        found = minimize_density(system, DensityOptions(functional, force=True))[0]
        times.append(time.perf_counter() - began)
    return {
        "first_s": times[0],
        "again_s": times[1],
        "evaluations": found.iterations,
        "converged": found.converged,
        "energy_Ha": found.energy,
        "functions": len(found.coefficients),
        "peak_GB": peak_bytes() / 2**30,
    }


def kohn_sham(path: str) -> dict[str, Any]:
    from ergodica.dft.labels.reference import kohn_sham_solver
    from ergodica.files import read_structures

    began = time.perf_counter()
    solver = kohn_sham_solver(read_structures(path)[0], grid_level=2).density_fit().set(conv_tol=1e-6)
    energy = solver.kernel()
    half = time.perf_counter()
    solver.nuc_grad_method().kernel()
    return {
        "energy_s": half - began,
        "again_s": time.perf_counter() - began,
        "cycles": solver.cycles,
        "energy_Ha": energy,
        "peak_GB": peak_bytes() / 2**30,
    }


def exponent(rows: list[dict[str, Any]], method: str) -> float | None:
    large = [row for row in rows if row["electrons"] >= LINEAR_FROM and method in row]
    if len(large) < 2:
        return None
    times = np.log([row[method]["again_s"] for row in large])
    return float(np.polyfit(np.log([row["electrons"] for row in large]), times, 1)[0])


def plot(series: dict[str, Any], path: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4.0), layout="constrained")
    kinds = (("kohn_sham", "again_s", "Kohn-Sham (PySCF)", "-", "tab:gray"),
             ("orbital_free", "first_s", "orbital-free, first time", ":", "tab:blue"),
             ("orbital_free", "again_s", "orbital-free", "-", "tab:blue"))  # fmt: skip
    for (name, record), marker in zip(series.items(), "os^v", strict=False):
        for method, key, label, line, colour in kinds:
            known = [row for row in record["sizes"] if method in row]
            electrons = [row["electrons"] for row in known]
            style = {"color": colour, "marker": marker, "linestyle": line, "label": f"{name}, {label}"}
            left.loglog(electrons, [row[method][key] for row in known], **style)
            if key == "again_s":
                right.loglog(electrons, [row[method]["peak_GB"] for row in known], **style)
    left.set(xlabel="electrons", ylabel="seconds, energy and forces")
    right.set(xlabel="electrons", ylabel="peak memory, GB", yticks=[1, 2, 5, 10], yticklabels=["1", "2", "5", "10"])
    for panel in (left, right):
        panel.set_xticks([50, 100, 200, 500], labels=["50", "100", "200", "500"])
        panel.grid(alpha=0.3)
        panel.minorticks_off()
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(series), frameon=False, fontsize="small")
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("-f", "--functional", required=True, help="file of a learned one, or the name of a shipped one")
    parser.add_argument("--series", default="molecules", help="what the molecules are")
    parser.add_argument("--orbitals-up-to", type=int, default=170, help="electrons of Kohn-Sham's largest")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--one", choices=["orbital_free", "kohn_sham"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        work = {"orbital_free": lambda: orbital_free(options.files[0], options.functional),
                "kohn_sham": lambda: kohn_sham(options.files[0])}  # fmt: skip
        print(json.dumps(work[options.one]()))
        return
    rows = [measured(file, options) for file in options.files]
    record = {
        "functional": options.functional,
        "threads": options.threads,
        "exponents": {method: exponent(rows, method) for method in ("orbital_free", "kohn_sham")},
        "sizes": rows,
    }
    print(json.dumps(record["exponents"]))
    series = json.loads(options.output.read_text()) if options.output and options.output.exists() else {}
    series[options.series] = record
    if options.output:
        options.output.write_text(json.dumps(series, indent=1) + "\n")
    if options.plot:
        plot(series, options.plot)


def measured(file: str, options: argparse.Namespace) -> dict[str, Any]:
    from ergodica.files import read_atoms

    atoms = read_atoms(file)[0]
    row: dict[str, Any] = {"formula": atoms.get_chemical_formula(), "electrons": int(atoms.numbers.sum())}
    threads = str(options.threads)
    surroundings = os.environ | {name: threads for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    methods = ["orbital_free", "kohn_sham"] if row["electrons"] <= options.orbitals_up_to else ["orbital_free"]
    for method in methods:
        words = [sys.executable, __file__, file, "-f", options.functional, "--one", method]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env=surroundings)
        row[method] = json.loads(done.stdout.strip().splitlines()[-1])
        print(json.dumps({"electrons": row["electrons"], method: row[method]}), flush=True)
    return row


if __name__ == "__main__":
    main()
