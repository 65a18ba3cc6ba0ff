"""Blocks shared by the networks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ergodica.nn.layers import Projections, faded_softmax

NAMES = ("query", "key", "value")


def test_projections_are_separate_dense_layers():
    """Values, gradients and second derivatives are those of one product after another."""
    with jax.enable_x64(True):
        x = jax.random.normal(jax.random.key(0), (5, 2, 6))
        weights = jax.random.normal(jax.random.key(1), (3, 5, 2, 4))
        module = Projections(NAMES, 4)
        params = jax.tree.map(
            lambda p: jax.random.normal(jax.random.key(p.size), p.shape), module.init(jax.random.key(0), x)
        )
        kernel, bias = params["params"]["kernel"], params["params"]["bias"]

        def joined(params, x):
            out = module.apply(params, x)
            return sum((w * jnp.tanh(out[name])).sum() for w, name in zip(weights, NAMES, strict=True))

        def apart(params, x):
            kernel, bias = params["params"]["kernel"], params["params"]["bias"]
            return sum((w * jnp.tanh(x @ kernel[:, i] + bias[i])).sum() for i, w in enumerate(weights))

        def force_loss(function, params):
            return jnp.square(jax.grad(function, 1)(params, x)).sum()

        assert kernel.shape == (6, 3, 4) and bias.shape == (3, 4)
        for got, want in (
            (joined(params, x), apart(params, x)),
            (jax.grad(joined, 1)(params, x), jax.grad(apart, 1)(params, x)),
            *zip(
                *(jax.tree.leaves(jax.grad(force_loss, 1)(function, params)) for function in (joined, apart)),
                strict=True,
            ),
        ):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


def test_each_projection_starts_as_a_dense_layer_of_its_own():
    """Xavier's bound belongs to the size of one layer, however many are joined."""
    one, many = (
        Projections(tuple("abcdefgh")[:count], 64, bias=False).init(jax.random.key(0), jnp.zeros((1, 64)))
        for count in (1, 8)
    )
    bound = (6 / 128) ** 0.5
    for params in (one, many):
        largest = float(jnp.abs(params["params"]["kernel"]).max())
        assert 0.97 * bound < largest <= bound


def test_what_has_faded_takes_no_share_and_moves_no_derivative():
    """Not even with a logit beside which all others vanish; where all has faded there are no shares, and no NaN."""
    with jax.enable_x64(True):
        logits = jnp.array([[0.3, -1.2, 800.0], [5.0, 900.0, 2.0]])
        fade = jnp.array([[1.0, 0.2, 0.0], [0.0, 0.0, 0.0]])
        shares = faded_softmax(logits, fade, axis=1)
        expected = np.exp([0.3, -1.2]) * [1.0, 0.2]
        np.testing.assert_allclose(shares[0], np.append(expected / expected.sum(), 0.0), rtol=1e-14)
        np.testing.assert_array_equal(shares[1], 0.0)
        slope = jax.grad(lambda x: faded_softmax(x, fade, axis=1)[0, 0])(logits)
        share = shares[0, 0]
        np.testing.assert_allclose(slope[0], [share * (1 - share), -share * (1 - share), 0.0], rtol=1e-12)
        np.testing.assert_array_equal(slope[1], 0.0)
