"""A score for an atom above a surface: atoms of the slab learn of each other, then pull at the visitor.

Everything is made of distances, of heights, and of directions to atoms of the slab, so what comes out turns, is
mirrored and repeats with the slab, whatever the size of its cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.nn.layers import Dense, LayerNorm
from ergodica.nn.radial import polynomial_cutoff
from ergodica.sampling.energies.surfaces import Surface

__all__ = ["AdatomNetwork", "AdatomNetworkConfig"]

UNIT = 0.25
"""Messages of about a dozen atoms are added up."""


@dataclass(frozen=True)
class AdatomNetworkConfig:
    """Architecture.

    Attributes:
        hidden: channels of an atom and of a message.
        vectors: vectors of the visitor.
        layers: rounds of messages to the visitor, and between the atoms of the slab.
        radial: radial functions of a distance.
        reach: atoms of the slab within this distance of the visitor act on it, Å.
        shell: atoms of the slab within this distance learn of each other, Å.
        partners: of the visitor, at most; the nearest count.
        neighbors: of an atom of the slab, at most.
    """

    hidden: int = 48
    vectors: int = 16
    layers: int = 2
    radial: int = 16
    reach: float = 6.0
    shell: float = 4.5
    partners: int = 48
    neighbors: int = 18

    def __post_init__(self) -> None:
        counts = (self.hidden, self.vectors, self.layers, self.radial, self.partners, self.neighbors)
        if min(counts) < 1 or min(self.reach, self.shell) <= 0:
            raise InputError("[model] all numbers must be positive.")


class _Near(NamedTuple):
    """The nearest images of atoms of the slab."""

    atom: Int[Array, "Q K"]
    units: Float[Array, "Q K 3"]
    radial: Float[Array, "Q K R"]
    fade: Float[Array, "Q K 1"]


class AdatomNetwork(nn.Module):
    """A slab and places above it in, a vector [Q, 3] for each place out; none at first."""

    config: AdatomNetworkConfig

    @nn.compact
    def __call__(
        self, surface: Surface, number: Int[Array, ""], x: Float[Array, "Q 3"], level: Float[Array, "Q E"]
    ) -> Float[Array, "Q 3"]:
        """Vectors.

        Args:
            surface: the slab.
            number: atomic number of the visitor.
            x: places, Å.
            level: numbers of the noise, the temperature and the height.
        """
        config, act = self.config, jax.nn.silu
        slab = self._slab(surface)
        near = _near(surface, x, config.partners, config.reach, config.radial)
        kind = nn.Embed(len(SYMBOLS), config.hidden, name="visitor")(number)
        state = act(Dense(config.hidden, "level")(level) + kind)
        pair = Dense(config.hidden, "pair")(jnp.concatenate([near.radial, near.units[..., 2:]], axis=-1))
        pair = pair + Dense(config.hidden, "atom")(slab)[near.atom]
        vectors = jnp.zeros((len(x), config.vectors, 3), x.dtype)
        for layer in range(config.layers):
            angles = jnp.einsum("qcd,qkd->qkc", vectors, near.units)
            told = Dense(config.hidden, f"state_{layer}")(state)[:, None]
            told = told + Dense(config.hidden, f"angle_{layer}", bias=False)(angles)
            message = act(Dense(config.hidden, f"message_{layer}")(act(pair + told))) * near.fade
            push = Dense(config.vectors, f"push_{layer}", bias=False)(message)
            vectors = vectors + UNIT * jnp.einsum("qkc,qkd->qcd", push, near.units)
            sizes = jnp.concatenate([jnp.sum(vectors**2, axis=-1), vectors[..., 2]], axis=-1)
            gathered = jnp.concatenate([UNIT * message.sum(axis=1), sizes / (1 + jnp.abs(sizes))], axis=-1)
            state = state + Dense(config.hidden, f"mix_{layer}")(act(Dense(config.hidden, f"gather_{layer}")(gathered)))
        return self._read(state, message, vectors, near)

    def _slab(self, surface: Surface) -> Float[Array, "S H"]:
        """What the atoms of the slab know of their surroundings."""
        config, act = self.config, jax.nn.silu
        near = _near(surface, surface.positions, config.neighbors + 1, config.shell, config.radial, own=True)
        depth = jnp.exp(surface.positions[:, 2:] / jnp.array([1.0, 3.0]))
        h = nn.Embed(len(SYMBOLS), config.hidden, name="element")(surface.numbers)
        h = h + Dense(config.hidden, "depth")(depth)
        pair = Dense(config.hidden, "slab_pair")(jnp.concatenate([near.radial, near.units[..., 2:]], axis=-1))
        for layer in range(config.layers):
            here, there = jnp.split(Dense(2 * config.hidden, f"slab_ends_{layer}")(h), 2, axis=-1)
            message = act(pair + here[:, None] + there[near.atom]) * near.fade
            h = h + Dense(config.hidden, f"slab_mix_{layer}")(
                act(Dense(config.hidden, f"slab_gather_{layer}")(UNIT * message.sum(axis=1)))
            )
        return LayerNorm("slab_norm")(h)

    def _read(self, state: Array, message: Array, vectors: Array, near: _Near) -> Float[Array, "Q 3"]:
        """Pushes along all pairs, the visitor's own vectors, and the normal."""
        zero = nn.initializers.zeros
        pushes = nn.Dense(1, kernel_init=zero, name="pushes")(message) * near.fade
        alone = nn.Dense(self.config.vectors + 1, kernel_init=zero, name="alone")(state)
        upward = alone[:, -1:] * jnp.array([0.0, 0.0, 1.0])
        return jnp.sum(pushes * near.units, axis=1) + jnp.einsum("qc,qcd->qd", alone[:, :-1], vectors) + upward


def _near(surface: Surface, x: Float[Array, "Q 3"], count: int, reach: float, radial: int, own: bool = False) -> _Near:
    """The nearest images; an atom of the slab is not near itself."""
    vectors, lengths = surface.nearest(x)
    flat = lengths.reshape(len(x), -1)
    count = min(count, flat.shape[1])
    index = jax.lax.top_k(-flat, count)[1]
    length = jnp.take_along_axis(flat, index, axis=1)
    units = jnp.take_along_axis(vectors.reshape(len(x), -1, 3), index[..., None], axis=1) / length[..., None]
    centres = jnp.linspace(0.0, reach, radial)
    bumps = jnp.exp(-0.5 * ((length[..., None] - centres) * (radial / reach)) ** 2)
    fade = polynomial_cutoff(length, reach)
    if own:
        fade = jnp.where(length > 1e-3, fade, 0.0)
        units = jnp.where(length[..., None] > 1e-3, units, 0.0)
    return _Near(index // 4, units, bumps, fade[..., None])
