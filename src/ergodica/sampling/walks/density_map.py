"""Where an atom is above a frozen surface at a temperature, on a grid over the cell.

The atom has three coordinates, of which two are periodic, so its density exp(-E/kT)/Z can be summed exactly: sums of
smooth periodic functions converge faster than any power of the spacing, and so do those over the height, as the density
has vanished where the grid ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.special import logsumexp

from ergodica.errors import InputError
from ergodica.sampling.energies.surfaces import Surface, Visitor
from ergodica.units import KB

__all__ = [
    "DensityMap",
    "MapOptions",
    "Site",
    "draw_states",
    "energies_at",
    "energy_map",
    "grid_points",
    "map_of_densities",
    "map_of_energies",
]

BLOCK = 8192
"""Points of a call of the device."""


@dataclass(frozen=True)
class MapOptions:
    """Points over the cell.

    Attributes:
        spacing: in the plane, Å, at most.
        step: in height, Å.
        lowest: height, Å above the uppermost layer of the slab.
        highest: height.
    """

    spacing: float = 0.2
    step: float = 0.08
    lowest: float = -0.5
    highest: float = 3.5

    def __post_init__(self) -> None:
        if min(self.spacing, self.step) <= 0 or self.highest - self.lowest < 2 * self.step:
            raise InputError("A grid needs positive spacings and at least three heights.")


def grid_points(surface: Surface, options: MapOptions) -> Float[np.ndarray, "X Y Z 3"]:
    """Places, Å."""
    lattice = np.asarray(surface.lattice, float)
    counts = 2 * np.maximum(np.ceil(np.linalg.norm(lattice, axis=1) / (2 * options.spacing)), 2).astype(int)
    inner = np.stack(np.meshgrid(*(np.arange(n) / n for n in counts), indexing="ij"), axis=-1)
    levels = round((options.highest - options.lowest) / options.step) + 1
    heights = np.linspace(options.lowest, options.highest, levels)
    plane = np.broadcast_to((inner @ lattice)[:, :, None], (*counts, levels, 2))
    return np.concatenate([plane, np.broadcast_to(heights[:, None], (*counts, levels, 1))], axis=-1)


@dataclass(frozen=True)
class Site:
    """A place where the atom is likely, with all from where the density rises towards it.

    Attributes:
        position: of the greatest density in the plane, at the mean height there, Å [3].
        probability: of its basin.
        free_energy: -kT log of it, less that of the likeliest site, eV.
        energy: least one of its basin, eV; NaN if energies are not known.
    """

    position: Float[np.ndarray, " 3"]
    probability: float
    free_energy: float
    energy: float


@dataclass(frozen=True)
class DensityMap:
    """A density on a grid.

    Attributes:
        surface: the slab.
        temperature: K.
        points: of the grid, Å [X, Y, Z, 3].
        log_density: natural logarithm of the density, 1/Å³ [X, Y, Z].
        energies: eV [X, Y, Z]; None if the density is a model's.
        log_partition: logarithm of ∫exp(-E/kT) over the grid in Å³; of a model that of the sum of its density, which
            would be 0 if it were exact.
    """

    surface: Surface
    temperature: float
    points: Float[np.ndarray, "X Y Z 3"] = field(repr=False)
    log_density: Float[np.ndarray, "X Y Z"] = field(repr=False)
    energies: Float[np.ndarray, "X Y Z"] | None = field(repr=False)
    log_partition: float

    @property
    def volume(self) -> float:
        """Of a point of the grid, Å³."""
        return _volume(self.surface, self.points)

    @property
    def lateral(self) -> Float[np.ndarray, "X Y"]:
        """Density in the plane, 1/Å²."""
        area = float(self.surface.area) / np.prod(self.points.shape[:2])
        return np.exp(self.log_density).sum(axis=2) * (self.volume / area)

    @cached_property
    def basins(self) -> Int[np.ndarray, "X Y"]:
        """The number of the site that each place of the plane belongs to, by rising density; likeliest first."""
        top = _uphill(self.lateral)
        found, owner = np.unique(top, return_inverse=True)
        shares = np.bincount(owner.ravel(), self.lateral.ravel(), len(found))
        rank = np.argsort(np.argsort(-shares))
        return rank[owner].reshape(self.lateral.shape)

    def owners(self, x: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
        """The number of the site that each of some places belongs to, Å; lattice vectors don't matter."""
        basins = self.basins
        inner = x[:, :2] @ np.linalg.inv(np.asarray(self.surface.lattice, float))
        cell = np.floor(inner * basins.shape + 0.5).astype(int) % basins.shape
        return basins[cell[:, 0], cell[:, 1]]

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """Likeliest first."""
        basins, lateral = self.basins, self.lateral
        shares = np.array([lateral[basins == number].sum() for number in range(basins.max() + 1)]) / lateral.sum()
        heat, found = KB * self.temperature, []
        for number, share in enumerate(shares):
            place = np.unravel_index(np.where(basins == number, lateral, -1.0).argmax(), lateral.shape)
            column = np.exp(self.log_density[place] - self.log_density[place].max())
            height = np.sum(column * self.points[place][:, 2]) / column.sum()
            energy = np.nan if self.energies is None else self.energies[basins == number].min()
            position = np.append(self.points[place][0, :2], height)
            found.append(Site(position, float(share), heat * float(np.log(shares[0] / share)), float(energy)))
        return tuple(found)


