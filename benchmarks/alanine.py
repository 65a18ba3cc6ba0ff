"""Samplers of alanine dipeptide against replica exchange: populations, free energies, energies, and both ways of BAR.

    ergodica sample data/peptides/alanine.pdb -f data/peptides/alanine-vacuum.xml --n 1500 --seed 1 -o one
    ergodica sample data/peptides/alanine.pdb -f data/peptides/alanine-vacuum.xml --n 1500 --seed 2 -o two
    python benchmarks/alanine.py alanine-vacuum --reference one/ensemble.npz two/ensemble.npz -o alanine.json

References are independent runs of other seeds than those of the training. Of three seeds of the sampler:

- ESS and k̂ of the weights, in all 60 internal degrees of freedom;
- JS: Jensen-Shannon divergence of the map of φ and ψ (18 x 18 bins, nats) from both references together, beside that
  of one reference from the other (the floor; as drawn and by weight);
- ΔF: free energy of φ > 0 (C7ax and αL) above φ < 0, kcal/mol, with the error of the bootstrap;
- W2 of energies, kT, from the references; those as drawn are cut 30 kT above the highest of the reference;
- ln Z by weights, by the density that the sampler gives to states of the reference, and by Bennett's ratio of both.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ergodica.files import atomic_write
from ergodica.sampling.diffusion.flow import flow_density
from ergodica.sampling.diffusion.reweighting import bennett, reweight
from ergodica.sampling.peptide_ensemble import PeptideEnsemble, draw_peptide
from ergodica.sampling.peptides import backbone_angles
from ergodica.sampling.samplers.molecule.sampler import STEPS, InternalSampler, load_internal, log_boltzmann
from ergodica.units import KB, KCAL_PER_MOL

SEEDS, BINS, BOOTSTRAPS, CHECKED = 3, 18, 200, 512


def ramachandran(angles: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The map of φ and ψ, summing to 1."""
    edges = np.linspace(-np.pi, np.pi, BINS + 1)
    counts = np.histogram2d(*angles.T, bins=[edges, edges], weights=weights)[0]
    return counts / counts.sum()


def divergence(one: np.ndarray, other: np.ndarray) -> float:
    """Jensen and Shannon's, nats."""
    middle = 0.5 * (one + other)

    def part(p: np.ndarray) -> float:
        inside = p > 0
        return float(np.sum(p[inside] * np.log(p[inside] / middle[inside])))

    return 0.5 * (part(one) + part(other))


def free_energy(angles: np.ndarray, weights: np.ndarray, heat: float, rng: np.random.Generator) -> tuple[float, float]:
    """Of φ > 0 above φ < 0, kcal/mol, and the error of the bootstrap."""
    right = angles[:, 0] > 0

    def of(rows: np.ndarray) -> float:
        share = weights[rows][right[rows]].sum() / weights[rows].sum()
        return float(-heat / KCAL_PER_MOL * np.log(share / (1 - share)))

    every = np.arange(len(angles))
    return of(every), float(np.std([of(rng.choice(every, len(every))) for _ in range(BOOTSTRAPS)]))


def wasserstein(one: np.ndarray, weights: np.ndarray, other: np.ndarray) -> float:
    """W2 between weighted numbers and others, by their quantiles."""
    order = np.argsort(one)
    places = (np.arange(2000) + 0.5) / 2000
    quantiles = np.interp(places, np.cumsum(weights[order]) / weights.sum(), one[order])
    return float(np.sqrt(np.mean((quantiles - np.quantile(other, places)) ** 2)))


def reference(path: Path, text: str) -> dict[str, np.ndarray]:
    """Angles, energies and structures of an ensemble."""
    with np.load(path, allow_pickle=False) as file:
        positions, energies, walker = (np.asarray(file[name]) for name in ("positions", "energies", "walker"))
    (angles,) = backbone_angles(text, positions).values()
    return {"positions": positions, "energies": energies, "angles": angles, "walker": walker}


def backward(sampler: InternalSampler, positions: np.ndarray) -> tuple[np.ndarray, float]:
    """ln of Boltzmann factor over density of the sampler, at states of a reference; share of which it has none."""

    @jax.jit
    def of(positions: jax.Array) -> tuple[jax.Array, jax.Array]:
        space, x = sampler.chart.space, sampler.chart.coordinates(positions)
        density, off = flow_density(sampler.denoiser(), space, x, noise=sampler.noise, steps=STEPS)
        return log_boltzmann(sampler.chart, sampler.energy, sampler.temperature, x) - density, off

    parts = [of(jnp.asarray(positions[start : start + 64])) for start in range(0, len(positions), 64)]
    values, off = (np.concatenate(part) for part in zip(*parts, strict=True))
    found = off < 1e-3
    return values[found], 1 - float(found.mean())


