"""The network of learned functionals: attention between atoms that carry scalars and harmonics up to the basis' degree.

Coefficients of the density enter as what they are, tensors of degree l, and everything done to them turns with the
molecule: mixing of channels within a degree, products with the harmonics of directions between atoms, gates by scalars
(PaiNN, Schütt et al. 2021; attention as in the Equivariant Transformer, Thölke & De Fabritiis 2022). So energies are
invariant exactly and smooth in nuclei and density, where local frames jump when two neighbours change places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dft.learned.layout import Geometry, Layout, Radial
from ergodica.errors import InputError
from ergodica.nn.layers import Dense, LayerNorm, faded_softmax

__all__ = ["DensityNetwork", "NetworkConfig"]

LARGEST = 10.0
"""Scaled tensors longer than this are shortened towards it."""


@dataclass(frozen=True)
class NetworkConfig:
    """Architecture.

    Attributes:
        hidden: scalar channels.
        channels: tensors of each degree.
        layers: rounds of attention.
        heads: of the attention.
        radial: how distances are resolved.
    """

    hidden: int = 96
    channels: int = 32
    layers: int = 2
    heads: int = 4
    radial: Radial = field(default_factory=Radial)

    def __post_init__(self) -> None:
        if min(self.hidden, self.channels, self.heads, self.radial.size - 1) < 1 or self.layers < 0:
            raise InputError("[model] hidden, channels and heads must be positive, radial size at least 2.")
        if self.hidden % self.heads or self.channels % self.heads:
            raise InputError("[model] hidden and channels must be multiples of heads.")
        if not self.radial.cutoff > 0:
            raise InputError("[model.radial] cutoff must be positive.")


class DensityNetwork(nn.Module):
    """Deviations of the coefficients and the nuclei in, energies of the atoms out (in units of the energy scale)."""

    config: NetworkConfig
    layout: Layout

    @nn.compact
    def __call__(
        self, place: Geometry, around: Float[Array, "N M C"], away: Float[Array, "N M K"]
    ) -> Float[Array, " N"]:
        """Energies of the atoms, of padding zero.

        Args:
            place: distances and directions.
            around: surroundings of the atoms.
            away: deviations of the natural coefficients, scaled.
        """
        config, layout = self.config, self.layout
        v = ElementMixing(layout, config.channels, name="density")(_gated(away, layout), place)
        v = v + ElementMixing(layout, config.channels, name="surroundings")(around, place)
        elements = nn.Embed(len(layout.elements), config.hidden, name="embedding")(place.species)
        x = elements + _perceptron(config.hidden, "scalars")(Products(layout, name="products")(v))
        for number in range(config.layers):
            x, v = Interaction(config, layout, name=f"layer_{number}")(x, v, place)
        last = nn.Dense(1, kernel_init=nn.initializers.normal(1e-2), use_bias=False, name="energy")
        energies = last(jax.nn.silu(Dense(config.hidden, "read")(jnp.concatenate([x, elements], axis=-1))))
        return energies[:, 0] * place.valid


def _gated(away: Float[Array, "N M K"], layout: Layout) -> Float[Array, "N M K"]:
    """The shrink gate of Zhang et al. for tensors: lengths up to about `LARGEST`, directions unchanged."""
    square = _by_degree(away * away, layout)[:, layout.degree]
    return away * jax.lax.rsqrt(1 + square / LARGEST**2)


def _by_degree(values: Float[Array, "N M C"], layout: Layout) -> Float[Array, "N L C"]:
    """Sums over the harmonics of each degree."""
    one_hot = jnp.asarray(np.eye(layout.highest + 1)[layout.degree], values.dtype)
    return jnp.einsum("nmc,ml->nlc", values, one_hot)


class ElementMixing(nn.Module):
    """Mix channels, each element and degree by a matrix of its own."""

    layout: Layout
    features: int

    @nn.compact
    def __call__(self, values: Float[Array, "N M C"], place: Geometry) -> Float[Array, "N M F"]:
        """Tensors with `features` channels."""
        shape = (len(self.layout.elements), self.layout.highest + 1, values.shape[2], self.features)
        kernel = self.param("kernel", nn.initializers.normal(shape[2] ** -0.5), shape)
        return jnp.einsum("nmc,nmcf->nmf", values, kernel[place.species][:, self.layout.degree])


class Mixing(nn.Module):
    """Mix channels, each degree by a matrix of its own."""

    layout: Layout
    features: int

    @nn.compact
    def __call__(self, values: Float[Array, "N M C"]) -> Float[Array, "N M F"]:
        """Tensors with `features` channels."""
        shape = (self.layout.highest + 1, values.shape[2], self.features)
        kernel = self.param("kernel", nn.initializers.normal(shape[1] ** -0.5), shape)
        return jnp.einsum("nmc,mcf->nmf", values, kernel[self.layout.degree])


class Products(nn.Module):
    """Invariants of tensors: themselves for l = 0, scalar products of two mixtures for every degree."""

    layout: Layout

    @nn.compact
    def __call__(self, v: Float[Array, "N M C"]) -> Float[Array, "N F"]:
        """Scalars, channels times one more than the number of degrees."""
        left, right = jnp.split(Mixing(self.layout, 2 * v.shape[2], name="mixing")(v), 2, axis=-1)
        norm = (2 * np.arange(self.layout.highest + 1) + 1.0) ** -0.5
        products = _by_degree(left * right, self.layout) * jnp.asarray(norm, v.dtype)[:, None]
        return jnp.concatenate([v[:, 0], products.reshape(len(v), -1)], axis=-1)


class Interaction(nn.Module):
    """Attention to the other atoms, then an update of every atom by its own invariants."""

    config: NetworkConfig
    layout: Layout

    @nn.compact
    def __call__(
        self, x: Float[Array, "N H"], v: Float[Array, "N M C"], place: Geometry
    ) -> tuple[Float[Array, "N H"], Float[Array, "N M C"]]:
        """New scalars and tensors."""
        config, layout = self.config, self.layout
        scalars, tensors = Attention(config, layout, name="attention")(LayerNorm("norm")(x), v, place)
        x = x + Dense(config.hidden, "attended")(scalars)
        v = v + Mixing(layout, config.channels, name="attended_tensors")(tensors)
        inner = jnp.concatenate([LayerNorm("inner_norm")(x), Products(layout, name="products")(v)], axis=-1)
        degrees = layout.highest + 1
        out = _perceptron(config.hidden, "update", config.hidden + degrees * config.channels)(inner)
        gates = out[:, config.hidden :].reshape(len(x), degrees, config.channels)[:, layout.degree]
        return x + out[:, : config.hidden], v + gates * Mixing(layout, config.channels, name="turned")(v)


class Attention(nn.Module):
    """Weights by scalars and distance; scalars are collected, and tensors made of directions and of others' tensors."""

    config: NetworkConfig
    layout: Layout

    @nn.compact
    def __call__(
        self, x: Float[Array, "N H"], v: Float[Array, "N M C"], place: Geometry
    ) -> tuple[Float[Array, "N H"], Float[Array, "N M C"]]:
        """What comes from all atoms."""
        config, degrees = self.config, self.layout.highest + 1
        heads, count = config.heads, len(x)
        query, key, value = (Dense(config.hidden, name)(x).reshape(count, heads, -1) for name in ("q", "k", "v"))
        bias = Dense(heads, "bias_1")(jax.nn.silu(Dense(config.hidden // 2, "bias_0")(place.radial)))
        j, of_others = place.j, place.of_others
        logits = jnp.einsum(f"ihd,{j}hd->ijh", query, of_others(key)) * query.shape[-1] ** -0.5 + bias
        weights = faded_softmax(logits, place.fade[..., None], axis=1)  # padding attends to nothing
        scalars = jnp.einsum(f"ijh,{j}hd->ihd", weights, of_others(value)).reshape(count, -1)
        filters = Dense(config.channels, "filter")(place.radial)
        filters = filters * jnp.repeat(weights, config.channels // heads, axis=-1)
        strength = Dense(2 * degrees * config.channels, "strength")(x).reshape(count, 2, degrees, -1)
        along, passed = (strength[:, number][:, self.layout.degree] for number in (0, 1))
        tensors = jnp.einsum(f"ijc,ijm,{j}mc->imc", filters, place.harmonics, of_others(along))
        return scalars, tensors + jnp.einsum(f"ijc,{j}mc->imc", filters, of_others(passed * v))


def _perceptron(hidden: int, name: str, features: int = 0) -> Callable[[Array], Array]:
    first, second = Dense(hidden, f"{name}_0"), Dense(features or hidden, f"{name}_1")
    return lambda x: second(jax.nn.silu(first(x)))
