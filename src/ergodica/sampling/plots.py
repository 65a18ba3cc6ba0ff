"""Pictures of ensembles."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import pdist

from ergodica.properties.plots import BLUE, GREY, ORANGE, new_figure
from ergodica.units import KB

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ergodica.sampling.conformers import Ensemble
    from ergodica.sampling.flow import Samples
    from ergodica.sampling.reweighting import Reweighted

__all__ = ["plot_ensemble", "plot_particles"]

ACROSS = 4
BINS = 36


def plot_ensemble(ensemble: Ensemble) -> Figure:
    """The distribution of every dihedral angle, by halves of the independent ladders, and of the energy."""
    rotors = ensemble.molecule.rotors
    down = ceil((len(rotors) + 1) / ACROSS)
    figure = new_figure(2.6 * ACROSS, 2.3 * down)
    axes = np.atleast_1d(figure.subplots(down, ACROSS)).ravel()
    for number, rotor in enumerate(rotors):
        _angle(axes[number], ensemble, number)
        axes[number].set_title(ensemble.label(rotor), fontsize=9)
    _energy(axes[len(rotors)], ensemble)
    for axis in axes[len(rotors) + 1 :]:
        axis.set_axis_off()
    figure.suptitle(f"{ensemble.molecule.smiles} at {ensemble.options.temperature:g} K", fontsize=10)
    return figure


def _angle(axis: Axes, ensemble: Ensemble, number: int) -> None:
    edges = np.linspace(-180, 180, BINS + 1)
    weights = ensemble.weighted.weights
    half = ensemble.walker % 2 == 0
    for members, color in ((half, BLUE), (~half, ORANGE)):
        degrees = np.degrees(ensemble.angles[members, number])
        density, _ = np.histogram(degrees, edges, weights=weights[members], density=True)
        axis.stairs(density, edges, color=color, linewidth=1.1)
    axis.set_xlim(-180, 180)
    axis.set_xticks([-180, -60, 60, 180])
    axis.set_yticks([])
    axis.set_xlabel("angle / °", fontsize=8)


def _energy(axis: Axes, ensemble: Ensemble) -> None:
    heat = KB * ensemble.options.temperature
    above = (ensemble.energies - ensemble.energies.min()) / heat
    axis.hist(above, bins=30, weights=ensemble.weighted.weights, color=GREY)
    axis.set_yticks([])
    axis.set_title("energy", fontsize=9)
    axis.set_xlabel("above the least / kT", fontsize=8)


def plot_particles(drawn: Samples, weighted: Reweighted) -> Figure:
    """Distances between particles and energies, as drawn and by weight, and the weights themselves."""
    figure = new_figure(10.4, 2.8)
    axes = figure.subplots(1, 3)
    lengths = np.array([pdist(x) for x in drawn.x])
    shares = np.repeat(weighted.weights, lengths.shape[1])
    found = np.isfinite(drawn.energies)
    pictures = (
        ("distance between two particles", lengths.ravel(), shares),
        ("energy / kT", drawn.energies[found], weighted.weights[found]),
    )
    for axis, (label, values, weights) in zip(axes, pictures, strict=False):
        edges = np.linspace(values.min(), np.quantile(values, 0.999), 61)
        for counted, color, name in ((None, GREY, "as drawn"), (weights, BLUE, "by weight")):
            axis.stairs(*np.histogram(values, edges, weights=counted, density=True), color=color, label=name)
        axis.set_xlabel(label, fontsize=9)
        axis.set_yticks([])
    axes[0].legend(fontsize=8, frameon=False)
    axes[2].hist(np.log10(np.maximum(weighted.weights * len(weighted.weights), 1e-4)), bins=40, color=ORANGE)
    axes[2].set_xlabel("log₁₀ of weight over mean weight", fontsize=9)
    axes[2].set_yticks([])
    figure.suptitle(f"{weighted.effective:.0f} of {len(drawn.x)} samples count", fontsize=10)
    return figure
