"""Paths of least energy between two minima: the nudged elastic band, all images in one batch on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.config import check_keys
from ergodica.dynamics.band import Ends, Reply, Walk, descend, peaks, start_walk, tangents
from ergodica.dynamics.descent import ASTRAY, MOVING, RESTED, Goal
from ergodica.dynamics.interpolation import check_path, idpp, straight, unwrapped
from ergodica.dynamics.options import NEBOptions
from ergodica.dynamics.relax import relax
from ergodica.errors import InputError, WorkFailed
from ergodica.neighbors import Capacity, find_edges, pack, round_up
from ergodica.potentials.potential import Derivatives, ModelConfig, derivatives
from ergodica.prediction import Prediction, physical, placed_params, predict, scope
from ergodica.system import Batch, Labels, System, as_system

if TYPE_CHECKING:
    from ase import Atoms

    from ergodica.potentials.potential import Potential

__all__ = ["ReactionPath", "neb"]

SKIN = 0.5
"""Å beyond the cut-off within which neighbours are listed."""
HEADROOM = 1.1
"""Room for neighbours in the next lists, relative to what the present one needs."""


@dataclass(frozen=True)
class ReactionPath:
    """A path from one minimum to another.

    Attributes:
        images: structures along the path, both ends included, their labels the model's energy, forces and stress.
            Coordinates are not wrapped into the cell.
        converged: whether the forces across the path, and all on the climbing image, came below the limit.
        steps: steps taken.
        fmax: the largest of these forces, eV/Å.
        climbed: whether the highest image climbed to the saddle; else the barrier is a lower bound.
        failure: why the search could not go on: a sentence, empty where nothing failed.
        warnings: what to know before trusting it.
    """

    images: tuple[System, ...]
    converged: bool
    steps: int
    fmax: float
    climbed: bool
    failure: str = ""
    warnings: tuple[str, ...] = ()

    @cached_property
    def energies(self) -> Float[np.ndarray, " P"]:
        """Of all images, eV."""
        return np.array([image.labels.energy for image in self.images], float)

    @cached_property
    def distances(self) -> Float[np.ndarray, " P"]:
        """Length of the path up to each image, all atoms' coordinates as one vector, Å."""
        steps = np.diff([image.positions for image in self.images], axis=0)
        return np.append(0.0, np.cumsum(np.sqrt(np.square(steps).sum(axis=(1, 2)))))

    @cached_property
    def slopes(self) -> Float[np.ndarray, " P"]:
        """Slope of the energy along the path at each image, eV/Å."""
        x = np.array([image.positions for image in self.images])
        with scope("float64"):
            inner = np.asarray(tangents(jnp.asarray(x), jnp.asarray(self.energies)))
        ends = [step / np.linalg.norm(step) for step in (x[1] - x[0], x[-1] - x[-2])]
        directions = np.concatenate([ends[:1], inner, ends[1:]])
        forces = np.array([one.labels.forces for one in self.images]) * ~self.images[0].fixed[:, None]
        return -np.einsum("pnx,pnx->p", forces, directions)

    @property
    def saddle(self) -> int:
        """Which image is the highest."""
        return int(np.argmax(self.energies))

    @property
    def barrier(self) -> float:
        """From the start to the highest image, eV."""
        return float(self.energies.max() - self.energies[0])

    @property
    def reverse_barrier(self) -> float:
        """From the end to the highest image, eV."""
        return float(self.energies.max() - self.energies[-1])

    @property
    def reaction_energy(self) -> float:
        """Energy of the end less that of the start, eV."""
        return float(self.energies[-1] - self.energies[0])

    def curve(self, points: int = 400) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
        """Distance, Å, and energy, eV, of the cubic spline through the images' energies with their slopes."""
        from scipy.interpolate import CubicHermiteSpline

        s = np.linspace(0.0, self.distances[-1], points)
        return s, CubicHermiteSpline(self.distances, self.energies, self.slopes)(s)

    def to_dict(self) -> dict[str, Any]:
        """The figures, with units in their names."""
        return {
            "converged": self.converged,
            "steps": self.steps,
            "fmax_eV_per_A": self.fmax,
            "climbed": self.climbed,
            "n_images": len(self.images),
            "barrier_eV": self.barrier,
            "reverse_barrier_eV": self.reverse_barrier,
            "reaction_energy_eV": self.reaction_energy,
            "path_length_A": float(self.distances[-1]),
            "saddle_image": self.saddle,
            "distances_A": self.distances,
            "energies_eV": self.energies,
            "slopes_eV_per_A": self.slopes,
            "warnings": list(self.warnings),
        }


class Progress(NamedTuple):
    """How far a search has come: steps, largest force that is left, eV/Å, and whether an image climbs."""

    steps: int
    fmax: float
    climbing: bool


