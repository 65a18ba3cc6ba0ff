"""Learning rates by step, and what Muon does to which parameters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ergodica.training.optimizer import MUON_RMS, learning_rate, make_transformation, orthogonalize
from ergodica.training.options import OptimizerOptions


@pytest.mark.parametrize(
    ("options", "step", "factor", "expected"),
    [
        (OptimizerOptions(learning_rate=1.0, warmup=10), 0, 1.0, 0.0),
        (OptimizerOptions(learning_rate=1.0, warmup=10), 5, 1.0, 0.5),
        (OptimizerOptions(learning_rate=1.0, warmup=10), 55, 1.0, 0.5),
        (OptimizerOptions(learning_rate=1.0, warmup=10, min_learning_rate=0.2), 100, 1.0, 0.2),
        (OptimizerOptions(learning_rate=1.0, warmup=1000), 10, 1.0, 1.0),  # a tenth of the run at most
        (OptimizerOptions(learning_rate=1.0, warmup=0, schedule="constant"), 99, 1.0, 1.0),
        (OptimizerOptions(learning_rate=1.0, warmup=0, schedule="plateau"), 50, 0.25, 0.25),
        (OptimizerOptions(learning_rate=1.0, warmup=0, schedule="plateau", min_learning_rate=0.1), 50, 0.01, 0.1),
    ],
)
def test_learning_rate(options, step, factor, expected):
    assert float(learning_rate(options, 100)(jnp.array(step), jnp.array(factor))) == pytest.approx(expected, abs=1e-6)


@given(st.integers(2, 24), st.integers(2, 24), st.floats(-6, 6), st.integers(0, 999))
def test_orthogonalized_singular_values_are_near_one(rows, columns, exponent, seed):
    """At any scale, for wide and tall matrices, along the same singular vectors."""
    left, values, right = np.linalg.svd(np.random.default_rng(seed).normal(size=(rows, columns)), full_matrices=False)
    values = np.maximum(values, 0.05 * values[0])  # five rounds lift no smaller ones all the way
    found = np.asarray(orthogonalize(jnp.asarray(10**exponent * (left * values) @ right, jnp.float32)))
    along = left.T @ found @ right.T
    assert np.diag(along).min() > 0.6 and np.diag(along).max() < 1.3
    assert np.abs(along - np.diag(np.diag(along))).max() < 1e-3


PARAMS = {
    "embedding": {"embedding": jnp.ones((3, 4))},
    "hidden": {"kernel": jnp.ones((4, 6)), "bias": jnp.ones(6)},
    "wide": {"kernel": jnp.ones((6, 4))},
    "last": {"kernel": jnp.ones((6, 1))},
}


def first_update(kind):
    gradient = jax.tree.map(lambda p: jax.random.normal(jax.random.key(p.size), p.shape), PARAMS)
    transformation = make_transformation(OptimizerOptions(kind=kind))
    return transformation.update(gradient, transformation.init(PARAMS), PARAMS)[0]


def test_muon_moves_hidden_matrices_and_adam_the_rest():
    muon, adam = first_update("muon"), first_update("adamw")
    for group, name in (("embedding", "embedding"), ("hidden", "bias"), ("last", "kernel")):
        assert np.array_equal(muon[group][name], adam[group][name])
    for group in ("hidden", "wide"):
        update = np.asarray(muon[group]["kernel"])
        values = np.linalg.svd(update, compute_uv=False)
        assert values.max() / values.min() < 2.0
        assert np.sqrt((update**2).mean()) == pytest.approx(MUON_RMS, rel=0.25)


def test_muon_takes_joined_layers_one_by_one():
    """The update of layers that share an input is that of the same layers apart."""
    gradient = jax.random.normal(jax.random.key(0), (4, 3, 6))
    joined = {"layers": {"kernel": gradient}}
    apart = {f"layer_{i}": {"kernel": gradient[:, i]} for i in range(3)}
    transformation = make_transformation(OptimizerOptions(kind="muon", clip=0.0))
    update, updates = (transformation.update(g, transformation.init(g), g)[0] for g in (joined, apart))
    for i in range(3):
        np.testing.assert_allclose(update["layers"]["kernel"][:, i], updates[f"layer_{i}"]["kernel"], rtol=1e-5)


def test_muon_leaves_frozen_matrices_alone():
    """A zero gradient is no direction, not 0/0."""
    assert np.array_equal(orthogonalize(jnp.zeros((4, 6))), np.zeros((4, 6)))
