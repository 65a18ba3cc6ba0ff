"""From one structure to another through likely ones: a line in the prior of a sampler, carried along its flow.

Zheng et al. 2024 (doi:10.1038/s42256-024-00837-3): what the sampler's flow makes of points between the two ends in the
space of noise are structures of the ensemble. Nothing says how fast they are passed: it is a proposal for a path, each
point with its energy and density.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.coordinates.chart import Chart
from ergodica.sampling.diffusion.flow import Undone, carried, flow, flow_back
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.solvers import Denoiser
from ergodica.sampling.energies.by_kind import Energy
from ergodica.sampling.samplers.molecule.sampler import STEPS, InternalSampler, log_boltzmann
from ergodica.superposition import superposed

__all__ = ["Passage", "line", "passage"]

LOST = 1e-2
"""In coordinates of about unit width: an end that comes out farther away was not found in the prior."""


@dataclass(frozen=True)
class Passage:
    """Structures from one end to the other.

    Attributes:
        temperature: of the sampler, K.
        positions: Å, each turned onto the one before [P, N, 3].
        energies: eV [P].
        log_density: of the sampler, in its coordinates [P].
        log_weights: ln of Boltzmann factor over density [P].
        rmsd: from both ends as they were given, Å [P, 2].
    """

    temperature: float
    positions: Float[np.ndarray, "P N 3"]
    energies: Float[np.ndarray, " P"]
    log_density: Float[np.ndarray, " P"]
    log_weights: Float[np.ndarray, " P"]
    rmsd: Float[np.ndarray, "P 2"]


def passage(
    sampler: InternalSampler,
    ends: Float[np.ndarray, "2 N 3"],
    points: int = 21,
    steps: int = STEPS,
    report: Callable[[float], None] = lambda part: None,
) -> Passage:
    """Structures between two.

    Args:
        sampler: of the molecule.
        ends: two structures of it, Å.
        points: how many structures at the most, the ends among them.
        steps: of Heun's rule.
        report: is told what part of the way is done, 0 to 1.

    Raises:
        InputError: fewer than three points, or the ends have other atoms.
        WorkFailed: the sampler's flow does not lead to an end: it is no structure that it knows.
    """
    if points < 3:
        raise InputError(f"A path needs at least 3 points, not {points}.")
    if ends.shape != (2, len(sampler.chart.plan.atoms), 3):
        raise InputError(f"The sampler is of {len(sampler.chart.plan.atoms)} atoms, the ends of {ends.shape[1]}.")
    denoiser, chart, noise = sampler.denoiser(), sampler.chart, sampler.noise
    undone = _undone(denoiser, chart, jnp.asarray(ends), noise, steps)
    for number, off in enumerate(np.asarray(undone.off)):
        if not off < LOST:
            raise WorkFailed(
                f"Structure {number + 1} is none that the sampler could have drawn (it comes out {off:.2g} away): "
                "take one of its own samples, or relax it."
            )
    report(0.4)
    parts = _spread(sampler, undone.start, points, steps)
    report(0.7)
    between = line(chart, undone.start, jnp.asarray(parts))
    found = _weighed(denoiser, chart, sampler.energy, between, noise, steps, sampler.temperature)
    positions, energies, density, weights = (np.asarray(part, float) for part in found)
    placed, rmsd = _turned(positions, ends)
    report(1.0)
    return Passage(sampler.temperature, placed, energies, density, weights, rmsd)


def line(chart: Chart, ends: Float[Array, "2 D"], parts: Float[Array, " P"]) -> Float[Array, "P D"]:
    """Points of the prior from one to another: on an arc where it is Gaussian, the shorter way round for angles.

    An arc keeps points as far from the origin as samples of a Gaussian are; a straight line would not.

    Args:
        chart: of the molecule.
        ends: of the line.
        parts: of the way, 0 to 1.
    """
    space, part = chart.space, parts[:, None]
    (one, other), known = ends, space.reals
    unit = [end[:known] / jnp.linalg.norm(end[:known]) for end in ends]
    apart = jnp.maximum(jnp.arccos(jnp.clip(unit[0] @ unit[1], -1.0, 1.0)), 1e-6)
    arc = jnp.sin((1 - part) * apart) * one[:known] + jnp.sin(part * apart) * other[:known]
    turn = other[known:] - one[known:]
    turn = turn - space.period * jnp.round(turn / space.period)
    return jnp.concatenate([arc / jnp.sin(apart), one[known:] + part * turn], axis=1)


@partial(jax.jit, static_argnums=(3, 4))
def _undone(denoiser: Denoiser, chart: Chart, ends: Float[Array, "2 N 3"], noise: Noise, steps: int) -> Undone:
    return flow_back(denoiser, chart.space, chart.coordinates(ends), noise=noise, steps=steps)


def _spread(sampler: InternalSampler, ends: Array, points: int, steps: int) -> Float[np.ndarray, " P"]:
    """Parts of the way at which structures follow each other at even distances.

    The flow passes from one state to another within a small part of the way, so that is divided again and again.
    """
    denoiser, chart = sampler.denoiser(), sampler.chart

    def at(parts: np.ndarray) -> np.ndarray:
        return np.asarray(_placed(denoiser, chart, ends, jnp.asarray(parts), sampler.noise, steps), float)

    parts = np.linspace(0.0, 1.0, points)
    known = at(parts)
    for _ in range(DIVISIONS):
        gaps = _gaps(known)
        wide = np.flatnonzero((gaps > gaps.sum() / (points - 1)) & (np.diff(parts) > FINEST))[:points]
        if not len(wide):
            break
        fresh = np.zeros(points)  # one shape for all rounds
        fresh[: len(wide)] = 0.5 * (parts[wide] + parts[wide + 1])
        known = np.insert(known, wide + 1, at(fresh)[: len(wide)], axis=0)
        parts = np.insert(parts, wide + 1, fresh[: len(wide)])
    way = np.append(0.0, np.cumsum(_gaps(known)))
    chosen = np.unique(np.abs(way[:, None] - np.linspace(0.0, way[-1], points)).argmin(axis=0))
    return parts[chosen]


DIVISIONS, FINEST = 24, 1e-6
"""Rounds, and parts of the way that single precision tells apart."""


def _gaps(positions: Float[np.ndarray, "P N 3"]) -> Float[np.ndarray, " Q"]:
    """Between neighbours, Å."""
    return np.array([superposed(one, other)[1] for one, other in zip(positions[1:], positions[:-1], strict=True)])


@partial(jax.jit, static_argnums=(4, 5))
def _placed(
    denoiser: Denoiser, chart: Chart, ends: Float[Array, "2 D"], parts: Float[Array, " P"], noise: Noise, steps: int
) -> Float[Array, "P N 3"]:
    return chart.positions(carried(denoiser, chart.space, line(chart, ends, parts), noise=noise, steps=steps))


@partial(jax.jit, static_argnums=(4, 5, 6))
def _weighed(
    denoiser: Denoiser,
    chart: Chart,
    energy: Energy,
    start: Float[Array, "P D"],
    noise: Noise,
    steps: int,
    temperature: float,
) -> tuple[Array, Array, Array, Array]:
    drawn = flow(denoiser, chart.space, start, noise=noise, steps=steps)
    positions = chart.positions(drawn.x)
    weights = log_boltzmann(chart, energy, temperature, drawn.x) - drawn.log_density
    return positions, energy(positions), drawn.log_density, weights


def _turned(
    positions: Float[np.ndarray, "P N 3"], ends: Float[np.ndarray, "2 N 3"]
) -> tuple[Float[np.ndarray, "P N 3"], Float[np.ndarray, "P 2"]]:
    placed = [superposed(positions[0], ends[0])[0]]
    for structure in positions[1:]:
        placed.append(superposed(structure, placed[-1])[0])
    rmsd = [[superposed(structure, end)[1] for end in ends] for structure in placed]
    return np.stack(placed), np.array(rmsd)
