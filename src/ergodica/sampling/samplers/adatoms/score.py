"""The denoiser of an atom above a surface, and the space it lives in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.sampling.energies.surfaces import Surface
from ergodica.sampling.samplers.adatoms.network import AdatomNetwork, AdatomNetworkConfig
from ergodica.units import KB

__all__ = ["Above", "AdatomDenoiser", "fresh_params"]

HEIGHT, WIDTH = 1.6, 0.35
"""Of visitors above the uppermost layer, mean and standard deviation, Å: what is subtracted before the network."""
UNIT = 0.25
"""Width of the density about a site, Å: scores without noise are of the order of its inverse."""
LOWEST, HIGHEST = 0.3, 3.5
"""Heights that the network is shown, Å: those further out are shown as these."""
FARTHEST = 3.0
"""Widths of the height's distribution that the network is shown: beyond, it had nothing to learn from."""
RATES = 8
ROOM = 0.0259
"""kT at 300 K, eV."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Above:
    """Places above a surface (see `ergodica.sampling.spaces.Space`); they may be lattice vectors away."""

    lattice: Float[Array, "2 2"]

    @property
    def shape(self) -> tuple[int]:
        """Of one sample."""
        return (3,)

    @property
    def dimensions(self) -> int:
        """Degrees of freedom."""
        return 3

    def project(self, x: Float[Array, "B 3"]) -> Float[Array, "B 3"]:
        """Every point is one of the space."""
        return x

    def prior(self, key: Array, count: int, width: Float[Array, ""] | float) -> Float[Array, "B 3"]:
        """Uniform in the cell, as wide noise is, and Gaussian in height."""
        plane, height = jax.random.split(key)
        inner = jax.random.uniform(plane, (count, 2)) @ self.lattice
        z = HEIGHT + jnp.sqrt(width**2 + WIDTH**2) * jax.random.normal(height, (count, 1))
        return jnp.concatenate([inner, z], axis=1)

    def log_prior(self, x: Float[Array, "B 3"], width: Float[Array, ""] | float) -> Float[Array, " B"]:
        """Of these."""
        variance = width**2 + WIDTH**2
        normal = -0.5 * (x[:, 2] - HEIGHT) ** 2 / variance - 0.5 * jnp.log(2 * math.pi * variance)
        return normal - jnp.log(jnp.abs(jnp.linalg.det(self.lattice)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AdatomDenoiser:
    """D(x, σ) = x + σ² s with the score s = -(z - z₀) ẑ / (σ² + w²) + F(x, σ) / √(σ² + u²).

    Attributes:
        params: of the network.
        surface: the slab.
        number: atomic number of the atom above it.
        temperature: K.
        config: architecture.
    """

    params: Any
    surface: Surface
    number: Int[Array, ""]
    temperature: Float[Array, ""]
    config: AdatomNetworkConfig = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "B 3"], sigma: Float[Array, "..."]) -> Float[Array, "B 3"]:
        """Expected places without noise, Å; one level for all, or each its own [B]."""
        return x + jnp.broadcast_to(sigma, len(x))[:, None] ** 2 * self.score(x, sigma)

    def score(self, x: Float[Array, "B 3"], sigma: Float[Array, "..."]) -> Float[Array, "B 3"]:
        """∇log p_σ, 1/Å."""
        sigma = jnp.broadcast_to(sigma, len(x))
        middle, half = 0.5 * (LOWEST + HIGHEST), 0.5 * (HIGHEST - LOWEST)
        off = x[:, 2] - HEIGHT
        seen = x.at[:, 2].set(middle + half * jnp.tanh((x[:, 2] - middle) / half))
        heat = jnp.full(len(x), ROOM) / (KB * self.temperature)
        height = FARTHEST * jnp.tanh(off / (FARTHEST * jnp.sqrt(sigma**2 + WIDTH**2)))
        wave = jnp.log(sigma)[:, None] * 2.0 ** (jnp.arange(RATES) / 2 - 2)
        plain = jnp.stack([height, jnp.tanh(off), heat, jnp.log(heat)], axis=-1)
        level = jnp.concatenate([jnp.sin(wave), jnp.cos(wave), plain], axis=-1)
        found = jnp.asarray(AdatomNetwork(self.config).apply(self.params, self.surface, self.number, seen, level))
        down = -off / (sigma**2 + WIDTH**2)
        return (found / jnp.sqrt(sigma**2 + UNIT**2)[:, None]).at[:, 2].add(down)


def fresh_params(config: AdatomNetworkConfig, key: Array) -> Any:
    """Parameters with which the network answers with nothing."""
    surface = Surface(np.array([29]), np.zeros((1, 3), np.float32), 10 * np.eye(2, dtype=np.float32))  # type: ignore[arg-type]
    level = jnp.zeros((1, 2 * RATES + 4))
    return jax.jit(AdatomNetwork(config).init)(key, surface, jnp.asarray(8), jnp.ones((1, 3)), level)
