"""Atoms above surfaces, drawn by a trained sampler: how far from the exact density, on known and on unknown alloys.

    python benchmarks/adatoms.py adatoms --output benchmarks/results/adatoms.json

Slabs are made as those of the training, from another seed; "held out" are alloys of two metals that no slab of the
training held together. The reference is the exact density on a grid. Of each atom on each slab at 300 K:

- KL: divergence of the model's density from the exact one, nats, by 512 exact states and the probability flow;
- normalisation: the integral of the model's density, by places of which four fifths have the exact density and the rest
  a uniform one;
- ESS: effective share of 2048 samples with their exact densities, and Pareto's k;
- found: share of the sites with more than half a percent of the exact density that samples fell into;
- free energies: largest error of those of sites with more than 2 %, raw and reweighted, meV, and what chance explains.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from ase import Atoms

from ergodica.elements import SYMBOLS
from ergodica.files import atomic_write
from ergodica.sampling.diffusion.reweighting import reweight
from ergodica.sampling.energies.surfaces import surface_of, visitor
from ergodica.sampling.samplers.adatoms.alloys import AlloyOptions, alloys, random_slab, relaxed
from ergodica.sampling.samplers.adatoms.sampler import AdatomSampler, adatom_log_density, draw_adatoms, load_adatoms
from ergodica.sampling.walks.density_map import DensityMap, MapOptions, draw_states, energies_at, energy_map
from ergodica.units import KB

HELD_OUT = (("Cu", "Pd"), ("Ag", "Pt"), ("Ni", "Au"))
SHARES = np.array([[0.35, 0.65], [0.65, 0.35]])
TEMPERATURE, STATES, DRAWN = 300.0, 512, 2048
SPREAD = 0.2
LEAST_FOUND, LEAST_COMPARED = 0.005, 0.02


def measure(sampler: AdatomSampler, slab: Atoms, symbol: str, seed: int) -> dict[str, Any]:
    """All numbers of one atom on one slab."""
    energy, rng = visitor(surface_of(slab), SYMBOLS.index(symbol)), np.random.default_rng(seed)
    exact = energy_map(energy, TEMPERATURE, MapOptions(0.15, 0.06))
    denoiser = sampler.denoiser(energy.surface, int(energy.number), TEMPERATURE)
    states = draw_states(exact, energy, STATES, rng)[0]
    log_p = -energies_at(energy, states) / (KB * TEMPERATURE) - exact.log_partition
    found = {"slab": slab.get_chemical_formula(), "atom": symbol}
    found |= judged(log_p - adatom_log_density(denoiser, states, sampler.noise), "kl")
    found |= normalised(exact, energy, denoiser, sampler, rng)
    began = perf_counter()
    drawn = draw_adatoms(sampler, energy, TEMPERATURE, DRAWN, seed=seed)
    weighted = reweight(-drawn.energies / (KB * TEMPERATURE) - drawn.log_density)
    found |= {"ess": weighted.effective / DRAWN, "k": weighted.pareto_k, "folded": drawn.folded}
    return found | sites(exact, drawn.x, weighted.weights) | {"seconds_per_sample": (perf_counter() - began) / DRAWN}


def judged(values: np.ndarray, name: str) -> dict[str, float]:
    """Mean and standard error."""
    return {name: float(values.mean()), f"{name}_error": float(values.std(ddof=1) / len(values) ** 0.5)}


def normalised(exact: DensityMap, energy: Any, denoiser: Any, sampler: AdatomSampler, rng: Any) -> dict[str, float]:
    """The integral of the model's density: its ratio to that of the places where it is asked for, kind by kind."""
    lattice, few = np.asarray(energy.surface.lattice, float), round(SPREAD * STATES)
    low, high = 0.8, 3.0
    box = np.column_stack([rng.uniform(size=(few, 2)) @ lattice, rng.uniform(low, high, size=few)])
    places = np.concatenate([draw_states(exact, energy, STATES - few, rng)[0], box])
    log_p = -energies_at(energy, places) / (KB * TEMPERATURE) - exact.log_partition
    uniform = (places[:, 2] > low) * (places[:, 2] < high) / (float(energy.surface.area) * (high - low))
    asked = (1 - SPREAD) * np.exp(np.minimum(log_p, 50)) + SPREAD * uniform
    ratio = np.exp(adatom_log_density(denoiser, places, sampler.noise)) / asked
    kinds = ((1 - SPREAD, ratio[:-few]), (SPREAD, ratio[-few:]))
    error = sum(share**2 * part.var(ddof=1) / len(part) for share, part in kinds) ** 0.5
    return {
        "normalisation": float(sum(share * part.mean() for share, part in kinds)),
        "normalisation_error": float(error),
    }


def sites(exact: DensityMap, x: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Populations of the sites of the exact density, as drawn and by weight."""
    own = exact.owners(x)
    true = np.array([site.probability for site in exact.sites])
    raw, heavy = (np.bincount(own, w, len(true)) for w in (np.full(len(x), 1 / len(x)), weights))
    wanted, compared, heat = true > LEAST_FOUND, true > LEAST_COMPARED, 1e3 * KB * TEMPERATURE
    error = [heat * np.abs(np.log(np.maximum(part[compared], 1e-9) / true[compared])) for part in (raw, heavy)]
    noise = heat * np.sqrt((1 - true[compared]) / (true[compared] * len(x)))
    return {
        "sites": int(wanted.sum()),
        "found": float((raw[wanted] > 0).mean()),
        "free_energy_raw_meV": float(error[0].max()),
        "free_energy_reweighted_meV": float(error[1].max()),
        "free_energy_mean_raw_meV": float(error[0].mean()),
        "free_energy_noise_meV": float(noise.max()),
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Means, and the worst of each."""
    names = [name for name in rows[0] if name not in ("slab", "atom")]
    values = {name: np.array([row[name] for row in rows], float) for name in names}
    return {f"{name}_{kind}": float(how(value)) for name, value in values.items()
            for kind, how in (("mean", np.mean), ("least", np.min), ("most", np.max))}  # fmt: skip


def main() -> None:
    """Measure a sampler and print one line a system."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sampler")
    parser.add_argument("--slabs", type=int, default=6, help="of each kind")
    parser.add_argument("--atoms", nargs="+", default=["H", "C", "N", "O"])
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    sampler, rng = load_adatoms(options.sampler), np.random.default_rng(7)
    pairs = tuple(one + other for one, other in HELD_OUT)
    unknown = [random_slab(HELD_OUT[k % 3], SHARES[k % 2], (3, 3, 4), rng) for k in range(options.slabs)]
    kinds = {"known": alloys(AlloyOptions(count=options.slabs, seed=7, held_out=pairs)), "held out": relaxed(unknown)}
    result: dict[str, Any] = {}
    for kind, slabs in kinds.items():
        rows = []
        for seed, slab in enumerate(slabs):
            for symbol in options.atoms:
                rows.append(measure(sampler, slab, symbol, seed))
                print(kind, {name: round(v, 4) if isinstance(v, float) else v for name, v in rows[-1].items()})
        result[kind] = {"summary": summary(rows), "systems": rows}
    if options.output:
        atomic_write(options.output, json.dumps(result, indent=1).encode())
    for kind, one in result.items():
        print(kind, {name: round(value, 4) for name, value in one["summary"].items() if "least" not in name})


if __name__ == "__main__":
    main()
