"""Training from the energy alone: the equation of diffusion, weights, rounds in pieces, files, bad input."""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.errors import InputError
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.reweighting import reweight
from ergodica.sampling.energies.analytic import ANALYTIC, GaussianMixture
from ergodica.sampling.samplers.analytic.diffusion_equation import Boundary, density_residuals, score_residuals
from ergodica.sampling.samplers.analytic.sampler import (
    KIND,
    draw_from_energy,
    fresh_energy_sampler,
    load_energy_sampler,
    save_energy_sampler,
)
from ergodica.sampling.samplers.analytic.training import EnergyData, EnergyTask, EnergyTraining, train_from_energy
from ergodica.sampling.samplers.molecule.network import InternalNetworkConfig
from ergodica.training.options import OptimizerOptions, RunOptions, model_kind

SMALL = InternalNetworkConfig(hidden=16, blocks=1)
NOISE = Noise(0.02, 10.0, 7.0)


@dataclass(frozen=True)
class Exact:
    """The denoiser and the log-density of a mixture, in place of a network's."""

    mixture: GaussianMixture

    def __call__(self, x, sigma):
        return self.mixture.denoised(x, sigma)

    def log_density(self, x, sigma):
        return self.mixture.log_density(x, sigma)


MIXTURE = GaussianMixture((0.7, 0.3), ((-4.0, 0.0), (4.0, 1.0)), (0.5, 0.4))
WRONG = replace(MIXTURE, weights=(0.3, 0.7))


def residuals(of, believed, seed=0):
    """Of a denoiser that has the modes of `MIXTURE` with other weights, near the modes."""
    x = MIXTURE.draw(jax.random.key(seed), 64)
    forces = jax.vmap(jax.grad(lambda x: MIXTURE.log_density(x[None])[0]))(x)
    sigma = jnp.geomspace(0.02, 10.0, 64)
    noisy = x + sigma[:, None] * jax.random.normal(jax.random.key(1), x.shape)
    edge = Boundary(x, forces, MIXTURE.log_density(x))
    return of(Exact(believed), noisy, sigma, edge, 1e-3)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("of", [pytest.param(score_residuals, marks=pytest.mark.slow), density_residuals])
def test_exact_scores_and_densities_obey_the_equation(of):
    assert float(residuals(of, MIXTURE).max()) < 1e-3


@pytest.mark.usefixtures("x64")
def test_only_log_densities_see_what_modes_weigh():
    """The force is the same in modes apart, whatever they weigh; the energy is not."""
    assert float(residuals(score_residuals, WRONG).max()) < 1e-3
    assert float(residuals(density_residuals, WRONG).mean()) > 0.1


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("target", list(ANALYTIC))
def test_coordinates_and_places_are_each_others_inverse(target):
    sampler = fresh_energy_sampler(target, SMALL, NOISE, 0)
    y = jax.random.normal(jax.random.key(0), (5, sampler.known.space.dimensions))
    np.testing.assert_allclose(sampler.known.coordinates(sampler.known.places(y)), y, atol=1e-12)


@pytest.mark.parametrize("potential", [False, True])
def test_untrained_samplers_have_exact_weights(potential):
    config = replace(SMALL, potential=potential)
    drawn = draw_from_energy(fresh_energy_sampler("gmm9", config, NOISE, 0), 4096, steps=10)
    weighted = reweight(-drawn.energies - drawn.log_density)
    assert abs(weighted.log_mean) < 4 * weighted.log_mean_error < 0.5


def test_slopes_of_a_learnt_log_density_are_its_scores():
    sampler = fresh_energy_sampler("gmm9", replace(SMALL, potential=True), NOISE, 0)
    params = jax.tree.map(lambda leaf: leaf + 0.1, sampler.params)
    denoiser, x, step = sampler.denoiser(params), jnp.array([[0.3, -0.4]]), jnp.array([[1e-2, 0.0]])
    slope = (denoiser.log_density(x + step, 0.5) - denoiser.log_density(x - step, 0.5)) / 2e-2
    assert float((denoiser(x, 0.5) - x)[0, 0] / 0.25) == pytest.approx(float(slope[0]), rel=1e-2)


def configuration(output, method="adjoint", potential=False, **run):
    return EnergyTraining(
        model=replace(SMALL, potential=potential),
        data=EnergyData("gmm9", method, rounds=2, buffer=256, steps=6),
        optimizer=OptimizerOptions(learning_rate=3e-3, warmup=2),
        run=RunOptions(**{"epochs": 1, "batch_size": 32, "steps_per_call": 2, **run}),
        output=str(output),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "potential", "calls"),
    [("adjoint", False, 512), ("reweighted", False, 1024), ("pidp", False, 1024), ("pidp", True, 1024)],
)
def test_rounds_in_pieces_give_the_same_bits_and_a_file(method, potential, calls, tmp_path):
    def stop(numbers):
        if numbers["step"] > 2 and (tmp_path / "parts" / "round0" / "model.safetensors").is_file():
            raise KeyboardInterrupt

    def trained(name, **options):
        return train_from_energy(
            configuration(tmp_path / name, method, potential, checkpoint_minutes=0), **options
        ).checkpoint

    whole = load_energy_sampler(trained("whole"))
    with pytest.raises(KeyboardInterrupt):
        trained("parts", report=stop)
    parts = load_energy_sampler(trained("parts", resume=True))
    for one, other in zip(jax.tree.leaves(whole.params), jax.tree.leaves(parts.params), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.info.errors["energy_calls"] == calls
    save_energy_sampler(tmp_path / "again.safetensors", whole)
    drawn = [draw_from_energy(one, 32).x for one in (whole, load_energy_sampler(tmp_path / "again.safetensors"))]
    np.testing.assert_array_equal(*drawn)


def test_buffers_are_cold_in_the_end():
    data = EnergyData(rounds=9, hottest=10.0)
    heats = [data.heat(number) for number in range(9)]
    assert heats[0] == pytest.approx(10.0) and heats[6:] == [1.0] * 3 and heats == sorted(heats, reverse=True)


def test_long_forces_are_cut(tmp_path):
    config = configuration(tmp_path)
    sampler = fresh_energy_sampler("many-wells", SMALL, NOISE, 0)
    x = np.full((100, 6), 50.0)
    forces = EnergyTask(config, sampler, x, 0).train.forces
    np.testing.assert_allclose(np.linalg.norm(forces, axis=1), config.data.steepest, rtol=1e-5)


def test_the_recipe_is_of_this_kind():
    assert model_kind("examples/sampling/gmm9.toml") == KIND


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="no target 'gmm10'"):
        fresh_energy_sampler("gmm10", SMALL, NOISE, 0)
    with pytest.raises(InputError, match="choose potential or distances"):
        InternalNetworkConfig(potential=True, distances=True)
    with pytest.raises(InputError, match="hottest at least 1"):
        EnergyData(hottest=0.5)
    with pytest.raises(InputError, match="Hardly a sample"):
        EnergyTask(configuration(tmp_path), fresh_energy_sampler("gmm9", SMALL, NOISE, 0), np.zeros((3, 2)), 0)
