"""The task of learning a score from states with forces: all but the file of the sampler, which each kind has."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from ergodica.sampling.diffusion.random_feed import RandomFeed
from ergodica.sampling.diffusion.score_matching import (
    Noisy,
    ScoreErrors,
    States,
    mean_error,
    noisy_states,
    score_error,
)
from ergodica.sampling.spaces import Space

__all__ = ["ScoreTask"]


class ScoreTask:
    """A sampler and states of its ensemble.

    Args:
        config: what to do; its data has the `steps` of an epoch.
        sampler: to begin with, a frozen dataclass with `noise`, `params`, `info` and `denoiser(params)`.
        space: where the states are.
        train: states to learn from.
        validation: states to choose the best step by.
        calls: of the energy that the states took; 0 if they come from elsewhere.
    """

    members = 0
    validated = 40
    """Batches that validate."""

    def __init__(
        self, config: Any, sampler: Any, space: Space, train: States, validation: States, calls: int = 0
    ) -> None:
        self.config, self.sampler, self.space, self.calls = config, sampler, space, calls
        self.train, self.validation, self.params = train, validation, sampler.params
        self.trainable = jax.tree.map(lambda _: 1.0, self.params)
        self.clean = train.clean
        self.fingerprint = hashlib.sha256(train.x.tobytes() + validation.x.tobytes()).hexdigest()

    def loaders(self, devices: int) -> tuple[RandomFeed, RandomFeed]:
        """Batches to train on and to validate with."""
        length, validated = self.config.run.steps_per_call, self.validated
        training = RandomFeed(self.maker(self.train), self.config.data.steps, length, devices)
        return training, RandomFeed(self.maker(self.validation), validated, length)

    def maker(self, states: States) -> Callable[[np.random.Generator], tuple[Any, Any]]:
        """What makes a batch and its targets of states by random numbers."""
        return partial(noisy_states, states, self.space, self.sampler.noise, self.config.run.batch_size)

    def loss(self, params: Any, batch: Noisy, targets: Any, *_: Array) -> tuple[Float[Array, ""], ScoreErrors]:
        """Mean over samples and degrees of freedom of σ² times the squared error of the score."""
        return score_error(self.sampler.denoiser(params), self.space.dimensions, batch, targets, self.clean)

    def summary(self, errors: ScoreErrors) -> dict[str, float]:
        """Means of summed errors by name."""
        return mean_error(errors)

    def trained(self, params: Any, errors: dict[str, float]) -> Any:
        """The sampler with other parameters, and errors and calls on its card."""
        info = self.config.info
        calls = {"energy_calls": float(self.calls)} if self.calls else {}
        card = replace(info, errors={**info.errors, **errors, **calls})
        return replace(self.sampler, params=params, info=card)
