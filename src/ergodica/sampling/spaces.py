"""Where samples live: what noise is in that space, how many dimensions it has, and the density of the prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["Centred", "Euclidean", "Space"]


class Space(Protocol):
    """A linear space of samples of a given shape."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""

    @property
    def dimensions(self) -> int:
        """Degrees of freedom."""

    def project(self, x: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """The nearest point of the space."""


@dataclass(frozen=True)
class Euclidean:
    """All of R^n."""

    shape: tuple[int, ...]

    @property
    def dimensions(self) -> int:
        """Numbers of a sample."""
        return math.prod(self.shape)

    def project(self, x: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """Every point is one of the space."""
        return x


@dataclass(frozen=True)
class Centred:
    """Positions of particles [N, 3] (or of other dimension) with their centre at the origin."""

    shape: tuple[int, ...]

    @property
    def dimensions(self) -> int:
        """Those of the centre are not there."""
        return (self.shape[0] - 1) * self.shape[1]

    def project(self, x: Float[Array, "B N D"]) -> Float[Array, "B N D"]:
        """Moves the centre to the origin."""
        return x - x.mean(axis=-2, keepdims=True)


def noise_like(space: Space, key: Array, count: int) -> Float[Array, "B ..."]:
    """Standard normal noise in the space."""
    return space.project(jax.random.normal(key, (count, *space.shape)))


def log_normal(space: Space, x: Float[Array, "B ..."], width: Float[Array, ""] | float) -> Float[Array, " B"]:
    """Log-density of the Gaussian of that width about the origin of the space."""
    square = jnp.sum(x.reshape(len(x), -1) ** 2, axis=1) / width**2
    return -0.5 * square - space.dimensions * (0.5 * math.log(2 * math.pi) + jnp.log(width))
