"""With an exact denoiser every sampler draws the target, and the flow knows its density."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.errors import InputError
from ergodica.sampling import SOLVERS, Centred, Euclidean, Noise, log_density, sample
from ergodica.sampling.energies.analytic import GaussianMixture

MIXTURE = GaussianMixture((0.7, 0.3), ((-1.5,), (3.5,)), (1.0, 0.5))
LINE = Euclidean((1,))
NOISE = Noise(0.05, 40.0)


@pytest.mark.parametrize("steps", [30, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize("solver", SOLVERS)
def test_weights_and_widths_of_modes(solver, steps):
    """The update that DiG released, the full score without noise, loses the second mode here."""
    count, evaluations = 100_000, SOLVERS[solver][1] * steps + 1
    draw = jax.jit(
        lambda key: sample(MIXTURE.denoised, LINE, key, count, noise=NOISE, evaluations=evaluations, solver=solver)
    )
    x = np.asarray(draw(jax.random.key(1)))[:, 0]
    left, right = x[x < 1.5], x[x > 1.5]
    assert len(left) / count == pytest.approx(0.7, abs=0.01)
    assert left.std() == pytest.approx(1.0, rel=0.03) and right.std() == pytest.approx(0.5, rel=0.03)
    assert left.mean() == pytest.approx(-1.5, abs=0.05) and right.mean() == pytest.approx(3.5, abs=0.05)


def test_log_density_of_the_flow():
    x = jnp.concatenate([MIXTURE.draw(jax.random.key(0), 200), jnp.array([[0.0], [-5.0], [5.5]])])
    found = jax.jit(lambda x: log_density(MIXTURE.denoised, LINE, x, noise=Noise(0.02, 80.0)))(x)
    np.testing.assert_allclose(found.value, MIXTURE.log_density(x), atol=0.02)
    assert not found.error.any()


WIDTH = 0.6


def of_one_width(x, level):
    """The denoiser of a Gaussian about the origin."""
    return x * WIDTH**2 / (WIDTH**2 + level**2)


def test_centre_of_mass_is_no_dimension():
    space = Centred((5, 3))
    x = sample(of_one_width, space, jax.random.key(0), 4000, noise=NOISE, evaluations=60)
    np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-5)
    assert float(jnp.mean(jnp.sum(x**2, axis=(1, 2)))) == pytest.approx(12 * WIDTH**2, rel=0.03)
    expected = -0.5 * jnp.sum(x[:50] ** 2, axis=(1, 2)) / WIDTH**2 - 12 * np.log(np.sqrt(2 * np.pi) * WIDTH)
    found = log_density(of_one_width, space, x[:50], noise=Noise(0.02, 80.0))
    np.testing.assert_allclose(found.value, expected, atol=0.1)


def test_estimated_divergence_is_within_its_error():
    skewed = GaussianMixture((0.5, 0.5), ((1.0, 0.0, 0.0), (-1.0, 0.5, 0.0)), (0.5, 1.0))
    space, x = Euclidean((3,)), skewed.draw(jax.random.key(0), 64)
    exact = log_density(skewed.denoised, space, x, noise=NOISE, steps=24)
    guess = log_density(skewed.denoised, space, x, noise=NOISE, steps=24, probes=32, key=jax.random.key(3))
    score = (guess.value - exact.value) / guess.error
    assert (guess.error > 0).all() and 0.7 < float(jnp.std(score)) < 1.5 and abs(float(jnp.mean(score))) < 0.5


def test_bad_requests():
    with pytest.raises(InputError, match="no solver 'magic'"):
        sample(of_one_width, LINE, jax.random.key(0), 2, noise=NOISE, solver="magic")
    with pytest.raises(InputError, match="at least 3"):
        sample(of_one_width, LINE, jax.random.key(0), 2, noise=NOISE, solver="heun", evaluations=2)
    with pytest.raises(InputError, match="smallest"):
        Noise(1.0, 0.5)