Report = Callable[[Progress], bool | None]


def neb(
    potential: Potential,
    *structures: System | Atoms,
    options: NEBOptions | None = None,
    report: Report | None = None,
    **changes: Any,
) -> ReactionPath:
    """Find the path of least energy between two minima.

    Atoms that ASE's `FixAtoms` or `System.fixed` holds stay where they are; the cell is fixed, and of periodic images
    the nearest are taken.

    Args:
        potential: the model.
        structures: start and end; or a whole path from start to end, of three images or more, to begin with.
        options: how.
        report: told about the progress now and then; the search ends where it answers true.
        changes: fields of `NEBOptions` by name, such as `images=7, fmax=0.02`.

    Raises:
        InputError: the structures are not the same atoms in the same order and cell, the model predicts no energies or
            does not know an element, or atoms are on one place.
        WorkFailed: an end did not come to rest, or the model gave no finite number there.
    """
    check_keys(NEBOptions, changes, "neb")
    options = replace(options or NEBOptions(), **changes)
    potential.require_energies()
    if len(structures) < 2:
        raise InputError("A path needs two structures, its start and its end.")
    given = [as_system(one, f"structure {index}") for index, one in enumerate(structures)]
    check_path(given)
    potential.check_elements(given[0].numbers, given[0].name)
    if options.relax_ends:
        given[0], given[-1] = _relaxed_ends(potential, given[0], given[-1], options)
    path = unwrapped(given)
    first, last = path[0], path[-1]
    x = np.array([one.positions for one in path[1:-1]])
    if not len(x):
        x = (idpp if options.start == "idpp" else straight)(first, last, options.images)
    ends: Any = predict(potential, [first, last], precision=options.precision)
    search = _Search(potential, first, last, ends, len(x), options)
    return search.run(x, report or (lambda _: None), _unrested((first, last), ends, options.fmax))


def _relaxed_ends(potential: Potential, first: System, last: System, options: NEBOptions) -> tuple[System, System]:
    ends = relax(potential, [first, last], fmax=options.fmax, steps=options.steps, precision=options.precision)
    for one in ends:
        if not one.converged:
            why = one.failure or f"after {one.steps} steps a force of {one.fmax:.3g} eV/Å is left."
            raise WorkFailed(f"{one.system.name}, an end of the path, did not come to rest: {why}")
    return ends[0].system, ends[1].system


def _unrested(ends: Sequence[System], found: Sequence[Prediction], fmax: float) -> tuple[str, ...]:
    """Warnings of ends that are no minima."""
    largest = [
        np.linalg.norm(one.forces[~system.fixed], axis=1).max(initial=0.0)
        for system, one in zip(ends, found, strict=True)
    ]
    return tuple(
        f"the {which} of the path is not at rest, a force of {force:.3g} eV/Å is left: relax the ends."
        for which, force in zip(("start", "end"), largest, strict=True)
        if force > max(2 * fmax, 0.02)
    )


