"""Where samples live: what noise is in that space, how many dimensions it has, and the density of the prior."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["Centred", "Cylinder", "Euclidean", "Space", "Torus"]


class Space(Protocol):
    """A linear space of samples of a given shape, and the prior that noise of a width leads to."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""

    @property
    def dimensions(self) -> int:
        """Degrees of freedom."""

    def project(self, x: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        """The nearest point of the space."""

    def prior(self, key: Array, count: int, width: Float[Array, ""] | float) -> Float[Array, "B ..."]:
        """Samples of the prior."""

    def log_prior(self, x: Float[Array, "B ..."], width: Float[Array, ""] | float) -> Float[Array, " B"]:
        """Its log-density."""


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

    def prior(self, key: Array, count: int, width: Float[Array, ""] | float) -> Float[Array, "B ..."]:
        """A Gaussian about the origin."""
        return width * noise_like(self, key, count)

    def log_prior(self, x: Float[Array, "B ..."], width: Float[Array, ""] | float) -> Float[Array, " B"]:
        """Of the Gaussian."""
        return log_normal(self, x, width)


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

    def prior(self, key: Array, count: int, width: Float[Array, ""] | float) -> Float[Array, "B N D"]:
        """A Gaussian about the origin."""
        return width * noise_like(self, key, count)

    def log_prior(self, x: Float[Array, "B N D"], width: Float[Array, ""] | float) -> Float[Array, " B"]:
        """Of the Gaussian."""
        return log_normal(self, x, width)


@dataclass(frozen=True)
class Torus:
    """Angles (rad), on the covering space R^T: scores have the period of a turn, samples may be turns away.

    Attributes:
        dimensions: number of angles.
    """

    dimensions: int

    @property
    def shape(self) -> tuple[int]:
        """Of one sample."""
        return (self.dimensions,)

    def project(self, x: Float[Array, "B T"]) -> Float[Array, "B T"]:
        """Every point is one of the space."""
        return x

    def prior(self, key: Array, count: int, width: Float[Array, ""] | float) -> Float[Array, "B T"]:
        """Uniform, as wrapped noise of a few radians is."""
        return jax.random.uniform(key, (count, self.dimensions), minval=-jnp.pi, maxval=jnp.pi)

    def log_prior(self, x: Float[Array, "B T"], width: Float[Array, ""] | float) -> Float[Array, " B"]:
        """Of the uniform density."""
        return jnp.full(len(x), -self.dimensions * math.log(2 * math.pi))


@dataclass(frozen=True)
class Cylinder:
    """Numbers that may be anything, and after them angles in units of `pace` radians, on their covering space.

    Attributes:
        reals: how many numbers.
        angles: how many angles.
        pace: an angle of 1, rad.
    """

    reals: int
    angles: int
    pace: float = 1.0

    @property
    def dimensions(self) -> int:
        """Of both."""
        return self.reals + self.angles

    @property
    def shape(self) -> tuple[int]:
        """Of one sample."""
        return (self.dimensions,)

    @property
    def period(self) -> float:
        """A turn of an angle."""
        return 2 * math.pi / self.pace

    def project(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """Every point is one of the space."""
        return x

    def prior(self, key: Array, count: int, width: Float[Array, ""] | float) -> Float[Array, "B D"]:
        """A Gaussian of the numbers; angles anywhere within a turn."""
        one, other = jax.random.split(key)
        turned = self.period * (jax.random.uniform(other, (count, self.angles)) - 0.5)
        return jnp.concatenate([width * jax.random.normal(one, (count, self.reals)), turned], axis=1)

    def log_prior(self, x: Float[Array, "B D"], width: Float[Array, ""] | float) -> Float[Array, " B"]:
        """Of both."""
        numbers = Euclidean((self.reals,)).log_prior(x[:, : self.reals], width)
        return numbers - self.angles * math.log(self.period)


def noise_like(space: Space, key: Array, count: int) -> Float[Array, "B ..."]:
    """Standard normal noise in the space."""
    return space.project(jax.random.normal(key, (count, *space.shape)))


def log_normal(space: Space, x: Float[Array, "B ..."], width: Float[Array, ""] | float) -> Float[Array, " B"]:
    """Log-density of the Gaussian of that width about the origin of the space."""
    square = jnp.sum(x.reshape(len(x), -1) ** 2, axis=1) / width**2
    return -0.5 * square - space.dimensions * (0.5 * math.log(2 * math.pi) + jnp.log(width))