def compared(drawn: PeptideEnsemble, known: list[dict[str, np.ndarray]], seed: int) -> dict[str, Any]:
    """Figures of one run."""
    rng, heat = np.random.default_rng(seed), KB * drawn.temperature
    (angles,) = drawn.backbone().values()
    weights, even = drawn.weighted.weights, np.full(len(angles), 1 / len(angles))
    whole = ramachandran(np.concatenate([one["angles"] for one in known]))
    energies = np.concatenate([one["energies"] for one in known]) / heat
    return {
        "ess": drawn.weighted.effective / len(angles),
        "pareto_k": drawn.weighted.pareto_k,
        "folded": drawn.folded,
        "js_drawn": divergence(ramachandran(angles), whole),
        "js_weighted": divergence(ramachandran(angles, weights), whole),
        "free_energy_drawn": free_energy(angles, even, heat, rng),
        "free_energy_weighted": free_energy(angles, weights, heat, rng),
        "w2_energy_drawn": wasserstein(np.minimum(drawn.energies / heat, energies.max() + 30), even, energies),
        "w2_energy_weighted": wasserstein(drawn.energies / heat, weights, energies),
        "log_partition": (drawn.weighted.log_mean, drawn.weighted.log_mean_error),
    }


def between(one: dict[str, np.ndarray], other: dict[str, np.ndarray], heat: float, count: int) -> dict[str, Any]:
    """What two references differ by, and so many states of one; their free energies with errors by their walkers."""
    free = []
    for known in (one, other):
        right = np.array(
            [np.mean(known["angles"][known["walker"] == w, 0] > 0) for w in range(known["walker"].max() + 1)]
        )
        share, error = right.mean(), right.std(ddof=1) / np.sqrt(len(right))
        free.append(
            (-heat / KCAL_PER_MOL * np.log(share / (1 - share)), heat / KCAL_PER_MOL * error / share / (1 - share))
        )
    even = np.ones(len(one["energies"]))
    few = other["angles"][np.random.default_rng(0).choice(len(other["angles"]), count)]
    return {
        "js": divergence(ramachandran(one["angles"]), ramachandran(other["angles"])),
        "js_as_many": divergence(ramachandran(few), ramachandran(np.concatenate([one["angles"], other["angles"]]))),
        "free_energies": free,
        "w2_energy": wasserstein(one["energies"] / heat, even, other["energies"] / heat),
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samplers", nargs="+", help="shipped samplers or files")
    parser.add_argument("--reference", type=Path, nargs=2, required=True, help="two ensembles of replica exchange")
    parser.add_argument("--count", type=int, default=2048, help="samples of each of three seeds")
    parser.add_argument("--output", "-o", type=Path)
    given = parser.parse_args()
    result = {}
    for name in given.samplers:
        sampler = load_internal(name)
        heat = KB * sampler.temperature
        known = [reference(path, sampler.structure) for path in given.reference]
        rows = np.random.default_rng(0).choice(len(known[0]["positions"]), CHECKED, replace=False)
        back, lost = backward(sampler, known[0]["positions"][rows])
        runs = []
        for seed in range(SEEDS):
            began = perf_counter()
            drawn = draw_peptide(sampler, given.count, seed=seed)
            seconds = perf_counter() - began
            both = bennett(drawn.log_weights, back)
            reverse = reweight(-back)
            ways = {
                "bennett": both,
                "reverse": (-reverse.log_mean, reverse.log_mean_error),
                "pareto_k_reverse": reverse.pareto_k,
                "not_undone": lost,
            }
            runs.append({**compared(drawn, known, seed), **ways, "seconds": seconds})
            print(name, json.dumps(runs[-1]), flush=True)
        calls = sampler.info.errors.get("energy_calls")
        result[name] = {
            "floor": between(*known, heat, given.count),
            "energy_calls": calls,
            "samples": given.count,
            "runs": runs,
        }
        print(name, "floor", json.dumps(result[name]["floor"]), flush=True)
    if given.output is not None:
        atomic_write(given.output, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