def map_of_energies(
    surface: Surface, points: Float[np.ndarray, "X Y Z 3"], energies: Float[np.ndarray, "X Y Z"], temperature: float
) -> DensityMap:
    """The density of thermal equilibrium.

    Args:
        surface: the slab.
        points: of a grid.
        energies: there, eV.
        temperature: K.

    Raises:
        InputError: the density has not vanished at the lowest or highest points.
    """
    weights = -energies / (KB * temperature)
    total = logsumexp(weights)
    for name, end in (("lowest", weights[..., 0]), ("highest", weights[..., -1])):
        if logsumexp(end) - total > EDGE:
            raise InputError(f"The atom is found at the {name} points of the grid, too: move its end further out.")
    log_partition = float(total + np.log(_volume(surface, points)))
    return DensityMap(surface, temperature, points, weights - log_partition, energies, log_partition)


def map_of_densities(
    surface: Surface, points: Float[np.ndarray, "X Y Z 3"], log_density: Float[np.ndarray, "X Y Z"], temperature: float
) -> DensityMap:
    """A model's density, divided by its sum; the arguments are those of `map_of_energies`."""
    total = float(logsumexp(log_density) + np.log(_volume(surface, points)))
    return DensityMap(surface, temperature, points, log_density - total, None, total)


EDGE = np.log(1e-3)
"""Logarithm of the share of the density that may be found at an end of the grid."""


def energy_map(energy: Visitor, temperature: float, options: MapOptions | None = None) -> DensityMap:
    """The exact density of an atom by its energy; errors are those of `map_of_energies`."""
    points = grid_points(energy.surface, options or MapOptions())
    energies = energies_at(energy, points.reshape(-1, 3)).reshape(points.shape[:3])
    return map_of_energies(energy.surface, points, energies, temperature)


def energies_at(energy: Visitor, x: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Energies of the atom at many places, eV; infinite on top of another."""
    padded = np.pad(x, ((0, -len(x) % BLOCK), (0, 0)), mode="edge").astype(np.float32)
    with jax.enable_x64(False):
        single = jax.tree.map(jnp.asarray, energy)
        parts = [np.asarray(_energies(single, jnp.asarray(part))) for part in padded.reshape(-1, BLOCK, 3)]
    found = np.concatenate(parts)[: len(x)].astype(float)
    return np.where(np.isfinite(found), found, np.inf)


@jax.jit
def _energies(energy: Callable[[Array], Array], x: Float[Array, "B 3"]) -> Float[Array, " B"]:
    return energy(x)


@jax.jit
def _forces(energy: Callable[[Array], Array], x: Float[Array, "B 3"]) -> tuple[Float[Array, " B"], Float[Array, "B 3"]]:
    values, pull = jax.vmap(jax.value_and_grad(energy))(x)
    return values, -pull


def draw_states(
    found: DensityMap, energy: Visitor, count: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 3"]]:
    """Independent places of the exact density, and the forces there, eV/Å.

    Points of the grid by their probability are moved about within their cells, and of four times as many those are
    kept whose energy there asks for it.

    Args:
        found: the density on a grid, with energies.
        energy: of the atom.
        count: how many.
        rng: random numbers.
    """
    assert found.energies is not None
    shape, heat = found.log_density.shape, KB * found.temperature
    chance = np.exp(found.log_density).ravel() * found.volume
    rows = rng.choice(chance.size, size=MORE * count, p=chance / chance.sum())
    shares = rng.uniform(-0.5, 0.5, size=(len(rows), 3))
    step = found.points[0, 0, 1, 2] - found.points[0, 0, 0, 2]
    plane = (shares[:, :2] / shape[:2]) @ np.asarray(found.surface.lattice)
    moved = found.points.reshape(-1, 3)[rows] + np.concatenate([plane, step * shares[:, 2:]], axis=1)
    with jax.enable_x64(False):
        values, forces = jax.device_get(_forces(jax.tree.map(jnp.asarray, energy), jnp.asarray(moved, jnp.float32)))
    weights = np.exp((found.energies.ravel()[rows] - values) / heat)
    kept = rng.choice(len(rows), size=count, replace=False, p=weights / weights.sum())
    return moved[kept], forces[kept]


MORE = 4


def _volume(surface: Surface, points: Float[np.ndarray, "X Y Z 3"]) -> float:
    step = points[0, 0, 1, 2] - points[0, 0, 0, 2]
    return float(surface.area) * float(step) / float(np.prod(points.shape[:2]))


def _uphill(values: Float[np.ndarray, "X Y"]) -> Int[np.ndarray, "X Y"]:
    """The top above each point of a periodic grid; a top that rises over its saddle by less than `RISE` is none.

    Points are added from the highest down, each to the top of its highest neighbour. Two tops that meet at a point are
    one if the lower hardly rises above it.
    """
    flat, shape = values.ravel(), values.shape
    index = np.arange(flat.size).reshape(shape)
    shifts = [(i, j) for i in (0, 1, -1) for j in (0, 1, -1) if (i, j) != (0, 0)]
    around = np.stack([np.roll(index, shift, axis=(0, 1)).ravel() for shift in shifts], axis=1)
    top, part_of = np.full(flat.size, -1), np.arange(flat.size)

    def whole(one: int) -> int:
        while part_of[one] != one:
            one = part_of[one]
        return one

    for point in np.argsort(-flat, kind="stable"):
        known = [other for other in around[point] if top[other] >= 0]
        if not known:
            top[point] = point
            continue
        top[point] = top[max(known, key=lambda other: flat[other])]
        met = {whole(top[other]) for other in known}
        highest = max(met, key=lambda one: flat[one])
        for other in met - {highest}:
            if flat[other] < RISE * flat[point]:
                part_of[other] = highest
    return np.array([whole(one) for one in top]).reshape(shape)


RISE = 1.1
"""Of a site's density over that of the pass to a likelier one."""
