"""Edge vectors, norms at zero and the low-order spherical harmonics."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ergodica.neighbors import find_edges, pack
from ergodica.nn.geometry import angular_features, edge_vectors, safe_norm, soft_norm, unit_vectors
from tests.helpers.small import CUTOFF, random_crystal, random_molecule, random_rotation

pytestmark = pytest.mark.usefixtures("x64")

DEGREES = {1: slice(0, 3), 2: slice(3, 8)}


def random_units(rng: np.random.Generator, count: int) -> np.ndarray:
    """Uniform on the sphere."""
    vectors = rng.normal(size=(count, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_values_in_order_and_sign():
    x, y, z = 0.48, 0.6, 0.64
    root = math.sqrt(3)
    expected = [
        x,
        y,
        z,
        root * x * z,
        root * x * y,
        y * y - (x * x + z * z) / 2,
        root * y * z,
        root / 2 * (z * z - x * x),
    ]
    np.testing.assert_allclose(np.asarray(angular_features(jnp.array([x, y, z]), 2)), expected, rtol=1e-14)
    np.testing.assert_array_equal(np.asarray(angular_features(jnp.array([x, y, z]), 1)), [x, y, z])


@given(st.integers(0, 10_000))
def test_each_degree_obeys_the_addition_theorem(seed):
    """Y_l(u)·Y_l(v) = P_l(u·v): unit norm for u = v, and the same for any rotation of both."""
    rng = np.random.default_rng(seed)
    units = random_units(rng, 5)
    cosine = units @ units.T
    legendre = {1: cosine, 2: 1.5 * cosine**2 - 0.5}
    for rotation in (np.eye(3), random_rotation(rng), random_rotation(rng, improper=True)):
        features = np.asarray(angular_features(jnp.asarray(units @ rotation.T), 2))
        for degree, part in DEGREES.items():
            np.testing.assert_allclose(features[:, part] @ features[:, part].T, legendre[degree], atol=1e-13)


def test_components_are_orthogonal_on_the_sphere():
    # an icosahedron's 12 corners integrate polynomials of degree 5 exactly; products of these have degree 4
    golden = (1 + math.sqrt(5)) / 2
    corners = [np.roll([0, a, b * golden], shift) for a in (-1, 1) for b in (-1, 1) for shift in range(3)]
    units = np.array(corners) / math.hypot(1, golden)
    features = np.asarray(angular_features(jnp.asarray(units), 2))
    expected = np.diag([1 / 3] * 3 + [1 / 5] * 5)
    np.testing.assert_allclose(features.T @ features / len(units), expected, atol=1e-14)


def test_zero_vector_has_zero_features():
    zero = jnp.zeros((1, 3))
    assert not np.asarray(angular_features(unit_vectors(zero, safe_norm(zero)), 2)).any()


def test_safe_norm_has_a_finite_derivative_everywhere():
    np.testing.assert_array_equal(np.asarray(jax.grad(safe_norm)(jnp.zeros(3))), np.zeros(3))
    np.testing.assert_array_equal(np.asarray(jax.hessian(safe_norm)(jnp.zeros(3))), np.zeros((3, 3)))
    vector = jnp.array([3.0, 0.0, 4.0])
    assert float(safe_norm(vector)) == 5.0
    np.testing.assert_allclose(np.asarray(jax.grad(safe_norm)(vector)), [0.6, 0, 0.8])


@given(st.integers(0, 10_000))
def test_edge_vectors_reach_the_images(seed):
    rng = np.random.default_rng(seed)
    systems = [random_crystal(rng), random_molecule(rng)]
    lists = [find_edges(s, CUTOFF) for s in systems]
    batch = pack(systems, lists, dtype=np.float64)
    vectors = np.asarray(edge_vectors(batch))
    offset = 0
    for system, edges in zip(systems, lists, strict=True):
        expected = system.positions[edges.senders] - system.positions[edges.receivers] + edges.shifts @ system.cell
        rows = slice(offset, offset + len(system))
        mask = np.asarray(batch.neighbors.mask)[rows].copy()
        mask[:, 0] = False  # loops
        np.testing.assert_allclose(vectors[rows][mask], expected, atol=1e-13)
        offset += len(system)
    assert not vectors[~np.asarray(batch.neighbors.mask)].any() and not vectors[:, 0].any()


def test_soft_norm_is_smooth_at_zero_and_plain_without_softening():
    v = np.array([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(soft_norm(v, 0.0), [5.0, 0.0])
    np.testing.assert_allclose(soft_norm(v, 0.1), np.sqrt([25.01, 0.01]) - 0.1)
    along = jax.grad(lambda t: soft_norm(jnp.array([t, 0.0, 0.0]), 0.1))
    assert float(along(0.0)) == 0.0
    np.testing.assert_allclose(along(1e-6), 1e-5, rtol=1e-6)  # a cusp would give 1
