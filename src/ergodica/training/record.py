"""What a run writes down while it goes: a metrics file and a learning-curve plot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ergodica.files import append_line, atomic_write, read_lines
from ergodica.pictures import write_picture
from ergodica.training.options import PropertyOptions

__all__ = ["Record", "summary"]

PANELS = (
    ("forces_mae_eV_per_A", "force MAE, meV/Å", 1e3),
    ("energy_mae_eV_per_atom", "energy MAE, meV/atom", 1e3),
    ("property_mae", "MAE", 1.0),
    ("ground_energy_mae_mHa", "energy MAE at ground states, mHa", 1.0),
    ("gradient_error_root_mHa", "error of density gradients, √mHa", 1.0),
    ("nuclear_gradient_error_mHa_per_Bohr", "error of nuclear gradients, mHa/Bohr", 1.0),
)
"""What the learning curve shows of what there is: number, label and factor."""


def summary(errors: Any, learnt: PropertyOptions | None = None) -> dict[str, float]:
    """Means from summed `Errors`; quantities without labels are left out.

    Args:
        errors: the sums.
        learnt: what is learnt, if not energies.
    """
    e = {key: float(value) for key, value in errors._asdict().items()}
    numbers = {"loss": e["loss"] / max(e["batches"], 1.0)}
    if learnt is not None and learnt.key:
        return numbers | {"property_mae": e["energy_per_atom" if learnt.average else "energy"] / e["energy_count"]}
    if e["energy_count"]:
        numbers["energy_mae_eV"] = e["energy"] / e["energy_count"]
        numbers["energy_mae_eV_per_atom"] = e["energy_per_atom"] / e["energy_count"]
    if e["forces_count"]:
        numbers["forces_mae_eV_per_A"] = e["forces"] / e["forces_count"]
        numbers["forces_rmse_eV_per_A"] = float(np.sqrt(e["forces_squared"] / e["forces_count"]))
    if e["stress_count"]:
        numbers["stress_mae_eV_per_A3"] = e["stress"] / e["stress_count"]
    return numbers


class Record:
    """`metrics.jsonl`, one line a call of the device, and `learning_curve.png`.

    Args:
        folder: output folder of the run.
        step: lines of later steps, left by a run that was killed after its last checkpoint, are dropped.
        validated: whether the validation at `step` is over; if not, its line is dropped, too.
    """

    def __init__(self, folder: Path, step: int, validated: bool = True) -> None:
        self.path = folder / "metrics.jsonl"
        self.picture = folder / "learning_curve.png"
        kept = [line for line in read_lines(self.path) if _order(line, validated) <= step] if step else []
        atomic_write(self.path, "".join(f"{line}\n" for line in kept).encode())
        self.entries = [json.loads(line) for line in kept]

    def add(self, kind: str, entry: dict[str, float]) -> None:
        """Append one line."""
        self.entries.append({"kind": kind, **entry})
        append_line(self.path, json.dumps(self.entries[-1]))

    def plot(self) -> None:
        """Draw errors against steps."""
        import matplotlib

        matplotlib.use("Agg", force=False)
        from matplotlib.figure import Figure

        panels = [panel for panel in PANELS if any(panel[0] in entry for entry in self.entries)] or PANELS[:2]
        figure = Figure(figsize=(4.5 * len(panels), 3.6), layout="constrained")
        for axes, (key, label, unit) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            for kind, style in (("train", {"alpha": 0.4, "lw": 0.8}), ("validation", {"lw": 1.8})):
                points = [(e["step"], unit * e[key]) for e in self.entries if e["kind"] == kind and key in e]
                if points:
                    axes.loglog(*np.array(points).T, label=kind, **style)
            axes.set(xlabel="step", ylabel=label)
            axes.grid(alpha=0.3, which="both")
            if axes.lines:
                axes.legend(frameon=False)
        write_picture(self.picture, figure)


def _order(line: str, validated: bool) -> float:
    """The step of a line; half a step later for a validation that is to be done again."""
    try:
        entry = json.loads(line)
        return int(entry["step"]) + (0.0 if validated or entry["kind"] == "train" else 0.5)
    except (ValueError, KeyError, TypeError):  # the half line of a kill
        return float("inf")
