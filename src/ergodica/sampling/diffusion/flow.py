"""Samples with their exact density: each step of Heun's rule is a map, and its Jacobian is computed.

The density is that of what was drawn, however few steps were made and whatever the network does, so importance weights
are free of bias where the determinants are positive (each step is then one-to-one, as it is near the identity).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ergodica.errors import WorkFailed
from ergodica.sampling.diffusion.likelihood import basis
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.reweighting import LEAST
from ergodica.sampling.diffusion.solvers import Denoiser
from ergodica.sampling.spaces import Space

__all__ = ["Drawn", "Samples", "Undone", "carried", "draw_batches", "flow", "flow_back", "flow_density"]


class Drawn(NamedTuple):
    """Samples of a flow.

    Attributes:
        x: samples; the last noise is left in them.
        log_density: natural logarithm of their density.
        upright: whether all determinants on the way were positive.
    """

    x: Float[Array, "B ..."]
    log_density: Float[Array, " B"]
    upright: Bool[Array, " B"]


def flow(denoiser: Denoiser, space: Space, start: Float[Array, "B ..."], *, noise: Noise, steps: int = 15) -> Drawn:
    """Carry samples of the prior to samples of the model; 2 evaluations a step, and as many of each derivative.

    Args:
        denoiser: the model.
        space: where samples live.
        start: samples of the prior.
        noise: levels of noise.
        steps: between the largest and the smallest.
    """
    levels = noise.levels(steps)
    directions = basis(space)

    def move(state: Drawn, between: tuple[Array, Array]) -> tuple[Drawn, None]:
        x, jacobian = _expanded(denoiser, directions, state.x, between)
        sign, volume = jnp.linalg.slogdet(jacobian)
        return Drawn(x, state.log_density - volume, state.upright & (sign > 0)), None

    first = Drawn(start, space.log_prior(start, noise.largest), jnp.ones(len(start), bool))
    return jax.lax.scan(move, first, (levels[:-1], levels[1:]))[0]


def carried(
    denoiser: Denoiser, space: Space, start: Float[Array, "B ..."], *, noise: Noise, steps: int = 15
) -> Float[Array, "B ..."]:
    """Where `flow` carries samples of the prior, without their density."""
    levels = noise.levels(steps)
    pairs = levels[:-1], levels[1:]
    return jax.lax.scan(lambda x, between: (_heun(denoiser, x, between), None), start, pairs)[0]


def flow_density(
    denoiser: Denoiser, space: Space, x: Float[Array, "B ..."], *, noise: Noise, steps: int = 15
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
    """The log-density that `flow` with these steps has at given samples, and how far off they would come out."""
    undone = flow_back(denoiser, space, x, noise=noise, steps=steps)
    return undone.log_density, undone.off


class Undone(NamedTuple):
    """Where samples come from.

    Attributes:
        start: sample of the prior.
        log_density: of `flow` at the samples.
        off: how far from them the steps would lead.
    """

    start: Float[Array, "B ..."]
    log_density: Float[Array, " B"]
    off: Float[Array, " B"]


def flow_back(denoiser: Denoiser, space: Space, x: Float[Array, "B ..."], *, noise: Noise, steps: int = 15) -> Undone:
    """Which samples of the prior `flow` carries to given ones: every step is undone by Newton's method.

    Args:
        denoiser: the model.
        space: where samples live.
        x: samples of the model.
        noise: levels of noise.
        steps: of the flow.
    """
    levels, directions = noise.levels(steps), basis(space)

    def back(state: tuple[Array, Array], between: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        end, total = state
        start = jax.lax.fori_loop(0, UNDOING, lambda _, x: x + _missing(denoiser, directions, x, end, between), end)
        again, jacobian = _expanded(denoiser, directions, start, between)
        volume = jnp.linalg.slogdet(jacobian)[1]
        return (start, total - volume), jnp.max(jnp.abs(again - end).reshape(len(end), -1), axis=1)

    (start, total), off = jax.lax.scan(back, (x, jnp.zeros(len(x))), (levels[:-1][::-1], levels[1:][::-1]))
    return Undone(start, space.log_prior(start, noise.largest) + total, off.max(axis=0))


UNDOING = 5
"""Iterations that undo a step."""


def _missing(denoiser: Denoiser, directions: Array, x: Array, end: Array, between: tuple[Array, Array]) -> Array:
    """By how much a point must move for a step from there to lead to the end, by the Jacobian."""
    there, jacobian = _expanded(denoiser, directions, x, between)
    flat = directions.reshape(len(directions), -1)
    short = (end - there).reshape(len(x), -1) @ flat.T
    return (jnp.linalg.solve(jacobian, short[..., None])[..., 0] @ flat).reshape(x.shape)


def _heun(denoiser: Denoiser, x: Array, between: tuple[Array, Array]) -> Array:
    """A step of Heun's rule."""
    high, low = between
    slope = (x - denoiser(x, high)) / high
    ahead = x + (low - high) * slope
    return x + 0.5 * (low - high) * (slope + (ahead - denoiser(ahead, low)) / low)


def _expanded(
    denoiser: Denoiser, directions: Array, x: Array, between: tuple[Array, Array]
) -> tuple[Array, Float[Array, "B D D"]]:
    """Where a step leads, and its Jacobian."""

    def along(direction: Array) -> tuple[Array, Array]:
        return jax.jvp(lambda x: _heun(denoiser, x, between), (x,), (jnp.broadcast_to(direction, x.shape),))

    end, columns = jax.vmap(along, out_axes=(None, 0))(directions)
    flat = columns.reshape(*columns.shape[:2], -1)
    return end, jnp.einsum("cbx,rx->brc", flat, directions.reshape(len(directions), -1))


@dataclass(frozen=True)
class Samples:
    """Independent samples of a target.

    Attributes:
        x: the samples [n, ...].
        energies: in the unit of the target [n].
        log_density: natural logarithm of their density [n].
        calls: evaluations of the network, those for derivatives among them.
        folded: share of what was drawn and left out, because a step was not one-to-one there.
    """

    x: Float[np.ndarray, "n ..."]
    energies: Float[np.ndarray, " n"]
    log_density: Float[np.ndarray, " n"]
    calls: int
    folded: float


def draw_batches(
    batch: Callable[[Array], tuple[Drawn, Array]],
    count: int,
    size: int,
    *,
    seed: int,
    calls: int,
    report: Callable[[float], None],
) -> Samples:
    """Draw batch by batch, and keep what has a density.

    Args:
        batch: samples of a key, and their energies.
        count: how many samples.
        size: of a batch.
        seed: of the random numbers.
        calls: evaluations for each sample.
        report: is told what part is done.

    Raises:
        WorkFailed: hardly any has a density.
    """
    keys, parts = jax.random.split(jax.random.key(seed), -(-count // size)), []
    for number, key in enumerate(keys):
        drawn, levels = batch(key)
        parts.append([np.asarray(leaf) for leaf in (*drawn, levels)])
        report((number + 1) / len(keys))
    x, density, upright, energies = (np.concatenate(part)[:count] for part in zip(*parts, strict=True))
    kept = upright & np.isfinite(density)
    if kept.sum() < min(LEAST, count):
        raise WorkFailed(f"Steps were one-to-one for {kept.sum()} of {count} samples only: the sampler is not trained.")
    energies = np.where(np.isnan(energies), np.inf, energies)  # two on one place
    return Samples(x[kept], energies[kept], density[kept], calls * count, 1 - float(kept.mean()))
