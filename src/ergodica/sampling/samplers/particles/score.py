"""The denoiser of a system of particles: what its network is shown, and what is made of the answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.sampling.samplers.particles.blurred_pairs import BlurredPairs
from ergodica.sampling.samplers.particles.network import ParticleNetwork, ParticleNetworkConfig, Seen

__all__ = ["ParticleDenoiser", "fresh_params"]

MOST = 8.0
"""Of a pair force in units of what is asked for: beyond, particles overlap and it means little."""
RATES = 8
"""Waves of the logarithm of the noise."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ParticleDenoiser:
    """D(x, σ) = x σd²/(σ² + σd²) + σ σd/√(σ² + σd²) F(x, σ) (Karras et al. 2022, arXiv:2206.00364, eq. 7).

    Attributes:
        params: of the network.
        pairs: blurred pair forces.
        width: σd, the standard deviation of a coordinate of the data.
        config: architecture.
    """

    params: Any
    pairs: BlurredPairs
    width: Float[Array, ""]
    config: ParticleNetworkConfig = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "B N D"], sigma: Float[Array, "..."]) -> Float[Array, "B N D"]:
        """Expected positions without noise; one level for all, or each its own [B]."""
        sigma = jnp.broadcast_to(sigma, len(x))
        spread = jnp.sqrt(sigma**2 + self.width**2)
        unit = sigma * self.width / spread
        seen = self._seen(x, sigma, spread, unit)
        moved = jnp.asarray(ParticleNetwork(self.config).apply(self.params, seen))
        kept = (self.width / spread)[:, None, None] ** 2 * x
        clean = kept + unit[:, None, None] * moved
        return clean - clean.mean(axis=1, keepdims=True)

    def _seen(self, x: Array, sigma: Array, spread: Array, unit: Array) -> Seen:
        between = x[:, None] - x[:, :, None]  # from the first to the second
        distance = jnp.sqrt(jnp.sum(between**2, axis=-1) + 1e-12)
        push = self.pairs(distance, sigma) * (sigma**2 / unit)[:, None, None]
        push = push / (1 + (push / MOST) ** 4) ** 0.25
        size = self.pairs.size
        near, far = distance / size, distance / (size + 2 * sigma[:, None, None])
        radial = [_bumps(value, self.config.radial) for value in (near, far)]
        scaled = distance / spread[:, None, None]
        pair = jnp.concatenate([*radial, push[..., None], scaled[..., None]], axis=-1)
        wave = jnp.log(sigma)[:, None] * 2.0 ** (jnp.arange(RATES) / 2 - 2)
        noise = jnp.concatenate([jnp.sin(wave), jnp.cos(wave)], axis=-1)
        return Seen(between / distance[..., None], x / spread[:, None, None], pair, push, noise)


def _bumps(value: Float[Array, "B N N"], count: int) -> Float[Array, "B N N C"]:
    """Gaussians at evenly spaced centres between 0 and 1.2."""
    centres = jnp.linspace(0.0, 1.2, count)
    return jnp.exp(-0.5 * ((value[..., None] - centres) * (count / 1.2)) ** 2)


def fresh_params(config: ParticleNetworkConfig, shape: tuple[int, ...], key: Array) -> Any:
    """Parameters with which the network answers with the sum of the pair forces."""
    count, dimensions = shape
    square = (1, count, count)
    shown = Seen(
        jnp.zeros((*square, dimensions)),
        jnp.zeros((1, count, dimensions)),
        jnp.zeros((*square, 2 * config.radial + 2)),
        jnp.zeros(square),
        jnp.zeros((1, 2 * RATES)),
    )
    return jax.jit(ParticleNetwork(config).init)(key, shown)
