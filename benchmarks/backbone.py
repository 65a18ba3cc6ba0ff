"""A sampler of a two-state backbone against replica exchange: populations of both folds, geometry, weights.

    ergodica sample data/peptides/hairpin.pdb -f data/peptides/helix.pdb --n 1000 --seed 1 -o one
    ergodica sample data/peptides/hairpin.pdb -f data/peptides/helix.pdb --n 1000 --seed 2 -o two
    python benchmarks/backbone.py hairpin --reference one/ensemble.npz two/ensemble.npz -o backbone.json

A structure is folded if its CA atoms are within 2 Å of the hairpin's or of the helix's. Its geometry is valid if bonds
are within 0.15 Å and angles within 20 degrees of their rest, peptide bonds within 40 degrees of trans, and no atoms
three bonds apart or more closer than 2 Å.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from time import perf_counter
from typing import Any

import jax.numpy as jnp
import numpy as np

from ergodica.files import atomic_write
from ergodica.sampling.energies.go import GoField, read_backbone
from ergodica.sampling.energies.terms import angle, dihedral, ends, length
from ergodica.sampling.peptide_ensemble import draw_peptide
from ergodica.sampling.samplers.molecule.sampler import load_internal
from ergodica.units import KB, KCAL_PER_MOL

SEEDS, FOLDED = 3, 2.0
FOLDS = (Path("data/peptides/hairpin.pdb"), Path("data/peptides/helix.pdb"))


def rmsd(positions: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Of CA atoms [S, R, 3] from others [R, 3] after superposition, Å."""
    one = positions - positions.mean(axis=1, keepdims=True)
    other = target - target.mean(axis=0)
    left, values, right = np.linalg.svd(np.einsum("snd,ne->sde", one, other))
    values[:, 2] *= np.sign(np.linalg.det(left) * np.linalg.det(right))
    square = (one**2).sum(axis=(1, 2)) + (other**2).sum() - 2 * values.sum(axis=1)
    return np.sqrt(np.maximum(square, 0) / len(other))


def states(positions: np.ndarray, folds: list[np.ndarray]) -> np.ndarray:
    """0 for unfolded, 1 and 2 for the folds."""
    away = np.stack([rmsd(positions[:, 1::3], fold[1::3]) for fold in folds], axis=1)
    return np.where(away.min(axis=1) < FOLDED, 1 + away.argmin(axis=1), 0)


def valid(field: GoField, positions: np.ndarray) -> np.ndarray:
    """Whether each structure is whole."""
    places = jnp.moveaxis(jnp.asarray(positions), 0, -1)

    def apart(pair: tuple) -> jnp.ndarray:
        return length(pair[0] - pair[1])

    one, middle, other = ends(field.angles.atoms, places)
    bonds = jnp.abs(apart(ends(field.bonds.atoms, places)) - field.bonds.values[:, 1:2]) < 0.15
    bends = jnp.abs(angle(one - middle, other - middle) - field.angles.values[:, 1:2]) < np.radians(20)
    planes = jnp.cos(dihedral(*ends(field.planes.atoms, places))) < -np.cos(np.radians(40))
    cores = apart(ends(field.cores.atoms, places)) > 2.0
    return np.asarray(jnp.concatenate([bonds, bends, planes, cores]).all(axis=0))


def free_energies(shares: np.ndarray, heat: float) -> list[float]:
    """Of the second fold and of the unfolded above the first, kcal/mol."""
    return [float(-heat / KCAL_PER_MOL * np.log(shares[one] / shares[1])) for one in (2, 0)]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sampler", help="shipped sampler or file")
    parser.add_argument("--reference", type=Path, nargs=2, required=True, help="two ensembles of replica exchange")
    parser.add_argument(
        "--folds", type=Path, nargs=2, default=[Path(f"data/peptides/{n}.pdb") for n in ("hairpin", "helix")]
    )
    parser.add_argument("--count", type=int, default=2048, help="samples of each of three seeds")
    parser.add_argument("--output", "-o", type=Path)
    given = parser.parse_args()
    sampler, folds = load_internal(given.sampler), [read_backbone(path).positions for path in given.folds]
    field, heat, known = sampler.energy, KB * sampler.temperature, []
    assert isinstance(field, GoField)
    for path in given.reference:
        with np.load(path, allow_pickle=False) as file:
            positions, walker = np.asarray(file["positions"]), np.asarray(file["walker"])
        found = states(positions, folds)
        each = np.array(
            [np.bincount(found[walker == one], minlength=3) / np.sum(walker == one) for one in np.unique(walker)]
        )
        shares, error = each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(len(each))
        whole = float(valid(field, positions).mean())
        known.append({"populations": shares.tolist(), "errors": error.tolist(), "valid": whole,
                      "free_energies": free_energies(shares, heat)})  # fmt: skip
        print("reference", json.dumps(known[-1]), flush=True)
    runs: list[dict[str, Any]] = []
    for seed in range(SEEDS):
        began = perf_counter()
        drawn = draw_peptide(sampler, given.count, seed=seed)
        found, weights = states(drawn.positions, folds), drawn.weighted.weights
        rows = {"drawn": np.bincount(found, minlength=3) / len(found), "weighted": np.bincount(found, weights, 3)}
        runs.append(
            {
                "ess": drawn.weighted.effective / given.count,
                "pareto_k": drawn.weighted.pareto_k,
                "folded_steps": drawn.folded,
                "valid": float(valid(field, drawn.positions).mean()),
                "populations": {name: row.tolist() for name, row in rows.items()},
                "free_energies": {name: free_energies(row, heat) for name, row in rows.items()},
                "seconds": perf_counter() - began,
            }
        )
        print(given.sampler, json.dumps(runs[-1]), flush=True)
    if given.output is not None:
        record = {"references": known, "samples": given.count, "runs": runs}
        atomic_write(given.output, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
