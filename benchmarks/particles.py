"""Samplers of particles that were trained from the energy alone: effective samples, distances to a reference, cost.

    python benchmarks/particles.py dw4 lj13 --output benchmarks/results/particles.json

The reference is Hamiltonian Monte Carlo of another seed than those of the training; a second one gives the floor of
each number. Of samples as drawn, and of as many drawn again by their weights:

- W2: Wasserstein-2 distance of positions, each pair of configurations on top of each other as in equivariant flow
  matching (Klein, Krämer and Noé 2023): particles are matched first, then turned (and reflected);
- W2 plain: the same without matching or turning, as in iDEM's own table;
- W2 of energies, kT;
- TV: total variation of the histogram of distances between particles, 100 bins.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist, pdist

from ergodica.files import atomic_write
from ergodica.sampling.diffusion.reweighting import reweight
from ergodica.sampling.energies.analytic import Particles
from ergodica.sampling.samplers.particles.sampler import draw_particles, load_particles
from ergodica.sampling.walks.hamiltonian import Walk, walk

SEEDS, COMPARED, BINS = 3, 512, 100
REFERENCE = Walk(chains=256, settling=400, records=100, stride=10)


def matched(one: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Squared distances of a configuration [N, D] to others [M, N, D]: particles matched, then turned on top."""
    order = np.array([linear_sum_assignment(cdist(one, other, "sqeuclidean"))[1] for other in others])
    paired = np.take_along_axis(others, order[:, :, None], axis=1)
    reach = np.linalg.svd(np.einsum("nd,mne->mde", one, paired), compute_uv=False).sum(axis=1)
    return np.maximum((one**2).sum() + (paired**2).sum(axis=(1, 2)) - 2 * reach, 0)


def transported(costs: np.ndarray) -> float:
    """Root of the least mean cost of carrying one set to the other."""
    return float(np.sqrt(costs[linear_sum_assignment(costs)].mean()))


def distances(x: np.ndarray, energies: np.ndarray, reference: np.ndarray, levels: np.ndarray) -> dict[str, float]:
    """All that is measured between samples and a reference."""
    few, fewer = x[:COMPARED], reference[:COMPARED]
    flat, flatter = few.reshape(len(few), -1), fewer.reshape(len(fewer), -1)
    size = min(len(energies), len(levels))
    energies, levels = np.sort(energies[:size]), np.sort(levels[:size])
    lengths, others = (np.concatenate([pdist(one) for one in part]) for part in (x, reference))
    edges = np.linspace(0, max(lengths.max(), others.max()), BINS + 1)
    shares = [np.histogram(part, edges)[0] / len(part) for part in (lengths, others)]
    return {
        "w2": transported(np.array([matched(one, fewer) for one in few])),
        "w2_plain": transported(cdist(flat, flatter, "sqeuclidean")),
        "w2_energy": float(np.sqrt(np.mean((energies - levels) ** 2))),
        "tv": float(0.5 * np.abs(shares[0] - shares[1]).sum()),
    }


def reference(target: Particles, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Equilibrium states in random order and orientation, and their energies."""
    rng = np.random.default_rng(seed)
    x = walk(target, REFERENCE, seed=seed).x.reshape(-1, *target.shape)
    x = turned(x[rng.permutation(len(x))[:count]], rng)
    return x, np.asarray(target(x))


def turned(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each configuration turned at random."""
    return np.einsum("mnd,mde->mne", x, np.linalg.qr(rng.normal(size=(len(x), x.shape[2], x.shape[2])))[0])


def measure(name: str, count: int, steps: int) -> dict[str, Any]:
    """All figures of one sampler."""
    sampler = load_particles(name)
    target = sampler.energy
    known, floor = (reference(target, seed, count) for seed in (1001, 1002))
    runs = []
    for seed in range(SEEDS):
        began = perf_counter()
        drawn = draw_particles(sampler, count, seed=seed, steps=steps)
        seconds = perf_counter() - began
        weighted = reweight(-drawn.energies - drawn.log_density)
        rows = np.random.default_rng(seed).choice(len(drawn.x), size=len(drawn.x), p=weighted.weights)
        runs.append(
            {
                "ess": weighted.effective / count,
                "pareto_k": weighted.pareto_k,
                "folded": drawn.folded,
                "seconds": seconds,
                "drawn": distances(drawn.x, drawn.energies, *known),
                "weighted": distances(drawn.x[rows], drawn.energies[rows], *known),
            }
        )
        print(name, json.dumps(runs[-1]), flush=True)
    return {
        "target": sampler.target,
        "samples": count,
        "steps": steps,
        "energy_calls_of_training": sampler.info.errors.get("energy_calls"),
        "energy_calls_of_reference": REFERENCE.calls,
        "floor": distances(*floor, *known),
        "runs": runs,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samplers", nargs="+", help="shipped samplers or files")
    parser.add_argument("--count", type=int, default=1024, help="samples of each of three seeds")
    parser.add_argument("--steps", type=int, default=24, help="of Heun's rule")
    parser.add_argument("--output", "-o", type=Path)
    args = parser.parse_args()
    found = {name: measure(name, args.count, args.steps) for name in args.samplers}
    text = json.dumps(found, indent=1)
    print(text)
    if args.output:
        atomic_write(args.output, (text + "\n").encode())


if __name__ == "__main__":
    main()
