"""Log-density of samples under the probability flow, exact or with an unbiased estimate and its standard error."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.solvers import Denoiser
from ergodica.sampling.spaces import Space, noise_like

__all__ = ["LogDensity", "log_density"]


class LogDensity(NamedTuple):
    """Natural logarithm of the density in the unit of the data, and its standard error (0 where it is exact)."""

    value: Float[Array, " B"]
    error: Float[Array, " B"]


def log_density(
    denoiser: Denoiser,
    space: Space,
    x: Float[Array, "B ..."],
    *,
    noise: Noise,
    steps: int = 128,
    probes: int = 0,
    key: Array | None = None,
) -> LogDensity:
    """log p(x) = log N(x_T) + ∫ ∇·v dσ along the flow dx/dσ = v = (x - D(x, σ))/σ from data to prior, by Heun's rule.

    Song et al. 2021 (arXiv:2011.13456), eq. 39. The density is that of data with the smallest noise.

    Args:
        denoiser: the model.
        space: where samples live.
        x: samples.
        noise: levels of noise that the denoiser knows.
        steps: between the smallest and the largest, two evaluations and divergences each.
        probes: random directions of Hutchinson's estimate of the divergence; 0 computes it exactly, one derivative
            per degree of freedom.
        key: of the probes.
    """
    levels = noise.levels(steps)[::-1]
    exact = probes == 0
    if exact:
        directions = basis(space)[:, None] * jnp.ones((1, len(x)) + (1,) * len(space.shape))
    else:
        count = probes * len(x)
        key = jax.random.key(0) if key is None else key
        directions = noise_like(space, key, count).reshape(probes, len(x), *space.shape)

    def rates(at: Array, level: Array) -> tuple[Array, Array]:
        """Velocity, and its slope along each direction."""

        def velocity(point: Array) -> Array:
            return (point - denoiser(point, level)) / level

        def along(direction: Array) -> tuple[Array, Array]:
            here, change = jax.jvp(velocity, (at,), (direction,))
            return here, jnp.sum((change * direction).reshape(len(x), -1), axis=1)

        here, slopes = jax.lax.map(along, directions)
        return here[0], slopes

    def move(state: tuple[Array, Array], step: tuple[Array, Array]) -> tuple[tuple[Array, Array], None]:
        at, total = state
        low, high = step
        velocity, slopes = rates(at, low)
        there, beyond = rates(at + (high - low) * velocity, high)
        half = 0.5 * (high - low)
        return (at + half * (velocity + there), total + half * (slopes + beyond)), None

    none = jnp.zeros((len(directions), len(x)))
    (end, total), _ = jax.lax.scan(move, (x, none), (levels[:-1], levels[1:]))
    prior = space.log_prior(end, levels[-1])
    if exact:
        return LogDensity(prior + total.sum(axis=0), jnp.zeros(len(x)))
    error = total.std(axis=0, ddof=1) / jnp.sqrt(probes) if probes > 1 else jnp.full(len(x), jnp.inf)
    return LogDensity(prior + total.mean(axis=0), error)


def basis(space: Space) -> Float[Array, "D ..."]:
    """An orthonormal basis of the space."""
    size = math.prod(space.shape)
    projection = space.project(jnp.eye(size).reshape(size, *space.shape)).reshape(size, size)
    return (
        jnp.linalg.eigh(projection)[1].T[size - space.dimensions :].reshape(-1, *space.shape)
    )  # eigenvalues 0, then 1
