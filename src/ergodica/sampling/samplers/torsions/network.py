"""The network that corrects torsion scores: attention between rotors that carry even and odd numbers.

A mirror image has all angles, torques and scores of the other sign. So numbers are kept apart by what a reflection does
to them: even ones go through whatever layers, odd ones are mixed, multiplied by even ones, and multiplied by each other
to give even ones. What comes out is odd exactly, and nothing depends on which atoms a rotor's angle is measured by.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ergodica.errors import InputError
from ergodica.nn.layers import Dense, LayerNorm

__all__ = ["Seen", "TorsionNetwork", "TorsionNetworkConfig"]


@dataclass(frozen=True)
class TorsionNetworkConfig:
    """Architecture.

    Attributes:
        hidden: even channels of a rotor.
        odd: odd channels of a rotor.
        pair: channels of a pair of rotors.
        layers: rounds of attention.
        heads: of the attention.
    """

    hidden: int = 64
    odd: int = 32
    pair: int = 32
    layers: int = 3
    heads: int = 4

    def __post_init__(self) -> None:
        if min(self.hidden, self.odd, self.pair, self.heads) < 1 or self.layers < 0 or self.hidden % self.heads:
            raise InputError("[model] hidden, odd, pair and heads must be positive, and hidden a multiple of heads.")


class Seen(NamedTuple):
    """What the network is shown of rotors and of pairs of them.

    Attributes:
        even: of a rotor, the same in the mirror [B, T, F].
        odd: of a rotor, of the other sign in the mirror [B, T, O].
        pair_even: of two rotors [B, T, T, P].
        pair_odd: of two rotors [B, T, T, Q].
        valid: which rotors are no padding [B, T].
    """

    even: Float[Array, "B T F"]
    odd: Float[Array, "B T O"]
    pair_even: Float[Array, "B T T P"]
    pair_odd: Float[Array, "B T T Q"]
    valid: Bool[Array, "B T"]


class TorsionNetwork(nn.Module):
    """One odd number for each rotor."""

    config: TorsionNetworkConfig

    @nn.compact
    def __call__(self, seen: Seen) -> Float[Array, "B T"]:
        """Corrections, zero at first."""
        config = self.config
        x = Dense(config.hidden, "embed_1")(jax.nn.silu(Dense(config.hidden, "embed_0")(seen.even)))
        o = odd_dense(config.odd, "odd")(seen.odd)
        for number in range(config.layers):
            x, o = RotorAttention(config, name=f"layer_{number}")(x, o, seen)
        gates = nn.Dense(config.odd, kernel_init=nn.initializers.zeros, name="gates")(LayerNorm("norm")(x))
        return jnp.sum(gates * shortened(o), axis=-1) * seen.valid


class RotorAttention(nn.Module):
    """What other rotors do to one, then what its own numbers do to each other."""

    config: TorsionNetworkConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "B T H"], o: Float[Array, "B T C"], seen: Seen
    ) -> tuple[Float[Array, "B T H"], Float[Array, "B T C"]]:
        """New even and odd numbers."""
        config = self.config
        clean, short = LayerNorm("norm")(x), shortened(o)
        pairs = PairMixing(config, name="pairs")(clean, short, seen)
        x = x + Dense(config.hidden, "message")(self._message(clean, pairs, seen.valid))
        gates = Dense(2 * config.odd, "gates")(pairs) * seen.valid[:, None, :, None]
        passed, turned = jnp.split(gates, 2, axis=-1)
        o = o + jnp.einsum("bijc,bjc->bic", passed, odd_dense(config.odd, "passed")(short))
        o = o + jnp.sum(turned * odd_dense(config.odd, "turned")(seen.pair_odd), axis=2)
        short = shortened(o)
        left, right = jnp.split(odd_dense(2 * config.odd, "products")(short), 2, axis=-1)
        inner = jnp.concatenate([LayerNorm("inner_norm")(x), left * right], axis=-1)
        out = Dense(config.hidden + config.odd, "update_1")(jax.nn.silu(Dense(2 * config.hidden, "update_0")(inner)))
        o = o + out[..., config.hidden :] * odd_dense(config.odd, "own")(short)
        return x + out[..., : config.hidden], o

    def _message(
        self, x: Float[Array, "B T H"], pairs: Float[Array, "B T T P"], valid: Bool[Array, "B T"]
    ) -> Float[Array, "B T H"]:
        """Attention with a bias and values from the pairs."""
        heads, (batch, rotors, _) = self.config.heads, x.shape
        query, key, value = (
            Dense(self.config.hidden, name)(x).reshape(batch, rotors, heads, -1) for name in ("query", "key", "value")
        )
        logits = jnp.einsum("bihd,bjhd->bijh", query, key) * query.shape[-1] ** -0.5 + Dense(heads, "bias")(pairs)
        weights = jax.nn.softmax(jnp.where(valid[:, None, :, None], logits, -1e9), axis=2)
        between = Dense(self.config.hidden, "pair_value")(pairs).reshape(batch, rotors, rotors, heads, -1)
        return jnp.einsum("bijh,bijhd->bihd", weights, value[:, None] + between).reshape(batch, rotors, -1)


class PairMixing(nn.Module):
    """Even numbers of pairs: their own, those of either rotor, and products of odd ones."""

    config: TorsionNetworkConfig

    @nn.compact
    def __call__(self, x: Float[Array, "B T H"], o: Float[Array, "B T C"], seen: Seen) -> Float[Array, "B T T P"]:
        """Channels of the pairs."""
        wide = self.config.pair
        one, other = jnp.split(Dense(2 * wide, "ends")(x), 2, axis=-1)
        left, right = jnp.split(odd_dense(2 * wide, "odd_ends")(o), 2, axis=-1)
        products = (odd_dense(wide, "odd_pair")(seen.pair_odd) + left[:, :, None]) * right[:, None]
        return jax.nn.silu(Dense(wide, "even_pair")(seen.pair_even) + one[:, :, None] + other[:, None] + products)


def odd_dense(features: int, name: str) -> nn.Module:
    """Linear mixing, which keeps odd what is odd."""
    return nn.Dense(features, use_bias=False, name=name)


def shortened(o: Float[Array, "*B C"]) -> Float[Array, "*B C"]:
    """No longer than 1 in the mean of squares, small ones unchanged: products of products would explode."""
    return o * jax.lax.rsqrt(1 + jnp.mean(o**2, axis=-1, keepdims=True))
