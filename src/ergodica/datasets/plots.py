"""One picture of what two teachers say: how far they differ, which kinds of structure are kept, which elements."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.datasets.agreement import Agreement, Tolerance
from ergodica.datasets.chemistry import group_of
from ergodica.elements import SYMBOLS
from ergodica.system import Labels, System

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_agreement"]

KEPT, LOST = "#1b6ca8", "#d0d0d0"


def plot_agreement(
    systems: Sequence[System], first: Sequence[Labels | None], agreement: Agreement, tolerance: Tolerance
) -> Figure:
    """Force differences against forces with the tolerance, the share kept of each kind, and of each element.

    Args:
        systems: structures [F].
        first: labels of the first teacher; None where it failed.
        agreement: what `compare` found.
        tolerance: what it was asked.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    parts = figure.subplot_mosaic([["forces", "kinds"], ["table", "table"]], height_ratios=[1, 1.25])
    _forces(parts["forces"], first, agreement, tolerance)
    _kinds(parts["kinds"], systems, agreement)
    _table(parts["table"], systems, set(np.flatnonzero(agreement.agree).tolist()))
    return figure


def _forces(axes: Any, first: Sequence[Labels | None], agreement: Agreement, tolerance: Tolerance) -> None:
    size = np.array([_largest(labels) for labels in first])
    low = 1e-3
    for keep, color, label in ((False, LOST, "left out"), (True, KEPT, "kept")):
        those = agreement.agree == keep
        points = np.maximum(size[those], low), np.maximum(agreement.forces[those], low)
        axes.loglog(*points, ".", color=color, ms=4, label=label)
    line = np.geomspace(low, max(float(np.nanmax(size, initial=1.0)), 1.0), 100)
    axes.loglog(line, tolerance.forces + tolerance.relative * line, "k-", lw=1, label="tolerance of the forces")
    axes.set(xlabel="largest force, eV/Å", ylabel="largest difference, eV/Å")
    axes.legend(frameon=False, fontsize="small")


def _largest(labels: Labels | None) -> float:
    return np.nan if labels is None or labels.forces is None else float(np.linalg.norm(labels.forces, axis=1).max())


def _kinds(axes: Any, systems: Sequence[System], agreement: Agreement) -> None:
    kinds = np.array([str(system.info.get("kind", "all")) for system in systems])
    names = sorted(set(kinds.tolist()), key=lambda kind: agreement.agree[kinds == kind].mean())
    shares = [100 * agreement.agree[kinds == name].mean() for name in names]
    bars = axes.barh(names, shares, color=KEPT)
    axes.bar_label(bars, [f"{np.count_nonzero(kinds == name)}" for name in names], padding=3, fontsize="small")
    axes.set(xlabel="kept, % of the number at the bar", xlim=(0, 110))


def _table(axes: Any, systems: Sequence[System], kept: Collection[int]) -> None:
    """The periodic table, coloured by the share kept, with how many that is."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    total, good = np.zeros((2, len(SYMBOLS)), int)
    for index, system in enumerate(systems):
        present = np.unique(system.numbers)
        total[present] += 1
        good[present] += index in kept
    for z in range(1, 95):
        column, row = _place(z)
        share = good[z] / total[z] if total[z] else 0.0
        color = colormaps["viridis"](0.15 + 0.85 * share) if total[z] else "#f4f4f4"
        axes.add_patch(Rectangle((column, row), 0.94, 0.94, color=color))
        ink = "black" if share > 0.55 or not total[z] else "white"
        axes.text(column + 0.47, row + 0.38, SYMBOLS[z], ha="center", va="center", color=ink, fontsize=9)
        if total[z]:
            text = f"{good[z]}/{total[z]}"
            axes.text(column + 0.47, row + 0.76, text, ha="center", va="center", color=ink, fontsize=5.5)
    axes.set(xlim=(0.9, 19), ylim=(10.1, 0.9), title="structures kept / structures with the element")
    axes.set_axis_off()


def _place(z: int) -> tuple[float, float]:
    """Column and row in the periodic table, the f block below."""
    row = 1 + sum(z > noble for noble in (2, 10, 18, 36, 54, 86))
    group = group_of(SYMBOLS[z])
    if group > 18:
        return 3.0 + z - (57 if z < 80 else 89), row + 2.1
    return float(group), float(row)
