"""Ensembles of held-out molecules: the trained sampler against replica exchange, and against what else there is.

    python benchmarks/torsions.py --model physics --output benchmarks/results/torsions_physics.json

Two independent runs of replica exchange per molecule give the reference and its floor: the Jensen-Shannon divergence
(nats) between them, of the histogram of each rotor in 36 bins, in the mean over rotors. Every method is measured
against the other run in the same way:

- diffusion: samples as drawn, and reweighted, in three seeds; ESS is the effective share of samples;
- minima: 300 ETKDG conformers, minimised with MMFF94, kept once each, weighted with exp(-E/kT);
- clusters: 300 ETKDG conformers, clustered by RMSD (0.5 Å), one of each cluster, all alike;
- walk: Metropolis Monte Carlo of one molecule in torsion space with as many evaluations of the energy as the sampler
  made of its network.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import numpy as np

from ergodica.files import atomic_write
from ergodica.sampling.coordinates.torsions import rigid_rotors
from ergodica.sampling.diffusion.reweighting import reweight
from ergodica.sampling.molecules import Molecule, read_molecule
from ergodica.sampling.samplers.torsions.sampler import draw, load_sampler
from ergodica.sampling.walks.references import read_names, references
from ergodica.sampling.walks.tempering import Ladder, continue_run, start_run
from ergodica.units import KB, KCAL_PER_MOL

BINS = 36
CONFORMERS = 300


def histograms(angles: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Of each rotor [T, BINS]."""
    weights = np.full(len(angles), 1 / len(angles)) if weights is None else weights
    place = np.floor((angles / (2 * np.pi) % 1) * BINS).astype(int) % BINS
    return np.array([np.bincount(column, weights, BINS) for column in place.T])


def divergence(one: np.ndarray, other: np.ndarray) -> float:
    """Jensen-Shannon, nats, mean over rotors."""
    middle = 0.5 * (one + other)

    def half(part: np.ndarray) -> np.ndarray:
        ratio = np.where(part > 0, part, 1) / np.where(middle > 0, middle, 1)
        return np.sum(part * np.log(ratio), axis=1)

    return float(np.mean(0.5 * half(one) + 0.5 * half(other)))


def embedded(molecule: Molecule, minimise: bool) -> tuple[np.ndarray, np.ndarray]:
    """Angles and energies (kcal/mol) of ETKDG conformers."""
    from rdkit.Chem import Mol, rdDistGeom
    from rdkit.Chem import rdForceFieldHelpers as fields

    graph, options = Mol(molecule.graph), rdDistGeom.ETKDGv3()
    options.randomSeed = 7
    found = list(rdDistGeom.EmbedMultipleConfs(graph, CONFORMERS, options))
    energies = np.zeros(len(found))
    if minimise:
        energies = np.array([e for _, e in fields.MMFFOptimizeMoleculeConfs(graph, maxIters=5000)])
    positions = np.array([graph.GetConformer(one).GetPositions() for one in found])
    return np.asarray(rigid_rotors(molecule).angles_of(positions)), energies


def minima(molecule: Molecule, temperature: float) -> np.ndarray:
    """Histograms of Boltzmann-weighted minima, each counted once."""
    angles, energies = embedded(molecule, True)
    order = np.argsort(energies)
    kept: list[int] = []
    for number in order:
        away = [np.abs(np.angle(np.exp(1j * (angles[number] - angles[other])))).max() for other in kept]
        if all(distance > 0.2 for distance in away):
            kept.append(int(number))
    heat = KB * temperature / KCAL_PER_MOL
    weights = np.exp(-(energies[kept] - energies[kept].min()) / heat)
    return histograms(angles[kept], weights / weights.sum())


def clusters(molecule: Molecule) -> np.ndarray:
    """Histograms of one conformer of each cluster."""
    from rdkit.Chem import AllChem, Mol, RemoveHs, rdDistGeom
    from rdkit.ML.Cluster import Butina

    graph, options = Mol(molecule.graph), rdDistGeom.ETKDGv3()
    options.randomSeed = 7
    found = list(rdDistGeom.EmbedMultipleConfs(graph, CONFORMERS, options))
    positions = np.array([graph.GetConformer(one).GetPositions() for one in found])
    distances = AllChem.GetConformerRMSMatrix(RemoveHs(graph))
    groups = Butina.ClusterData(distances, len(found), 0.5, isDistData=True, reordering=True)
    chosen = [group[0] for group in groups]
    return histograms(np.asarray(rigid_rotors(molecule).angles_of(positions[chosen])))


