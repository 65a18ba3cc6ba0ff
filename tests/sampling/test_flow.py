"""Densities of a flow are those of what was drawn, however coarse its steps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.sampling.coordinates.landscape import landscape
from ergodica.sampling.diffusion.flow import flow, flow_density
from ergodica.sampling.diffusion.likelihood import log_density
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.reweighting import reweight
from ergodica.sampling.energies.analytic import GaussianMixture
from ergodica.sampling.molecules import read_molecule
from ergodica.sampling.samplers.torsions.score import NOISE, torsion_score
from ergodica.sampling.spaces import Centred, Euclidean, Torus
from ergodica.units import KB

MIXTURE = GaussianMixture((0.7, 0.3), ((-1.5,), (3.5,)), (1.0, 0.5))


@pytest.mark.parametrize("steps", [8, 40])
def test_weights_make_good_for_coarse_steps(steps):
    """Of a mixture whose modes eight steps get wrong."""
    space = Euclidean((1,))
    start = space.prior(jax.random.key(0), 20_000, 40.0)
    drawn = jax.jit(lambda x: flow(MIXTURE.denoised, space, x, noise=Noise(0.05, 40.0), steps=steps))(start)
    assert bool(drawn.upright.all())
    found = reweight(np.asarray(MIXTURE.log_density(drawn.x) - drawn.log_density, np.float64))
    assert found.log_mean == pytest.approx(0, abs=4 * found.log_mean_error + 1e-3)  # the target is normalised
    assert found.average(np.asarray(drawn.x[:, 0] < 1.5, float)) == pytest.approx(0.7, abs=0.02)
    if steps == 40:
        assert found.effective > 0.97 * len(start)


def test_densities_of_given_samples_are_those_they_were_drawn_with():
    """Of a mixture whose steps are so long that the flow without steps has another density."""
    space, noise, width = Euclidean((1,)), Noise(0.05, 40.0), 40.0
    start = space.prior(jax.random.key(3), 200, width)
    drawn = jax.jit(lambda x: flow(MIXTURE.denoised, space, x, noise=noise, steps=10))(start)
    found, off = jax.jit(lambda x: flow_density(MIXTURE.denoised, space, x, noise=noise, steps=10))(drawn.x)
    kept = np.asarray(off) < 1e-4
    assert kept.mean() > 0.9
    np.testing.assert_allclose(found[kept], drawn.log_density[kept], atol=2e-3)
    exact = log_density(MIXTURE.denoised, space, drawn.x, noise=noise, steps=400).value
    assert np.abs(np.asarray(exact) - drawn.log_density)[kept].max() > 0.05


def test_the_centre_of_mass_has_no_density():
    space, width = Centred((4, 2)), 0.6

    def denoiser(x, level):
        return x * width**2 / (width**2 + level**2)

    start = space.prior(jax.random.key(1), 500, 20.0)
    drawn = jax.jit(lambda x: flow(denoiser, space, x, noise=Noise(0.01, 20.0), steps=60))(start)
    square = jnp.sum(drawn.x**2, axis=(1, 2)) / width**2
    expected = -0.5 * square - 6 * np.log(np.sqrt(2 * np.pi) * width)
    np.testing.assert_allclose(drawn.log_density, expected, atol=0.05)


@pytest.mark.slow
def test_on_a_torus_the_weights_give_the_partition_function():
    """Of propane's two rotors, with physics alone."""
    beta = 1 / (KB * 300)
    known = landscape(read_molecule("CCC"))
    score, space = torsion_score(known, beta), Torus(2)
    start = space.prior(jax.random.key(2), 2000, NOISE.largest)
    drawn = jax.jit(lambda x: flow(score.denoise, space, x, noise=NOISE, steps=16))(start)
    energies = np.asarray(jax.jit(known.energy)(drawn.x), np.float64)
    found = reweight(-beta * energies - np.asarray(drawn.log_density, np.float64))
    line = np.linspace(-np.pi, np.pi, 90, endpoint=False)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype(np.float32)
    exact = np.asarray(jax.jit(known.energy)(grid), np.float64)
    expected = np.log(np.mean(np.exp(-beta * (exact - exact.min())))) - beta * exact.min() + 2 * np.log(2 * np.pi)
    assert found.log_mean == pytest.approx(expected, abs=4 * found.log_mean_error)
    assert found.effective > 0.8 * len(start) and bool(drawn.upright.all())
