"""Training from the energy alone: adjoint matching, the same with weights, and physics-informed pre-training (PIDP).

    python benchmarks/energy_only.py --output benchmarks/results/energy_only.json

Every method trains the same network in as many rounds, each target with three seeds; what the file holds already is
not done again. Of each sampler:

- ESS and k̂ of its weights;
- KL of the samples from the target, and of the target from the samples (nats; the exact density of the sampler's steps
  at states of a reference, and ln Z by Bennett's ratio of both);
- total variation of the populations of modes, as drawn and by weight, beside that of two halves of the reference;
- evaluations of the energy, and seconds of training.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ergodica.files import atomic_write
from ergodica.sampling.diffusion.flow import flow_density
from ergodica.sampling.diffusion.reweighting import bennett, reweight
from ergodica.sampling.energies.analytic import ANALYTIC, GaussianMixture, ManyWells, MuellerBrown
from ergodica.sampling.samplers.analytic.sampler import EnergySampler, draw_from_energy, load_energy_sampler
from ergodica.sampling.samplers.analytic.training import EnergyData, EnergyTraining, train_from_energy
from ergodica.sampling.samplers.molecule.network import InternalNetworkConfig
from ergodica.training.options import OptimizerOptions, RunOptions

SEEDS, CHECKED, STEPS = 3, 1024, 20
METHODS: dict[str, tuple[Any, bool]] = {
    "adjoint": ("adjoint", False),
    "adjoint, reweighted": ("reweighted", False),
    "pidp, score": ("pidp", False),
    "pidp, log-density": ("pidp", True),
}
"""Method, and whether the network is a log-density."""
MINIMA = np.array([[-0.558, 1.442], [0.623, 0.028], [-0.050, 0.467]])
"""Of Müller and Brown."""


def recipe(target: str, method: str, seed: int, folder: Path) -> EnergyTraining:
    """How each is trained: nothing but the method differs."""
    how, potential = METHODS[method]
    return EnergyTraining(
        InternalNetworkConfig(hidden=64, blocks=3, potential=potential),
        EnergyData(target, how, rounds=9),
        OptimizerOptions(learning_rate=1e-3, warmup=100, ema=0.995, clip=1.0),
        RunOptions(epochs=1, batch_size=128, steps_per_call=50, seed=seed),
        output=str(folder),
    )


def states(target: str, count: int, seed: int) -> np.ndarray:
    """Independent states of a target: exact ones, or of a fine grid."""
    known, rng = ANALYTIC[target].target, np.random.default_rng(seed)
    if isinstance(known, GaussianMixture):
        return np.asarray(known.draw(jax.random.key(seed), count))
    if isinstance(known, MuellerBrown):
        sides = np.linspace(-2.0, 1.5, 700), np.linspace(-0.7, 2.4, 700)
        grid = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2)
        shares = np.exp(-np.asarray(known(jnp.asarray(grid)), float))
        cell = np.array([side[1] - side[0] for side in sides])
        return grid[rng.choice(len(grid), count, p=shares / shares.sum())] + cell * (rng.uniform(size=(count, 2)) - 0.5)
    assert isinstance(known, ManyWells)
    side = np.linspace(-3.0, 3.0, 6001)
    share = np.exp(-(side**4 - 6 * side**2 - 0.5 * side))
    wells = side[rng.choice(len(side), (count, known.pairs), p=share / share.sum())]
    return np.concatenate([wells, rng.standard_normal((count, known.pairs))], axis=1)


def modes(target: str, x: np.ndarray) -> np.ndarray:
    """Which mode each state is in: of the nearest centre, or by the sides of the wells."""
    known = ANALYTIC[target].target
    if isinstance(known, GaussianMixture | MuellerBrown):
        centres = np.array(known.means) if isinstance(known, GaussianMixture) else MINIMA
        return ((x[:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1)
    assert isinstance(known, ManyWells)
    return (x[:, : known.pairs] > 0) @ (2 ** np.arange(known.pairs))


def shares(target: str, x: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Populations of modes."""
    counts = np.bincount(modes(target, x), weights, minlength=9)
    return counts / counts.sum()


def apart(one: np.ndarray, other: np.ndarray) -> float:
    """Total variation."""
    return float(0.5 * np.abs(one - other).sum())


def density(sampler: EnergySampler) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """The log-density that the sampler's steps have at states."""
    denoiser, space, noise = sampler.denoiser(), sampler.known.space, sampler.noise
    return jax.jit(lambda y: flow_density(denoiser, space, y, noise=noise, steps=STEPS))


def measure(sampler: EnergySampler, reference: np.ndarray, count: int, seed: int) -> dict[str, Any]:
    """All figures of one sampler but those of its training."""
    drawn = draw_from_energy(sampler, count, seed=seed, steps=STEPS)
    ahead = -drawn.energies - drawn.log_density
    weighted = reweight(ahead)
    y = sampler.known.coordinates(jnp.asarray(reference[:CHECKED]))
    log_density, off = (np.asarray(part) for part in density(sampler)(y))
    undone = off < 1e-2
    back = np.asarray(sampler.known.log_boltzmann(y))[undone] - log_density[undone]
    back = back[np.isfinite(back)]
    level, error = bennett(ahead[np.isfinite(ahead)], back)
    x, true = np.asarray(sampler.known.places(jnp.asarray(drawn.x))), shares(sampler.target, reference)
    half = len(reference) // 2
    return {
        "ess": weighted.effective / count,
        "pareto_k": weighted.pareto_k,
        "log_z": level,
        "log_z_error": error,
        "kl_of_samples": float(level - np.mean(ahead)),
        "kl_of_target": float(np.mean(back) - level),
        "undone": float(undone.mean()),
        "modes": apart(shares(sampler.target, x), true),
        "modes_weighted": apart(shares(sampler.target, x, weighted.weights), true),
        "modes_floor": apart(shares(sampler.target, reference[:half]), shares(sampler.target, reference[half:])),
    }


def trained(target: str, method: str, seed: int) -> tuple[EnergySampler, float]:
    """A sampler, and seconds that its training took."""
    with TemporaryDirectory() as folder:
        began = perf_counter()
        outcome = train_from_energy(recipe(target, method, seed, Path(folder) / "run"))
        return load_energy_sampler(outcome.checkpoint), perf_counter() - began


def main() -> None:
    """Train, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", default=list(ANALYTIC), choices=list(ANALYTIC))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--count", type=int, default=4096, help="samples of each sampler")
    parser.add_argument("--output", "-o", type=Path, required=True)
    args = parser.parse_args()
    found: dict[str, Any] = json.loads(args.output.read_text()) if args.output.is_file() else {}
    for seed in range(SEEDS):
        for target in args.targets:
            reference = states(target, args.count, 1000 + seed)
            for method in args.methods:
                runs = found.setdefault(target, {}).setdefault(method, {})
                if str(seed) in runs:
                    continue
                sampler, seconds = trained(target, method, seed)
                training = {"energy_calls": sampler.info.errors["energy_calls"], "seconds": seconds}
                runs[str(seed)] = {**measure(sampler, reference, args.count, seed), **training}
                print(target, method, seed, json.dumps(runs[str(seed)]), flush=True)
                atomic_write(args.output, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
