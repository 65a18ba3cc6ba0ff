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
from ergodica.sampling.diffusion.reweighting import Reweighted, check_count, reweight
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
from ergodica.sampling.walks.statistics import FOLDED
from ergodica.sampling.walks.tempering import check_temperature
from ergodica.system import System
from ergodica.units import KB

if TYPE_CHECKING:
    from ase import Atoms

    from ergodica.potentials.potential import Potential
    from ergodica.prediction import Precision

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
        precision: of the network whose energies are taken on the grid.
    """

    species: str = "O"
    temperature: float = 300.0
    method: Literal["grid", "diffusion"] = "grid"
    sampler: str = "adatoms"
    count: int = 2048
    grid: MapOptions = field(default_factory=MapOptions)
    seed: int = 0
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.species not in SYMBOLS[1:]:
            raise InputError(f"'{self.species}' is no element.")
        check_temperature(self.temperature)
        check_count(self.count)

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
        normalisation_error: by how much that of every second point in the plane differs, and what the sums over heights
            may be wrong by.
        populations: of the sites: of the density, or of samples by their weights.
        population_errors: their standard errors; of an exact density likewise.
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
        if self.drawn is None:
            return self.normalisation_error <= COARSE
        return self.drawn.weighted.reliable and self.drawn.samples.folded <= FOLDED


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
        energies = _energies(atoms, options, points, potential, report)  # type: ignore[arg-type]
        found = map_of_energies(surface, points, energies, options.temperature)
    shares = np.array([site.probability for site in found.sites])
    plane, column = _plane_error(found.log_density), _column_errors(found.log_density)
    coarse = np.abs(_shares(found, 2) - shares) + _shares(found, 1, column)
    return Adsorption(found, 1.0, plane + float(_shares(found, 1, column).sum()), shares, coarse)


def _plane_error(log_density: Float[np.ndarray, "X Y Z"]) -> float:
    """By which part the sum over every second point in the plane differs."""
    return abs(float(np.expm1(_sum(log_density[::2, ::2], log_density) - logsumexp(log_density))))


def _column_errors(log_density: Float[np.ndarray, "X Y Z"]) -> Float[np.ndarray, "X Y"]:
    """Relative errors of the sums over the heights, at most.

    That over a Gaussian is wrong by 2 exp(-2π²σ²/h²), and D = h²/σ² is the second difference of its logarithm, wherever
    the points are. Sums of every second height would tell nothing: a peak between two of them may look well known.
    """
    top = np.clip(log_density.argmax(axis=2), 1, log_density.shape[2] - 2)[..., None]
    below, here, above = (np.take_along_axis(log_density, top + k, axis=2)[..., 0] for k in (-1, 0, 1))
    with np.errstate(invalid="ignore"):
        bend = np.nan_to_num(2 * here - below - above, nan=0.0, posinf=np.inf)
    return np.where(bend > 0, 2 * np.exp(-2 * np.pi**2 / np.maximum(bend, 1e-9)), 0.0)


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
    total, column = np.exp(found.log_partition), _shares(found, 1, _column_errors(log_density)).sum()

    def drawing(part: float) -> None:
        report(0.8 + 0.2 * part)

    drawn = draw_adatoms(sampler, energy, options.temperature, options.count, seed=options.seed, report=drawing)
    weighted = reweight(-drawn.energies / (KB * options.temperature) - drawn.log_density)
    populations, errors = _counted(found, drawn.x, weighted.weights)
    error = float(total * (_plane_error(log_density) + column))
    return Adsorption(found, float(total), error, populations, errors, WeightedSamples(drawn, weighted))


def _energies(
    slab: Atoms, options: AdatomOptions, points: Float[np.ndarray, "X Y Z 3"], potential: Potential, report: Report
) -> Float[np.ndarray, "X Y Z"]:
    """Energies of the slab with the atom, less that of the slab, by any potential, eV."""
    from ergodica.prediction import predict

    number, precision = options.number, options.precision
    potential.check_elements(np.array([number]), "the atom above the slab")
    top, shapes = surface_height(slab.positions[:, 2]), []  # type: ignore[var-annotated]
    bare: Any = predict(potential, slab, precision=precision, shapes=shapes)[0]
    flat, found = points.reshape(-1, 3), np.empty(points.size // 3)
    base = System.from_ase(slab)
    for start in range(0, len(flat), CALL):
        part = flat[start : start + CALL] + np.array([0.0, 0.0, top])
        numbers = np.append(base.numbers, number)
        structures = [
            System(numbers, np.vstack([base.positions, x]), cell=base.cell, pbc=base.pbc, name="slab with atom")
            for x in part
        ]
        answers: Any = predict(potential, structures, precision=precision, shapes=shapes)
        found[start : start + CALL] = [one.energy for one in answers]
        report(min(1.0, (start + CALL) / len(flat)))
    return (found - bare.energy).reshape(points.shape[:3])


def _sum(part: Float[np.ndarray, "..."], whole: Float[np.ndarray, "..."]) -> float:
    """Logarithm of the sum of a part of the points, as if they stood for all."""
    return float(logsumexp(part) + np.log(whole.size / part.size))


def _shares(found: DensityMap, step: int, factors: Float[np.ndarray, "X Y"] | float = 1.0) -> Float[np.ndarray, " K"]:
    """Populations of the sites by some points of the plane, each times a factor."""
    lateral, basins = found.lateral, found.basins[::step, ::step]
    part = (lateral * factors)[::step, ::step]
    return np.bincount(basins.ravel(), part.ravel(), found.basins.max() + 1) / lateral[::step, ::step].sum()


def _counted(
    found: DensityMap, x: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Populations of the sites by weighted samples, and their standard errors."""
    own, count = found.owners(x), found.basins.max() + 1
    inside = np.eye(count)[own]
    shares = weights @ inside
    return shares, np.sqrt(np.einsum("n,nk->k", weights**2, (inside - shares) ** 2))