def walk(known: Any, rotors: int, temperature: float, calls: int, seed: int) -> np.ndarray:
    """Histograms of one Monte Carlo walk with so many evaluations of the energy."""
    ladder = Ladder(temperature, rungs=1, walkers=1)
    sweeps = max(calls // (2 * rotors), 10)
    records = min(sweeps, 500)
    run = start_run(known.energy, rotors, ladder, jax.random.key(seed), sweeps // 10)
    _, record = continue_run(known.energy, run, ladder, records, max(sweeps // records, 1))
    return histograms(record.angles[:, 0, 0])


def measured(smiles: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one molecule."""
    molecule, sampler = read_molecule(smiles), load_sampler(options.model)
    one, other = references([smiles], options.references, seeds=(0, 1), packed=options.packed)
    rung, rotors = options.rung, one.rotors
    temperature = float(one.temperatures[rung])
    runs = [histograms(part.angles[rung, :, :rotors]) for part in (one, other)]
    both = 0.5 * (runs[0] + runs[1])
    record: dict[str, Any] = {
        "smiles": smiles, "rotors": rotors, "temperature_K": temperature, "floor": divergence(*runs)
    }  # fmt: skip
    seeds = []
    for seed in range(options.seeds):
        began = perf_counter()
        drawn = draw(sampler, one.known, temperature, options.count, seed=seed, steps=options.steps)
        found = reweight(-drawn.energies / (KB * temperature) - drawn.log_density)
        seeds.append({
            "ess": found.effective / options.count,
            "pareto_k": found.pareto_k,
            "raw": divergence(histograms(drawn.x), runs[1]),
            "reweighted": divergence(histograms(drawn.x, found.weights), runs[1]),
            "folded": drawn.folded,
            "seconds": perf_counter() - began,
        })  # fmt: skip
    record["diffusion"] = seeds
    record["minima"] = divergence(minima(molecule, temperature), runs[1])
    record["clusters"] = divergence(clusters(molecule), runs[1])
    walks = [walk(one.known, rotors, temperature, drawn.calls, seed) for seed in range(options.seeds)]
    record["walk"] = [divergence(found, runs[1]) for found in walks]
    record["entropy_of_rotors"] = float(np.mean(-np.sum(np.where(both > 0, both * np.log(both + 1e-300), 0), axis=1)))
    return record


def summary(records: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over molecules of means over seeds."""

    def middle(of: Any) -> float:
        return float(np.median([np.mean(of(record)) for record in records]))

    def of_seeds(key: str) -> float:
        return middle(lambda record: [seed[key] for seed in record["diffusion"]])

    def over_floor(key: str) -> float:
        return middle(lambda record: np.mean([seed[key] for seed in record["diffusion"]]) / record["floor"])

    figures = ("ess", "pareto_k", "raw", "reweighted", "folded", "seconds")
    return {
        "molecules": len(records),
        **{key: of_seeds(key) for key in figures},
        **{f"{key}_over_floor": over_floor(key) for key in ("raw", "reweighted")},
        **{key: middle(lambda record, key=key: record[key]) for key in ("floor", "minima", "clusters", "walk")},
    }


def kept(path: Path, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """What a killed run with the same arguments has measured."""
    if not path.is_file():
        return []
    found = json.loads(path.read_text())
    return found["records"] if found["arguments"] == arguments else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="physics")
    parser.add_argument("--molecules", default="data/conformers/test.smi")
    parser.add_argument("--packed", default="data/conformers/test_states.npz")
    parser.add_argument("--references", default="runs/references")
    parser.add_argument("--output", type=Path, default=Path("torsions.json"))
    parser.add_argument("--count", type=int, default=1024)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rung", type=int, default=0, help="of the ladder of temperatures; 0 is 300 K")
    options = parser.parse_args()
    arguments = {key: value for key, value in vars(options).items() if key not in ("output", "packed", "references")}
    records = kept(options.output, arguments)
    known = {record["smiles"] for record in records}
    for smiles in read_names(options.molecules):
        if smiles in known:
            continue
        records.append(measured(smiles, options))
        shown = {key: value for key, value in records[-1].items() if key != "diffusion"}
        print(json.dumps(shown | records[-1]["diffusion"][0]), flush=True)
        found = {"summary": summary(records), "arguments": arguments}
        atomic_write(options.output, (json.dumps(found | {"records": records}, indent=1) + "\n").encode())
        if len(records) % 5 == 0:
            jax.clear_caches()  # every program maps memory
    print(json.dumps(summary(records), indent=1))


if __name__ == "__main__":
    main()
