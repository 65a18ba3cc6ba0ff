"""Pictures of ensembles."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import pdist

from ergodica.cube import cube_bytes
from ergodica.properties.plots import BLUE, GREY, ORANGE, new_figure
from ergodica.units import BOHR, KB

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ergodica.sampling.adsorption import Adsorption
    from ergodica.sampling.conformers import Ensemble
    from ergodica.sampling.diffusion.flow import Samples
    from ergodica.sampling.diffusion.reweighting import Reweighted
    from ergodica.sampling.peptide_ensemble import PeptideEnsemble
    from ergodica.sampling.samplers.molecule.paths import Passage
    from ergodica.sampling.walks.density_map import DensityMap
    from ergodica.sampling.walks.multistate import Thermal

__all__ = [
    "plot_adsorption",
    "plot_backbone",
    "plot_ensemble",
    "plot_particles",
    "plot_passage",
    "plot_thermal",
    "slab_cube",
]

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


FLATTEST, MANY = 8.0, 5000
"""kT up to which free energies are told apart, and samples from which on the map is a fine one."""


def plot_backbone(ensemble: PeptideEnsemble) -> Figure:
    """Free energies over φ and ψ of every residue that has both, and the distribution of the energy."""
    residues = ensemble.backbone()
    across = min(len(residues) + 1, ACROSS)
    down = ceil((len(residues) + 1) / across)
    figure = new_figure(3.3 * across, 3.1 * down)
    axes = np.atleast_1d(figure.subplots(down, across)).ravel()
    weights = ensemble.weighted.weights
    edges = np.linspace(-180, 180, (2 * BINS if len(weights) > MANY else BINS) + 1)
    for axis, (residue, angles) in zip(axes, residues.items(), strict=False):
        phi, psi = np.degrees(angles).T
        density = np.histogram2d(phi, psi, [edges, edges], weights=weights, density=True)[0]
        with np.errstate(divide="ignore"):
            free = -np.log(density / density.max())
        picture = axis.pcolormesh(edges, edges, np.where(free < FLATTEST, free, np.nan).T, vmin=0, vmax=FLATTEST)
        axis.set(xlabel="φ / °", ylabel="ψ / °", title=residue, aspect="equal")
        axis.set_xticks([-180, -90, 0, 90, 180])
        axis.set_yticks([-180, -90, 0, 90, 180])
        figure.colorbar(picture, ax=axis, label="free energy / kT", shrink=0.8)
    _levels(axes[len(residues)], ensemble)
    for axis in axes[len(residues) + 1 :]:
        axis.set_axis_off()
    return figure


def plot_passage(found: Passage) -> Figure:
    """Energy along a path over the way gone, and how far its points are from both ends."""
    figure = new_figure(7.0, 3.1)
    energy, apart = figure.subplots(1, 2)
    heat = KB * found.temperature
    steps = np.diff(found.positions, axis=0)
    way = np.append(0.0, np.cumsum(np.sqrt(np.mean(np.sum(steps**2, axis=-1), axis=-1))))
    energy.plot(way, (found.energies - found.energies[0]) / heat, "o-", color=BLUE, markersize=3)
    energy.set(xlabel="way / Å", ylabel="energy above the start / kT")
    for values, color, name in ((found.rmsd[:, 0], BLUE, "from the start"), (found.rmsd[:, 1], ORANGE, "from the end")):
        apart.plot(way, values, "o-", color=color, markersize=3, label=name)
    apart.set(xlabel="way / Å", ylabel="RMSD / Å")
    apart.legend(fontsize=8)
    return figure


def plot_thermal(thermal: Thermal) -> Figure:
    """Mean potential energy and its heat capacity over the temperature, with standard errors."""
    figure = new_figure(7.0, 3.1)
    for axis, values, errors, label in zip(
        figure.subplots(1, 2),
        (thermal.energy, thermal.heat_capacity / KB),
        (thermal.energy_error, thermal.heat_capacity_error / KB),
        ("potential energy / eV", "heat capacity of it / k"),
        strict=True,
    ):
        axis.plot(thermal.temperatures, values, color=BLUE)
        axis.fill_between(thermal.temperatures, values - errors, values + errors, color=BLUE, alpha=0.25, linewidth=0)
        axis.set(xlabel="temperature / K", ylabel=label)
    return figure


ABOVE = 10.0
"""kT above what has weight that are shown."""


def _levels(axis: Axes, ensemble: PeptideEnsemble) -> None:
    """Of the energy, as drawn and by weight; what is drawn far above all that has weight is left out."""
    energies, shares = ensemble.energies / (KB * ensemble.temperature), ensemble.weighted.weights
    order = np.argsort(energies)
    highest = energies[order][np.searchsorted(np.cumsum(shares[order]), 0.995 * shares.sum())]
    edges = np.linspace(energies.min(), highest + ABOVE, 41)
    for counted, color, name in (
        (np.full_like(shares, 1 / len(shares)), GREY, "as drawn"),
        (shares, BLUE, "by weight"),
    ):
        axis.stairs(np.histogram(energies, edges, weights=counted)[0], edges, color=color, label=name)
    axis.set_xlabel("energy / kT", fontsize=9)
    axis.set_yticks([])
    axis.legend(fontsize=8, frameon=False)


DEEPEST, CEILING = 1.5, 12.0
"""Å of the slab that are shown, and kT above the least free energy."""
WIDER, HIGHER, TILES = 1.35, 1.65, 2
"""How much more than the cell is shown across and up, and cells to either side that this takes."""


def plot_adsorption(slab: Atoms, found: Adsorption) -> Figure:
    """Free energy over the plane with sites and surface atoms, the density over height, free energies of the sites."""
    figure = new_figure(10.4, 4.2)
    plane, height, sites = figure.subplots(1, 3, width_ratios=(2.2, 1, 1))
    _plane(plane, slab, found.found)
    points, chance = found.found.points, np.exp(found.found.log_density)
    height.plot(chance.sum((0, 1)) / chance.sum() / np.diff(points[0, 0, :2, 2]), points[0, 0, :, 2], color=BLUE)
    if found.drawn is not None:
        z, weights = found.drawn.samples.x[:, 2], found.drawn.weighted.weights
        height.hist(z, bins=40, weights=weights, density=True, color=GREY, orientation="horizontal", alpha=0.5)
    inside = points[0, 0, chance.sum((0, 1)) > 1e-6 * chance.sum((0, 1)).max(), 2]
    height.set_ylim(inside.min() - 0.2, inside.max() + 0.2)
    height.set_xlabel("density / Å⁻¹")
    height.set_ylabel("height above the uppermost layer / Å")
    shares = found.populations[found.populations > 1e-3]
    free = -1e3 * KB * found.found.temperature * np.log(shares / shares.max())
    error = 1e3 * KB * found.found.temperature * found.population_errors[found.populations > 1e-3] / shares
    sites.errorbar(np.arange(1, len(free) + 1), free, error, fmt="o", color=ORANGE, markersize=4, linewidth=1)
    sites.set_xlabel("site")
    sites.set_ylabel("free energy / meV")
    return figure


def _plane(axis: Axes, slab: Atoms, found: DensityMap) -> None:
    from ase.data import chemical_symbols, covalent_radii
    from ase.data.colors import jmol_colors
    from matplotlib.patches import Circle

    lattice, heat = np.asarray(found.surface.lattice, float), 1e3 * KB * found.temperature
    free = -heat * np.log(np.maximum(found.lateral, 1e-300))
    free = np.tile(np.minimum(free - free.min(), CEILING * heat), (3 * TILES, 3 * TILES))
    places = np.stack(np.meshgrid(*(np.arange(n) for n in free.shape), indexing="ij"), axis=-1) / found.lateral.shape
    x, y = np.moveaxis((places - TILES) @ lattice, -1, 0)
    drawn = axis.contourf(x, y, free, levels=np.linspace(0, CEILING * heat, 25), cmap="viridis_r")
    top = np.asarray(slab.positions)[:, 2] > slab.positions[:, 2].max() - DEEPEST
    shifts = [np.array([i, j]) @ lattice for i in range(-TILES, 2 * TILES) for j in range(-TILES, 2 * TILES)]
    for number, position in zip(slab.numbers[top], slab.positions[top], strict=True):
        for shift in shifts:
            circle = Circle(position[:2] + shift, 0.55 * covalent_radii[number], facecolor=jmol_colors[number],
                            edgecolor="0.2", linewidth=0.6, alpha=0.8)  # fmt: skip
            axis.add_patch(circle)
    for number, site in enumerate(found.sites[:9], start=1):
        where = (site.position[:2] @ np.linalg.inv(lattice)) % 1.0 @ lattice
        axis.annotate(str(number), where, color="black", fontsize=8, ha="center", va="center", weight="bold")
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ lattice
    axis.plot(*corners.T, color="white", linewidth=1)
    axis.set_aspect("equal")
    size = np.ptp(corners, axis=0)
    axis.set_xlim(corners[:, 0].min(), corners[:, 0].min() + WIDER * size[0])
    axis.set_ylim(corners[:, 1].min(), corners[:, 1].min() + HIGHER * size[1])
    axis.set_xlabel("x / Å")
    axis.set_ylabel("y / Å")
    axis.figure.colorbar(drawn, ax=axis, label="free energy / meV", shrink=0.8, format="%.0f")
    for number in np.unique(slab.numbers[top]):
        axis.scatter([], [], color=jmol_colors[number], edgecolor="0.2", label=chemical_symbols[number])
    axis.legend(fontsize=8, loc="upper left", framealpha=0.9)


def slab_cube(slab: Atoms, found: DensityMap) -> bytes:
    """The density of an atom above a slab as a Gaussian cube file, 1/Bohr³."""
    points, lattice = found.points / BOHR, np.asarray(found.surface.lattice) / BOHR
    axes = np.zeros((3, 3))
    axes[:2, :2] = lattice / np.array(points.shape[:2])[:, None]
    axes[2] = points[0, 0, 1] - points[0, 0, 0]
    nuclei = slab.numbers, np.asarray(found.surface.positions) / BOHR
    density = np.exp(found.log_density) * BOHR**3
    return cube_bytes(nuclei, points[0, 0, 0], axes, density, "Density of an atom above a slab, 1/Bohr^3")
