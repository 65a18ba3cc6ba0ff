"""Effective structures per second: a sampler at few and at many evaluations, beside replica exchange, training counted.

    python benchmarks/sampling_speed.py alanine-vacuum --training 780 -o speed.json

One after the other in one process, compiled before the clock starts: the sampler at 30, 40 and 500 evaluations a
sample, then replica exchange of the same molecule until 200 independent structures were met. `--training` is how many
seconds the sampler's structures and training took; break-even is the number of effective structures where they pay.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from ergodica.files import atomic_write
from ergodica.sampling.peptide_ensemble import PeptideOptions, draw_peptide, sample_peptide
from ergodica.sampling.peptides import read_peptide
from ergodica.sampling.samplers.molecule.sampler import BATCH, InternalSampler, load_internal

STEPS = (15, 20, 250)


def drawn(sampler: InternalSampler, count: int, steps: int) -> dict[str, Any]:
    """Quality and speed of independent samples."""
    draw_peptide(sampler, BATCH, steps=steps)
    began = perf_counter()
    found = draw_peptide(sampler, count, seed=1, steps=steps)
    seconds = perf_counter() - began
    assert found.log_weights is not None
    return {
        "evaluations": 2 * steps,
        "ess": found.weighted.effective / count,
        "pareto_k": found.weighted.pareto_k,
        "kl_of_samples": float(found.weighted.log_mean - np.mean(found.log_weights)),
        "samples_per_second": count / seconds,
        "effective_per_second": found.weighted.effective / seconds,
    }


def exchanged(structure: Path, system: Path) -> dict[str, Any]:
    """Speed of replica exchange."""
    peptide = read_peptide(structure, system)
    sample_peptide(peptide, PeptideOptions(1))
    began = perf_counter()
    found = sample_peptide(peptide, PeptideOptions(200, seed=1))
    seconds = perf_counter() - began
    return {
        "effective": found.effective,
        "seconds": seconds,
        "effective_per_second": found.effective / seconds,
        "energy_calls_per_second": found.calls / seconds,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sampler", help="shipped sampler or file")
    parser.add_argument("--structure", type=Path, default=Path("data/peptides/alanine.pdb"))
    parser.add_argument("--system", type=Path, default=Path("data/peptides/alanine-vacuum.xml"))
    parser.add_argument("--training", type=float, required=True, help="seconds of structures and training")
    parser.add_argument("--count", type=int, default=1024)
    parser.add_argument("--output", "-o", type=Path)
    given = parser.parse_args()
    sampler, rows = load_internal(given.sampler), []
    for steps in STEPS:
        rows.append(drawn(sampler, given.count, steps))
        print(given.sampler, json.dumps(rows[-1]), flush=True)
    exchange = exchanged(given.structure, given.system)
    print("replica exchange", json.dumps(exchange), flush=True)
    saved = 1 / exchange["effective_per_second"] - 1 / max(row["effective_per_second"] for row in rows)
    record = {"count": given.count, "sampler": rows, "replica_exchange": exchange, "training_seconds": given.training}
    record["break_even"] = given.training / saved if saved > 0 else None
    print("break-even", record["break_even"])
    if given.output is not None:
        atomic_write(given.output, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
