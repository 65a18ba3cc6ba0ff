"""Errors of an orbital-free functional and of a potential, both trained on small clusters, against the size of others.

    ergodica train examples/dft/ofdft-water-clusters.toml && ergodica train examples/train/water-clusters.toml
    python benchmarks/density_sizes.py water2.h5 water4.h5 water8.h5 -f runs/ofdft-water-clusters/model.safetensors \
        -m runs/visnet-water-clusters/model.safetensors \
        -o benchmarks/results/density_sizes.json --plot docs/ofdft_sizes.png

Each file holds labelled molecules of one composition (`ergodica dft labels --count 1`). Densities are minimised from
superposed atoms. Errors are of total energies, of energies less their mean over the file, and of forces.
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
    numbers = conformers[0].system.numbers
    chosen = DensityOptions(options.functional, start="sad", force=True)
    found = evaluate_functional(conformers, chosen)
    row: dict[str, Any] = {"file": Path(path).name, "size": int((numbers > 1).sum()), "atoms": len(numbers)}
    row["functional"] = vars(found)
    if options.model:
        row["regression"] = regression(options.model, conformers)
    print(json.dumps(row), flush=True)
    return row


def plot(rows: list[dict[str, Any]], path: Path) -> None:
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
    labels = ("energy error per molecule, kcal/mol", "relative energies, kcal/mol", "forces, kcal/mol/Å")
    for panel, text in zip(panels, labels, strict=True):
        panel.set(xlabel="molecules", ylabel=text, yscale="log")
        panel.axvspan(0.5, 3.5, color="0.9", label="sizes of the training")
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="labels of molecules of one composition each")
    parser.add_argument("-f", "--functional", required=True, help="file of a learned one")
    parser.add_argument("-m", "--model", help="potential trained on the same molecules")
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    rows = [measured(path, options) for path in options.files]
    if options.output:
        options.output.write_text(json.dumps({"functional": options.functional, "sizes": rows}, indent=1) + "\n")
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
