"""The three-body sum against a sum over triplets, and the functions it is made of against SciPy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import eval_legendre, spherical_jn

from ergodica.nn.threebody import ZEROS, real_harmonics, spherical_bessel, threebody_sum

pytestmark = pytest.mark.usefixtures("x64")

REACH, CUTOFF = 4.0, 5.0


@pytest.mark.parametrize("degree", range(4))
def test_bessel_functions_are_scipys_near_zero_too(degree):
    x = np.concatenate([[0.0], np.logspace(-6, np.log10(20.0), 400)])
    np.testing.assert_allclose(
        spherical_bessel(jnp.asarray(x), degree), spherical_jn(degree, x), rtol=1e-11, atol=1e-15
    )
    with jax.enable_x64(False):
        single = np.asarray(spherical_bessel(jnp.asarray(x, jnp.float32), degree))
    np.testing.assert_allclose(single, spherical_jn(degree, x), rtol=0, atol=1e-6)
    np.testing.assert_allclose(spherical_jn(degree, ZEROS[degree]), 0.0, atol=1e-15)


def test_harmonics_obey_the_addition_theorem():
    a, b = np.random.default_rng(0).normal(size=(2, 50, 3))
    a, b = (v / np.linalg.norm(v, axis=1)[:, None] for v in (a, b))
    products = np.asarray(real_harmonics(jnp.asarray(a)) * real_harmonics(jnp.asarray(b)))
    for degree in range(4):
        found = products[:, degree**2 : (degree + 1) ** 2].sum(axis=1)
        np.testing.assert_allclose(found, eval_legendre(degree, (a * b).sum(axis=1)), rtol=0, atol=1e-13)


def over_triplets(vectors: np.ndarray) -> np.ndarray:
    """The published sum for the edges of one atom, pair by pair (arXiv:2405.04967, MatterSim 1.2)."""
    lengths = np.linalg.norm(vectors, axis=1)
    t = np.minimum(lengths / REACH, 1.0)
    fade = 1 - 6 * t**5 + 15 * t**4 - 10 * t**3
    total = np.zeros((len(vectors), 16))
    for j, first in enumerate(vectors):
        for k, second in enumerate(vectors):
            if j == k or max(lengths[j], lengths[k]) > REACH:
                continue
            cosine = first @ second / (lengths[j] * lengths[k])
            for degree in range(4):
                zeros = ZEROS[degree]
                radial = spherical_jn(degree, zeros * lengths[k] / CUTOFF) / abs(spherical_jn(degree + 1, zeros))
                angular = np.sqrt((2 * degree + 1) / (4 * np.pi)) * eval_legendre(degree, cosine)
                part = np.sqrt(2 / CUTOFF**3) * radial * angular * fade[j] * fade[k]
                total[j, 4 * degree : 4 * degree + 4] += part
    return total


def test_sum_is_that_over_triplets():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(3, 9, 3))
    lengths = rng.uniform(0.6, 4.9, (3, 9))
    vectors *= (lengths / np.linalg.norm(vectors, axis=-1))[..., None]
    found = threebody_sum(jnp.asarray(vectors / lengths[..., None]), jnp.asarray(lengths), REACH, CUTOFF)
    expected = np.stack([over_triplets(of_atom) for of_atom in vectors])
    assert np.abs(expected).max() > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
