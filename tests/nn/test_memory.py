"""Recomputing what lies between matrix products."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ergodica.nn.memory import recomputed

LAYERS = 6


def gate(arrays, power):
    x, scale = arrays
    return jnp.tanh(jnp.sin(x * scale) ** power) * jnp.exp(-x * x) * jax.nn.silu(scale + x)


def network(step):
    """A product and a gate, again and again; its gradient with respect to the input."""

    def energy(x, weights):
        for weight in weights:
            x = step((x @ weight, x), 3) + x
        return x.sum()

    return jax.grad(energy)


def test_derivatives_of_any_order_are_those_of_the_function():
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (5, 4))
        weights = list(jax.random.normal(jax.random.key(1), (LAYERS, 4, 4)))
        plain, again = network(gate), network(recomputed(gate))
        np.testing.assert_allclose(again(x, weights), plain(x, weights), rtol=1e-13)
        second = [jax.grad(lambda x, w, f=f: jnp.square(f(x, w)).sum(), (0, 1))(x, weights) for f in (plain, again)]
        for want, got in zip(*map(jax.tree.leaves, second), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


def test_the_compiler_keeps_less():
    """It would not with barriers alone, as `jax.checkpoint` has them; this notices when a release sees through us."""
    x, weights = jnp.ones((4096, 64)), [jnp.ones((64, 64))] * LAYERS

    def temporaries(function) -> int:
        return jax.jit(function).lower(x, weights).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(network(recomputed(gate))) < 0.75 * temporaries(network(gate))
