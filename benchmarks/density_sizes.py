"""Errors of an orbital-free functional and of a potential, both trained on small molecules, against the size of others.

    ergodica train examples/dft/ofdft-water-clusters.toml && ergodica train examples/train/water-clusters.toml
    python benchmarks/density_sizes.py water2.h5 water4.h5 water8.h5 -f runs/ofdft-water-clusters/model.safetensors \
        -m runs/visnet-water-clusters/model.safetensors \
        --unit molecules --trained 1 3 -o benchmarks/results/density_sizes.json --plot docs/ofdft_sizes.png

Each file holds labelled molecules of one size, counted in atoms other than hydrogen (`ergodica dft labels --count 1`).
Densities are minimised from superposed atoms. Errors are of total energies, of those less their mean over the file, and
of forces.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from ergodica import load
from ergodica.dft.evaluation import evaluate_functional
from ergodica.dft.labels.conformer import Conformer
from ergodica.dft.labels.file import read_labels
from ergodica.dft.run import DensityOptions
from ergodica.elements import formula
from ergodica.errors import InputError
from ergodica.prediction import predict
from ergodica.units import KCAL_PER_MOL


def regression(model: str, conformers: list[Conformer]) -> dict[str, float]:
    """What the potential makes of the same molecules, kcal/mol and Å."""
    found: list[Any] = predict(load(model), [one.system for one in conformers])
    energies = [
        (one.energy - other.system.labels.energy) / KCAL_PER_MOL for one, other in zip(found, conformers, strict=True)
    ]
    forces = [np.ravel(one.forces - other.system.labels.forces) for one, other in zip(found, conformers, strict=True)]
    error = np.array(energies)
    return {
        "energy_mae": float(np.abs(error).mean()),
        "energy_max": float(np.abs(error).max()),
        "relative_energy_mae": float(np.abs(error - error.mean()).mean()),
        "forces_mae": float(np.abs(np.concatenate(forces)).mean() / KCAL_PER_MOL),
    }


def measured(path: str, options: argparse.Namespace) -> dict[str, Any]:
    conformers = read_labels(path)
    atoms = [len(one.system.numbers) for one in conformers]
    heavy = [int((one.system.numbers > 1).sum()) for one in conformers]
    if len(set(heavy)) > 1:
        raise InputError(f"{path} holds molecules of {min(heavy)} to {max(heavy)} atoms: one size a file.")
    chosen = DensityOptions(options.functional, start="sad", force=True)
    found = evaluate_functional(conformers, chosen)
    row: dict[str, Any] = {"file": Path(path).name, "size": heavy[0], "atoms": float(np.mean(atoms))}
    row["functional"] = dict(vars(found))
    if len({formula(one.system.numbers) for one in conformers}) > 1:
        del row["functional"]["mean_predictor_mae"]  # a mean of different molecules is no prediction
    if options.model:
        row["regression"] = regression(options.model, conformers)
    print(json.dumps(row), flush=True)
    return row


def plot(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
    kinds = (("functional", "orbital-free", "o-", "tab:blue"), ("regression", "regression", "s--", "tab:orange"))
    for method, label, style, colour in kinds:
        known = [row for row in rows if method in row]
        sizes = [row["size"] for row in known]
        for panel, key in zip(panels, ("energy_mae", "relative_energy_mae", "forces_mae"), strict=True):
            per = sizes if panel is panels[0] else [1] * len(sizes)
            values = [row[method][key] / count for row, count in zip(known, per, strict=True)]
            panel.plot(sizes, values, style, color=colour, label=label)
    one = options.unit.removesuffix("s")
    labels = (f"energy error per {one}, kcal/mol", "energies less mean, kcal/mol", "forces, kcal/mol/Å")
    for panel, text in zip(panels, labels, strict=True):
        panel.set(xlabel=options.unit, ylabel=text, yscale="log")
        panel.axvspan(options.trained[0] - 0.5, options.trained[1] + 0.5, color="0.9", label="sizes of the training")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(options.plot, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="labels of molecules of one size each")
    parser.add_argument("-f", "--functional", required=True, help="file of a learned one")
    parser.add_argument("-m", "--model", help="potential trained on the same molecules")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--unit", default="C, N and O atoms", help="what the size counts")
    parser.add_argument("--trained", type=int, nargs=2, default=(1, 4), help="smallest and largest size learnt from")
    options = parser.parse_args()
    rows = [measured(path, options) for path in options.files]
    if options.output:
        options.output.write_text(json.dumps({"functional": options.functional, "sizes": rows}, indent=1) + "\n")
    if options.plot:
        plot(rows, options)


if __name__ == "__main__":
    main()
