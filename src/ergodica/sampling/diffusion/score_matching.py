"""Score matching with forces: noisy states, and errors of scores on them, for every sampler that learns from states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.sampling.diffusion.noise import Noise, score_target
from ergodica.sampling.diffusion.solvers import Denoiser
from ergodica.sampling.spaces import Space

__all__ = ["Clean", "Noisy", "ScoreErrors", "States", "mean_error", "noisy_states", "score_error", "summed"]


class States(NamedTuple):
    """States in equilibrium, and the slopes of their log-density."""

    x: Float[np.ndarray, "S ..."]
    forces: Float[np.ndarray, "S ..."]

    @property
    def clean(self) -> float:
        """The level of noise at which forces say as much of the score as the noise does."""
        return 1 / float(np.sqrt(np.mean(self.forces.astype(float) ** 2)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Noisy:
    """States with noise, and its width."""

    x: Float[Array, "B ..."]
    sigma: Float[Array, " B"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Clean:
    """The noise, of unit width, and the forces of the states without it."""

    noise: Float[Array, "B ..."]
    forces: Float[Array, "B ..."]


class ScoreErrors(NamedTuple):
    """Sums over a batch: the mean of squared errors, their sum, and of how many samples and batches."""

    loss: Float[Array, ""]
    squared: Float[Array, ""]
    samples: Float[Array, ""]
    batches: Float[Array, ""]


def noisy_states(
    states: States, space: Space, noise: Noise, size: int, rng: np.random.Generator
) -> tuple[Noisy, Clean]:
    """Random states with noise of levels spread evenly in their logarithm."""
    rows, sigma = rng.integers(len(states.x), size=size), noise.spread(rng, size)
    added: Any = space.project(rng.standard_normal((size, *states.x.shape[1:]), np.float32))  # type: ignore[arg-type]
    noisy: Any = states.x[rows] + across(sigma, added) * added, sigma
    clean: Any = added, states.forces[rows]
    return Noisy(*noisy), Clean(*clean)


def across(levels: Any, like: Any) -> Any:
    """Numbers of samples [B] in the shape that multiplies those samples [B, ...]."""
    return levels.reshape(-1, *[1] * (like.ndim - 1))


def score_error(
    denoiser: Denoiser, dimensions: int, batch: Noisy, targets: Clean, clean: float
) -> tuple[Float[Array, ""], ScoreErrors]:
    """Mean over samples and degrees of freedom of σ² times the squared error of the score.

    Args:
        denoiser: the model.
        dimensions: degrees of freedom.
        batch: noisy states.
        targets: what was added to which.
        clean: the level at which forces say as much as the noise.
    """
    sigma = across(batch.sigma, batch.x)
    score = (denoiser(batch.x, batch.sigma) - batch.x) / sigma**2
    target = score_target(targets.forces, targets.noise, sigma, clean)
    return summed(jnp.sum(sigma**2 * (score - target) ** 2) / dimensions, batch.sigma.size)


def summed(squared: Float[Array, ""], samples: int) -> tuple[Float[Array, ""], ScoreErrors]:
    """The loss of a batch, and its sums."""
    count = jnp.asarray(float(samples))
    return squared / count, ScoreErrors(squared / count, squared, count, jnp.ones(()))


def mean_error(errors: ScoreErrors) -> dict[str, float]:
    """Means of summed errors by name; most of them is the noise of the targets."""
    mean = float(errors.squared) / max(float(errors.samples), 1.0)
    return {"loss": mean, "score_error": mean}
