"""Analytic targets are the published functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.sampling.energies.analytic import (
    DoubleWells,
    GaussianMixture,
    LennardJonesCluster,
    ManyWells,
    MuellerBrown,
)

pytestmark = pytest.mark.usefixtures("x64")


def test_denoiser_is_tweedies():
    mixture = GaussianMixture((0.2, 0.8), ((0.0, 1.0), (2.0, -1.0)), (0.3, 0.7))
    x, level = jax.random.normal(jax.random.key(0), (20, 2)), 0.4
    score = jax.grad(lambda x: mixture.log_density(x, level).sum())(x)
    np.testing.assert_allclose(mixture.denoised(x, level), x + level**2 * score, atol=1e-10)


def test_density_of_a_mixture_is_normalised_and_drawn():
    mixture = GaussianMixture((0.2, 0.8), ((-1.0,), (2.0,)), (0.3, 0.7))
    x = np.linspace(-10, 12, 4001)[:, None]
    assert np.trapezoid(np.exp(-mixture(x)), x[:, 0]) == pytest.approx(1, abs=1e-9)
    drawn = mixture.draw(jax.random.key(0), 50_000)
    assert float(drawn.mean()) == pytest.approx(1.4, abs=0.03)


@pytest.mark.parametrize(
    ("where", "energy"), [((-0.558, 1.442), -146.700), ((0.623, 0.028), -108.167), ((-0.050, 0.467), -80.768)]
)
def test_minima_of_mueller_and_brown(where, energy):
    found = MuellerBrown(temperature=1.0)(jnp.array([where]))
    assert float(found[0]) == pytest.approx(energy, abs=2e-3)
    slope = jax.grad(lambda x: MuellerBrown(1.0)(x).sum())(jnp.array([where]))
    assert float(jnp.abs(slope).max()) < 2


def test_many_wells_are_those_of_the_paper():
    """Its double well integrates to 11784.50927 (program of Midgley et al. 2023)."""
    x = np.linspace(-6, 6, 200_001)
    found = ManyWells(1)(jnp.stack([x, jnp.zeros_like(x)], axis=1))
    assert np.trapezoid(np.exp(-found), x) == pytest.approx(11784.50927, rel=1e-6)
    both = jnp.array([[1.0, -0.5, 0.3, 2.0]])
    parts = [ManyWells(1)(both[:, one::2])[0] for one in (0, 1)]
    assert float(ManyWells(2)(both)[0]) == pytest.approx(float(sum(parts)))


def test_pairs_count_once():
    square = jnp.array([[[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 4.0]]])
    far = 4 * np.sqrt(2) - 4
    assert float(DoubleWells()(square)[0]) == pytest.approx(2 * (-4 * far**2 + 0.9 * far**4))
    pair = jnp.array([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]])
    assert float(LennardJonesCluster((2, 3))(pair)[0]) == pytest.approx(-1 + 0.5 * 2 * 0.25)


@pytest.mark.parametrize("target", [DoubleWells(), LennardJonesCluster(), LennardJonesCluster((55, 3))])
def test_particles_are_alike_and_space_is_isotropic(target):
    x = 2 * jax.random.normal(jax.random.key(1), (3, *target.shape))
    turn = jnp.linalg.qr(jax.random.normal(jax.random.key(2), (target.shape[1],) * 2))[0]
    for same in (x[:, ::-1], x @ turn, x + 3.0):
        np.testing.assert_allclose(target(same), target(x), rtol=1e-9)
