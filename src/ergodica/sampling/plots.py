"""Pictures of ensembles."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from ergodica.properties.plots import BLUE, GREY, ORANGE, new_figure
from ergodica.units import KB

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ergodica.sampling.conformers import Ensemble

__all__ = ["plot_ensemble"]

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
