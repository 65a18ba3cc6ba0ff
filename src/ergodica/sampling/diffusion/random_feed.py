"""Batches that are made up at random: what an epoch is made of where states are drawn and noise is added."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ergodica.training.data import Chunk, stacked

__all__ = ["RandomFeed"]


@dataclass(frozen=True)
class RandomFeed:
    """Yields the chunks of an epoch; a seed defines a batch, and the plan of an epoch is the seeds.

    Attributes:
        make: a batch and its targets by random numbers.
        batches: of an epoch.
        length: batches of a chunk.
        devices: batches of a step.
    """

    make: Callable[[np.random.Generator], tuple[Any, Any]]
    batches: int
    length: int
    devices: int = 1

    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        return self.batches

    def plan(self, rng: np.random.Generator | None) -> list[list[int]]:
        """Seeds of the batches of each chunk; without `rng` always the same."""
        rng = rng or np.random.default_rng(0)
        seeds = rng.integers(2**32, size=self.batches * self.devices).tolist()
        span = self.length * self.devices
        return [seeds[start : start + span] for start in range(0, len(seeds), span)]

    def chunk(self, *planned: int) -> Chunk:
        """Make one planned chunk."""
        return stacked([self.make(np.random.default_rng(seed)) for seed in planned], self.length, self.devices)
