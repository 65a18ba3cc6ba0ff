"""The denoiser of one molecule in internal coordinates: a residual network over stiff coordinates and free angles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.nn.layers import Dense, LayerNorm
from ergodica.sampling.coordinates.chart import Chart
from ergodica.sampling.coordinates.internal import distant
from ergodica.sampling.spaces import Cylinder

__all__ = ["InternalDenoiser", "InternalNetwork", "InternalNetworkConfig", "fresh_internal"]

RATES = 8
"""Waves of the logarithm of the noise."""
TURNS = 3
"""Highest harmonic of a free angle."""
REACHES = (2.5, 5.0, 10.0)
"""Widths of Gaussians of distances, Å."""


@dataclass(frozen=True)
class InternalNetworkConfig:
    """Architecture.

    Attributes:
        hidden: channels.
        blocks: residual blocks of two layers.
        potential: whether scores are slopes of a log-density that is learnt, rather than learnt themselves.
        distances: whether distances between atoms are seen, not only what places each, and pulled at.
    """

    hidden: int = 256
    blocks: int = 3
    potential: bool = False
    distances: bool = False

    def __post_init__(self) -> None:
        if min(self.hidden, self.blocks) < 1:
            raise InputError("[model] hidden and blocks must be positive.")
        if self.potential and self.distances:
            raise InputError("[model] a log-density that sees distances is not there: choose potential or distances.")


class InternalNetwork(nn.Module):
    """What is seen [B, F] and numbers of the level of noise [B, E] to scores in units of the noise [B, D]."""

    config: InternalNetworkConfig
    dimensions: int

    @nn.compact
    def __call__(self, seen: Float[Array, "B F"], noise: Float[Array, "B E"]) -> Float[Array, "B D"]:
        """Scores."""
        hidden = self.config.hidden
        level = jax.nn.silu(Dense(hidden, "level")(noise))
        x = Dense(hidden, "seen")(seen) + Dense(hidden, "begin")(level)
        for block in range(self.config.blocks):
            inner = Dense(hidden, f"in_{block}")(LayerNorm(f"norm_{block}")(x)) + Dense(hidden, f"level_{block}")(level)
            x = x + Dense(hidden, f"out_{block}")(jax.nn.silu(inner))
        zero = nn.initializers.zeros
        return nn.Dense(self.dimensions, kernel_init=zero, name="scores")(jax.nn.silu(LayerNorm("last")(x)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class InternalDenoiser:
    """D(x, σ) = x + σ² s: the score s is that of a unit Gaussian for stiff coordinates, plus F/√(1 + σ²).

    F is what the network says of each coordinate. If it sees distances, it also says how strongly each is to grow or
    shrink, and F has what that is in the coordinates, by the derivatives of the distances.

    Attributes:
        params: of the network.
        space: of the coordinates.
        config: architecture.
        chart: where atoms are, if their distances are seen.
    """

    params: Any
    space: Cylinder = field(metadata={"static": True})
    config: InternalNetworkConfig = field(metadata={"static": True})
    chart: Chart | None = None

    def __call__(self, x: Float[Array, "B D"], sigma: Float[Array, "..."]) -> Float[Array, "B D"]:
        """Expected coordinates without noise; one level for all, or each its own [B]."""
        sigma = jnp.broadcast_to(sigma, len(x))[:, None]
        if self.config.potential:
            return x + sigma**2 * jax.grad(lambda x: jnp.sum(self.log_density(x, sigma[:, 0])))(x)
        scale = jax.lax.rsqrt(1 + sigma**2)
        stiff, free = x[:, : self.space.reals], x[:, self.space.reals :]
        known = jnp.concatenate([-stiff * scale**2, jnp.zeros_like(free)], axis=1)
        return x + sigma**2 * (known + self._learnt(x, sigma) * scale)

    def log_density(self, x: Float[Array, "B D"], sigma: Float[Array, "..."]) -> Float[Array, " B"]:
        """Of noisy coordinates, where the network was made for it: a unit Gaussian for stiff ones, plus what is learnt.

        Its integral is that of the Boltzmann factor it learnt from, the same at every level.
        """
        sigma = jnp.broadcast_to(sigma, len(x))[:, None]
        width = jnp.sqrt(1 + sigma**2)
        stiff = x[:, : self.space.reals] / width
        known = -0.5 * jnp.sum(stiff**2 + jnp.log(2 * jnp.pi * width**2), axis=1)
        return known + self._learnt(x, sigma)[:, 0]

    def _learnt(self, x: Float[Array, "B D"], sigma: Float[Array, "B 1"]) -> Float[Array, "B E"]:
        wave = jnp.log(sigma) * 2.0 ** (jnp.arange(RATES) / 2 - 2)
        noise = jnp.concatenate([jnp.sin(wave), jnp.cos(wave)], axis=1)
        network = InternalNetwork(self.config, _outputs(self.config, self.space, self.chart))
        seen = _seen(self.space, x, sigma)
        chart = self.chart
        if chart is None:
            return jnp.asarray(network.apply(self.params, seen, noise))
        near, back = jax.vjp(lambda x: _near(chart, self.space, x, sigma), x)
        found = jnp.asarray(network.apply(self.params, jnp.concatenate([seen, near], axis=1), noise))
        direct, pulls = jnp.split(found, [self.space.dimensions], axis=1)
        return direct + back(pulls)[0]


def _outputs(config: InternalNetworkConfig, space: Cylinder, chart: Chart | None) -> int:
    pulls = 0 if chart is None else len(REACHES) * len(distant(chart.plan)[0])
    return 1 if config.potential else space.dimensions + pulls


def _seen(space: Cylinder, x: Float[Array, "B D"], sigma: Float[Array, "B 1"]) -> Float[Array, "B F"]:
    """Scaled stiff coordinates, and waves of the angles."""
    stiff, free = x[:, : space.reals], x[:, space.reals :]
    turns = jnp.concatenate([free * space.pace * (1 + turn) for turn in range(TURNS)], axis=1)
    return jnp.concatenate([stiff * jax.lax.rsqrt(1 + sigma**2), jnp.sin(turns), jnp.cos(turns)], axis=1)


def _near(chart: Chart, space: Cylinder, x: Float[Array, "B D"], sigma: Float[Array, "B 1"]) -> Float[Array, "B P"]:
    """Gaussians of the distances in a structure whose stiff coordinates are what is expected of them without noise."""
    stiff, free = x[:, : space.reals], x[:, space.reals :]
    places = chart.positions(jnp.concatenate([stiff / (1 + sigma**2), free], axis=1))
    one, other = distant(chart.plan)
    square = jnp.sum((places[:, one] - places[:, other]) ** 2, axis=-1)
    return jnp.concatenate([jnp.exp(-square / reach**2) for reach in REACHES], axis=1)


def fresh_internal(config: InternalNetworkConfig, space: Cylinder, key: Array, chart: Chart | None = None) -> Any:
    """Parameters with which stiff coordinates are Gaussian and angles uniform."""
    x, sigma = jnp.zeros((1, space.dimensions)), jnp.ones((1, 1))
    seen = _seen(space, x, sigma)
    if chart is not None:
        seen = jnp.concatenate([seen, _near(chart, space, x, sigma)], axis=1)
    network = InternalNetwork(config, _outputs(config, space, chart))
    return jax.jit(network.init)(key, seen, jnp.zeros((1, 2 * RATES)))
