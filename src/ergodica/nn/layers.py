"""Normalisations and gated blocks shared by the networks (flax.linen modules behind pure functions)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.nn.geometry import soft_norm

__all__ = ["ACTIVATIONS", "Dense", "GatedEquivariantBlock", "LayerNorm", "Projections", "VectorNorm", "faded_softmax"]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "swish": jax.nn.silu,
    "ssp": lambda x: jax.nn.softplus(x) - jnp.log(2.0).astype(x.dtype),
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
}


def Dense(features: int, name: str, *, bias: bool = True) -> Callable[[Array], Array]:
    """A dense layer with Xavier-uniform weights and zero bias.

    It works on one axis of rows: for a product over several leading axes XLA's CPU compiler makes the gradient of the
    weights from transposed copies of the operands.
    """
    layer = nn.Dense(features, use_bias=bias, kernel_init=nn.initializers.xavier_uniform(), name=name)
    return lambda x: layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], features)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _pieces(wide: Float[Array, "R F"], count: int) -> tuple[Array, ...]:
    """Cut the channels into equal parts; their gradients are joined, where JAX would pad each to full width and add."""
    return tuple(jnp.split(wide, count, axis=1))


_pieces.defvjp(
    lambda wide, count: (_pieces(wide, count), None),
    lambda count, _, gradients: (jnp.concatenate(gradients, axis=1),),
)


class Projections(nn.Module):
    """Several dense layers on one input, made as one wide product: the cost of a small one is mostly in its making.

    Attributes:
        names: of the layers.
        features: channels out of each.
        bias: whether they have one.
    """

    names: tuple[str, ...]
    features: int
    bias: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "... H"]) -> dict[str, Float[Array, "... F"]]:
        """The outputs by name."""
        shape = (x.shape[-1], len(self.names), self.features)
        init = nn.initializers.xavier_uniform(in_axis=0, out_axis=2, batch_axis=1)
        kernel = self.param("kernel", init, shape)
        wide = x.reshape(-1, shape[0]) @ kernel.reshape(shape[0], -1)
        if self.bias:
            wide = wide + self.param("bias", nn.initializers.zeros, shape[1:]).reshape(-1)
        pieces = (piece.reshape(*x.shape[:-1], self.features) for piece in _pieces(wide, shape[1]))
        return dict(zip(self.names, pieces, strict=True))


def LayerNorm(name: str) -> nn.LayerNorm:
    """Layer norm with torch's epsilon and two-pass variance."""
    return nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, name=name)


def _max_min(v: Float[Array, "A S H"]) -> Float[Array, "A S H"]:
    norm = _clamped_norm(v)
    low, high = norm.min(axis=-1, keepdims=True), norm.max(axis=-1, keepdims=True)
    span = jnp.where(high == low, 1.0, high - low)
    return jax.nn.relu((norm - low) / span) * v / norm


def _rms(v: Float[Array, "A S H"]) -> Float[Array, "A S H"]:
    squared = jnp.square(_clamped_norm(v)).mean(axis=-1, keepdims=True)
    return v / jnp.sqrt(squared)


def _clamped_norm(v: Float[Array, "A S H"]) -> Float[Array, "A 1 H"]:
    return jnp.sqrt(jnp.maximum(jnp.sum(v * v, axis=1, keepdims=True), 1e-24))


class VectorNorm(nn.Module):
    """Normalise equivariant features degree by degree: "none", "max_min" or "rms" (ViSNet's VecLayerNorm)."""

    kind: str = "none"
    trainable: bool = False

    @nn.compact
    def __call__(self, v: Float[Array, "A S H"]) -> Float[Array, "A S H"]:
        """Normalised features, scaled channel by channel where `trainable`."""
        if self.kind != "none":
            rule = {"max_min": _max_min, "rms": _rms}[self.kind]
            degrees = [v[:, :3]] if v.shape[1] == 3 else [v[:, :3], v[:, 3:]]
            v = jnp.concatenate([rule(part) for part in degrees], axis=1)
        if self.trainable:
            v = v * self.param("weight", nn.initializers.ones, (v.shape[-1],), v.dtype)
        return v


class GatedEquivariantBlock(nn.Module):
    """Mix scalars x and vectors V: V' = g(x, |V W₁|) · V W₂ (PaiNN, Schütt et al. 2021, fig. 3).

    Attributes:
        features: channels out.
        hidden: width of the perceptron.
        softening: length below which the norm is rounded off (see `soft_norm`).
        activation: nonlinearity.
        activate_output: apply it to the scalars that come out, too.
    """

    features: int
    hidden: int
    softening: float = 0.0
    activation: str = "silu"
    activate_output: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "A H"], v: Float[Array, "A S H"]
    ) -> tuple[Float[Array, "A F"], Float[Array, "A S F"]]:
        """New scalars and vectors with `features` channels."""
        act = ACTIVATIONS[self.activation]
        norms = soft_norm(Dense(x.shape[-1], "vec1_proj", bias=False)(v), self.softening, axis=1)
        v = Dense(self.features, "vec2_proj", bias=False)(v)
        hidden = act(Dense(self.hidden, "update_0")(jnp.concatenate([x, norms], axis=-1)))
        x, gate = jnp.split(Dense(2 * self.features, "update_1")(hidden), 2, axis=-1)
        return act(x) if self.activate_output else x, gate[:, None] * v


def faded_softmax(logits: Float[Array, "..."], fade: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """exp(logits) · fade as shares along an axis; zero where all of it has faded.

    The largest logit that only guards against overflow is that of what has not faded: beside one out of sight all
    others would vanish.
    """
    largest = jax.lax.stop_gradient(jnp.max(jnp.where(fade > 0, logits, -jnp.inf), axis, keepdims=True))
    weights = jnp.exp(jnp.where(fade > 0, logits - largest, 0.0)) * fade
    total = weights.sum(axis, keepdims=True)
    return weights / jnp.where(total > 0, total, 1.0)
