"""A denoiser of alike particles: pairs that carry numbers, particles that carry numbers and vectors.

Of what comes out, positions turn and reflect with the positions that go in, and change places with the particles. Pair
forces of `blurred_pairs` are among what it sees and what it adds up; where the noise is small they are the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.nn.layers import Dense, LayerNorm

__all__ = ["ParticleNetwork", "ParticleNetworkConfig", "Seen"]


@dataclass(frozen=True)
class ParticleNetworkConfig:
    """Architecture.

    Attributes:
        hidden: channels of a particle and of a pair.
        vectors: vectors of a particle.
        layers: rounds of messages.
        radial: radial functions of a distance.
    """

    hidden: int = 64
    vectors: int = 16
    layers: int = 3
    radial: int = 16

    def __post_init__(self) -> None:
        if min(self.hidden, self.vectors, self.layers, self.radial) < 1:
            raise InputError("[model] hidden, vectors, layers and radial must be positive.")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Seen:
    """What the network is shown.

    Attributes:
        units: directions from one particle to another [B, N, N, D].
        outward: positions over their typical length [B, N, D].
        pair: numbers of a pair, the same either way [B, N, N, F].
        force: blurred pair force, in units of what is asked for; positive where it drives apart [B, N, N].
        noise: numbers of the level of noise [B, E].
    """

    units: Float[Array, "B N N D"]
    outward: Float[Array, "B N D"]
    pair: Float[Array, "B N N F"]
    force: Float[Array, "B N N"]
    noise: Float[Array, "B E"]


class ParticleNetwork(nn.Module):
    """Sees, and gives displacements [B, N, D] in units of what is asked for; at first the sum of the pair forces."""

    config: ParticleNetworkConfig

    @nn.compact
    def __call__(self, seen: Seen) -> Float[Array, "B N D"]:
        """Displacements."""
        config, count = self.config, seen.outward.shape[1]
        act, apart = jax.nn.silu, 1.0 - jnp.eye(count)
        level = act(Dense(config.hidden, "level")(seen.noise))
        outward = jnp.sum(seen.outward**2, axis=-1, keepdims=True)
        place = jnp.concatenate([outward, jnp.sqrt(outward + 1e-6)], axis=-1)
        x = Dense(config.hidden, "place")(place) + level[:, None]
        pair = Dense(config.hidden, "pair")(seen.pair) + level[:, None, None]
        vectors = seen.outward[:, :, None] * jnp.ones((config.vectors, 1))
        for layer in range(config.layers):
            vectors = vectors * jax.lax.rsqrt(1.0 + jnp.mean(vectors**2, axis=(2, 3), keepdims=True))
            told = _angles(vectors, seen.units)
            message = Dense(config.hidden, f"angle_{layer}", bias=False)(told) + pair
            ends = jnp.split(Dense(2 * config.hidden, f"ends_{layer}")(LayerNorm(f"norm_{layer}")(x)), 2, axis=-1)
            message = act(message + ends[0][:, :, None] + ends[1][:, None])
            message = act(Dense(config.hidden, f"message_{layer}")(message)) * apart[..., None]
            pair = pair + Dense(config.hidden, f"pair_{layer}")(message)
            gathered = jnp.sum(message, axis=2) / count**0.5
            x = x + Dense(config.hidden, f"mix_{layer}")(act(Dense(config.hidden, f"gather_{layer}")(gathered)))
            push = Dense(config.vectors, f"push_{layer}")(message) * apart[..., None]
            turned = jnp.einsum("bijc,bijd->bicd", push, seen.units) / count**0.5
            kept = jnp.einsum("bicd,ce->bied", vectors, self._mixer(f"turn_{layer}"))
            vectors = kept * Dense(config.vectors, f"keep_{layer}")(x)[..., None] + turned + vectors
        return self._read(x, pair, vectors, seen, apart)

    def _mixer(self, name: str) -> Array:
        """Weights that mix the vectors of a particle."""
        count = self.config.vectors
        return self.param(name, nn.initializers.lecun_normal(), (count, count))

    def _read(self, x: Array, pair: Array, vectors: Array, seen: Seen, apart: Array) -> Float[Array, "B N D"]:
        """Pushes along all pairs, pair forces more or less counted, and each particle's own vectors."""
        zero = nn.initializers.zeros
        ends = jnp.split(Dense(2 * self.config.hidden, "last_ends")(x), 2, axis=-1)
        known = jax.nn.silu(pair + ends[0][:, :, None] + ends[1][:, None])
        known = jax.nn.silu(Dense(self.config.hidden, "last")(known))
        own, share = jnp.moveaxis(nn.Dense(2, kernel_init=zero, name="pushes")(known), -1, 0)
        pushes = (own + (1.0 + share) * seen.force) * apart
        alone = nn.Dense(self.config.vectors, kernel_init=zero, name="alone")(x)
        return jnp.einsum("bic,bicd->bid", alone, vectors) - jnp.einsum("bij,bijd->bid", pushes, seen.units)


def _angles(vectors: Float[Array, "B N C D"], units: Float[Array, "B N N D"]) -> Float[Array, "B N N F"]:
    """Of the vectors of both ends with the direction between them, and with each other."""
    here = jnp.einsum("bicd,bijd->bijc", vectors, units)
    there = jnp.einsum("bjcd,bijd->bijc", vectors, units)
    both = jnp.einsum("bicd,bjcd->bijc", vectors, vectors)
    return jnp.concatenate([here, there, both], axis=-1)
