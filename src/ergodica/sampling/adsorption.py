"""An atom upon a slab at a temperature: by the energy on a grid, or drawn by a trained sampler and weighted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.sampling.diffusion.flow import Samples
from ergodica.sampling.diffusion.reweighting import Reweighted, reweight
from ergodica.sampling.energies.surfaces import Surface, surface_height, surface_of, visitor
from ergodica.sampling.samplers.adatoms.sampler import adatom_log_density, draw_adatoms, load_adatoms
from ergodica.sampling.walks.density_map import (
    DensityMap,
    MapOptions,
    energy_map,
    grid_points,
    map_of_densities,
    map_of_energies,
)
from ergodica.sampling.walks.tempering import check_temperature
from ergodica.system import System
from ergodica.units import KB

if TYPE_CHECKING:
    from ase import Atoms

    from ergodica.potentials.potential import Potential

__all__ = ["AdatomOptions", "Adsorption", "WeightedSamples", "adsorb"]

Report = Callable[[float], None]
COARSE = 0.02
"""Change of the sum over the grid without every second point above which the grid is too coarse for populations."""
CALL = 256
"""Structures whose energy is asked for at once."""


@dataclass(frozen=True)
class AdatomOptions:
    """What is asked.

    Attributes:
        species: element of the atom.
        temperature: K.
        method: "grid", the exact density of an energy, or "diffusion", a trained sampler.
        sampler: for diffusion: a file or the name of a shipped one.
        count: samples that diffusion draws.
        grid: on which the density is given.
        seed: of the samples.
    """

    species: str = "O"
    temperature: float = 300.0
    method: Literal["grid", "diffusion"] = "grid"
    sampler: str = "adatoms"
    count: int = 2048
    grid: MapOptions = field(default_factory=MapOptions)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.species not in SYMBOLS[1:]:
            raise InputError(f"'{self.species}' is no element.")
        check_temperature(self.temperature)
        if self.count < 1:
            raise InputError("The number of samples must be positive.")

    @property
    def number(self) -> int:
        """Atomic number."""
        return SYMBOLS.index(self.species)


@dataclass(frozen=True)
class WeightedSamples:
    """Samples of a trained sampler with their weights for effective-medium theory."""

    samples: Samples
    weighted: Reweighted


@dataclass(frozen=True)
class Adsorption:
    """Where an atom is upon a slab.

    Attributes:
        found: the density on a grid.
        normalisation: the sum of the density over the grid; 1 by definition where it is exact.
        normalisation_error: by how much that of every second point in the plane differs.
        populations: of the sites: of the density, or of samples by their weights.
        population_errors: their standard errors; of an exact density how much every second point in the plane differs.
        drawn: samples, by diffusion.
    """

    found: DensityMap
    normalisation: float
    normalisation_error: float
    populations: Float[np.ndarray, " K"]
    population_errors: Float[np.ndarray, " K"]
    drawn: WeightedSamples | None = None

    @property
    def reliable(self) -> bool:
        """Whether averages may be reported: weights are not degenerate, or the grid is fine enough."""
        return self.normalisation_error <= COARSE if self.drawn is None else self.drawn.weighted.reliable


def adsorb(
    slab: System | Atoms,
    options: AdatomOptions | None = None,
    potential: Potential | None = None,
    report: Report = lambda part: None,
) -> Adsorption:
    """Where an atom is above a frozen slab in thermal equilibrium.

    Args:
        slab: periodic in the plane of x and y; its upper side counts.
        options: which atom, how hot, by which method.
        potential: whose energy; effective-medium theory by default. With diffusion it can only be that.
        report: is told what part is done.

    Raises:
        InputError: the slab is none, elements are unknown, the grid ends where the atom is, or a sampler has no energy.
    """
    options = options or AdatomOptions()
    atoms = slab.to_ase() if isinstance(slab, System) else slab
    surface = surface_of(atoms)
    classical = potential is None or potential.info.name == "emt"
    if options.method == "diffusion":
        if not classical:
            raise InputError("Samplers were trained on effective-medium theory: leave the model away, or use the grid.")
        return _by_diffusion(surface, options, report)
    if classical:
        found = energy_map(visitor(surface, options.number), options.temperature, options.grid)
        report(1.0)
    else:
        points = grid_points(surface, options.grid)
        energies = _energies(atoms, options.number, points, potential, report)  # type: ignore[arg-type]
        found = map_of_energies(surface, points, energies, options.temperature)
    shares = np.array([site.probability for site in found.sites])
    coarse = np.abs(_shares(found, every_second=True) - shares)
    weights = -found.energies / (KB * found.temperature)  # type: ignore[operator]
    half = np.exp(_sum(weights[::2, ::2], weights) - logsumexp(weights))
    return Adsorption(found, 1.0, float(abs(half - 1)), shares, coarse)


def _by_diffusion(surface: Surface, options: AdatomOptions, report: Report) -> Adsorption:
    sampler, energy = load_adatoms(options.sampler), visitor(surface, options.number)
    denoiser = sampler.denoiser(surface, options.number, options.temperature)
    points = grid_points(surface, options.grid)
    flat, logs = points.reshape(-1, 3), []
    for start in range(0, len(flat), 16 * CALL):
        logs.append(adatom_log_density(denoiser, flat[start : start + 16 * CALL], sampler.noise))
        report(0.8 * min(1.0, (start + 16 * CALL) / len(flat)))
    log_density = np.concatenate(logs).astype(float).reshape(points.shape[:3])
    found = map_of_densities(surface, points, log_density, options.temperature)
    total, half = found.log_partition, _sum(log_density[::2, ::2], log_density) + np.log(found.volume)

    def drawing(part: float) -> None:
        report(0.8 + 0.2 * part)

    drawn = draw_adatoms(sampler, energy, options.temperature, options.count, seed=options.seed, report=drawing)
    weighted = reweight(-drawn.energies / (KB * options.temperature) - drawn.log_density)
    populations, errors = _counted(found, drawn.x, weighted.weights)
    shares = float(np.exp(total)), float(abs(np.exp(half) - np.exp(total)))
    return Adsorption(found, *shares, populations, errors, WeightedSamples(drawn, weighted))


def _energies(
    slab: Atoms, number: int, points: Float[np.ndarray, "X Y Z 3"], potential: Potential, report: Report
) -> Float[np.ndarray, "X Y Z"]:
    """Energies of the slab with the atom, less that of the slab, by any potential, eV."""
    from ergodica.prediction import predict

    potential.check_elements(np.array([number]), "the atom above the slab")
    top, shapes = surface_height(slab.positions[:, 2]), []  # type: ignore[var-annotated]
    bare: Any = predict(potential, slab, shapes=shapes)[0]
    flat, found = points.reshape(-1, 3), np.empty(points.size // 3)
    base = System.from_ase(slab)
    for start in range(0, len(flat), CALL):
        part = flat[start : start + CALL] + np.array([0.0, 0.0, top])
        numbers = np.append(base.numbers, number)
        structures = [
            System(numbers, np.vstack([base.positions, x]), cell=base.cell, pbc=base.pbc, name="slab with atom")
            for x in part
        ]
        answers: Any = predict(potential, structures, shapes=shapes)
        found[start : start + CALL] = [one.energy for one in answers]
        report(min(1.0, (start + CALL) / len(flat)))
    return (found - bare.energy).reshape(points.shape[:3])


def _sum(part: Float[np.ndarray, "..."], whole: Float[np.ndarray, "..."]) -> float:
    """Logarithm of the sum of a part of the points, as if they stood for all."""
    return float(logsumexp(part) + np.log(whole.size / part.size))


def _shares(found: DensityMap, every_second: bool) -> Float[np.ndarray, " K"]:
    """Populations of the sites by every second point of the plane."""
    step = 2 if every_second else 1
    lateral, basins = found.lateral[::step, ::step], found.basins
    return np.bincount(basins[::step, ::step].ravel(), lateral.ravel(), basins.max() + 1) / lateral.sum()


def _counted(
    found: DensityMap, x: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Populations of the sites by weighted samples, and their standard errors."""
    own, count = found.owners(x), found.basins.max() + 1
    inside = np.eye(count)[own]
    shares = weights @ inside
    return shares, np.sqrt(np.einsum("n,nk->k", weights**2, (inside - shares) ** 2))