class _Search:
    """A band of one potential: what does not change while it moves."""

    def __init__(
        self,
        potential: Potential,
        first: System,
        last: System,
        predictions: Sequence[Prediction],
        images: int,
        options: NEBOptions,
    ) -> None:
        self.potential, self.options = potential, options
        self.first, self.last, self.predictions = first, last, predictions
        self.dtype = np.dtype(options.precision).type
        self.width = 0
        scale = potential.energy_scale
        mean = len(first) if scale.reduce == "mean" else 1
        table = scale.table()
        own = (predictions[0].energies - table[first.numbers] / mean - scale.shift / len(first)) * mean / scale.scale
        with scope(options.precision):
            self.params = placed_params(potential, options.precision)
            self.weight = jnp.asarray(scale.scale / mean, self.dtype)
            # energies count from the start, atom by atom, so that float32 holds their differences
            self.origin = jnp.asarray(np.tile(own, images), self.dtype)
            self.goal = Goal(jnp.asarray(options.fmax, self.dtype), jnp.int32(options.steps))
            self.ends = Ends(
                jnp.asarray(first.positions, self.dtype),
                jnp.asarray(last.positions, self.dtype),
                jnp.asarray([0.0, predictions[1].energy - predictions[0].energy], self.dtype),
                jnp.asarray(~first.fixed, self.dtype),
                jnp.asarray(options.spring, self.dtype),
                jnp.asarray(options.climb),
            )

    def run(self, x: Float[np.ndarray, "M N 3"], report: Report, warnings: tuple[str, ...]) -> ReactionPath:
        """Blocks of steps until the band rests."""
        images, n = x.shape[:2]
        none = Derivatives(*(np.zeros(s, self.dtype) for s in ((images * n,), (images * n, 3), (images, 3, 3))))  # type: ignore[arg-type]
        walk, batch, failure = start_walk(x, none, self.dtype), self._listed(x), ""
        while True:
            walk, stale = self._block(batch, walk)
            stop = report(Progress(int(walk.steps), float(np.asarray(walk.residual).max()), bool(walk.climbing)))
            if int(walk.status) != MOVING:
                break
            if stop:
                failure = "it was stopped"
                break
            if stale:
                try:
                    batch = self._listed(np.asarray(walk.x, np.float64))
                except InputError as error:
                    failure = str(error)
                    break
        if int(walk.status) == ASTRAY:
            failure = "the model's answer is not a finite number"
        return self._result(
            walk, failure and f"The path was given up at step {int(walk.steps)}: {failure.rstrip('.')}.", warnings
        )

    def _listed(self, x: Float[np.ndarray, "M N 3"]) -> Batch:
        """All images in one batch, with their neighbours within cut-off and skin."""
        systems = [replace(self.first, positions=one, name=f"image {k + 1}") for k, one in enumerate(x)]
        edges = [find_edges(system, self.potential.cutoff + SKIN) for system in systems]
        loops = self.potential.config.loops
        need = max(int(np.bincount(one.receivers, minlength=1).max()) for one in edges) + loops
        if need > self.width:
            self.width = round_up(max(int(np.ceil(HEADROOM * need)), 1), tuple(range(4, 132, 4)))
        capacity = Capacity(len(systems) * len(self.first), self.width, len(systems))
        with scope(self.options.precision):
            return jax.device_put(pack(systems, edges, capacity, loops=loops, dtype=self.dtype))

    def _block(self, batch: Batch, walk: Walk) -> tuple[Walk, bool]:
        config: Any = self.potential.config
        with scope(self.options.precision):
            skin = jnp.asarray(SKIN, self.dtype)
            given = (self.params, batch, self.ends, walk, self.goal, skin, self.weight, self.origin)
            walk, stale = _descent(config)(*given)
        return walk, bool(stale)

    def _result(self, walk: Walk, failure: str, warnings: tuple[str, ...]) -> ReactionPath:
        """The path with labels, in float64."""
        scale, table, n = self.potential.energy_scale, self.potential.energy_scale.table(), len(self.first)
        x = np.where(self.first.fixed[:, None], self.first.positions, np.asarray(walk.last, np.float64))
        output = jax.tree.map(np.asarray, walk.output)
        if not np.isfinite(np.asarray(walk.residual)).all():
            raise WorkFailed(failure or "The model gave no finite number on the path that the search began with.")
        inner = []
        for k, positions in enumerate(x):
            own = slice(k * n, (k + 1) * n)
            system = replace(self.first, positions=positions, name=f"image {k + 1}")
            inner.append(
                (system, physical(scale, table, system, Derivatives(output[0][own], output[1][own], output[2][k])))
            )
        first, last = zip((self.first, self.last), self.predictions, strict=True)
        heights = np.array([found.energy for _, found in (first, *inner, last)])
        climbed, crossed = bool(walk.climbing), bool(np.asarray(peaks(jnp.asarray(heights))).any())
        if climbed and not crossed:
            warnings = (*warnings, "No image is higher than its neighbours: there is no saddle for one to climb.")
        return ReactionPath(
            tuple(system.with_labels(_labels(found)) for system, found in (first, *inner, last)),
            converged=int(walk.status) == RESTED and not failure,
            steps=int(walk.steps),
            fmax=float(np.asarray(walk.residual).max()),
            climbed=climbed and crossed,
            failure=failure,
            warnings=warnings,
        )


def _labels(found: Prediction) -> Labels:
    return Labels(found.energy, found.forces, found.stress)


@lru_cache(maxsize=16)
def _descent(config: ModelConfig) -> Any:
    def run(
        params: Any, batch: Batch, ends: Ends, walk: Walk, goal: Goal, skin: Array, weight: Array, origin: Array
    ) -> tuple[Walk, Array]:
        def field(x: Float[Array, "M N 3"]) -> Reply:
            found = derivatives(config, params, replace(batch, positions=x.reshape(-1, 3)))
            energies = jnp.sum((found.energies - origin).reshape(x.shape[:2]), axis=1)
            return Reply(weight * energies, weight * found.forces.reshape(x.shape), found)

        def stale(x: Float[Array, "M N 3"]) -> Array:
            return 4 * jnp.max(jnp.sum((x.reshape(-1, 3) - batch.positions) ** 2, axis=1)) > skin**2

        walk = descend(field, stale, ends, walk, goal)
        return walk, stale(walk.x)

    return jax.jit(run)
