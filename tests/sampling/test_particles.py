"""Samplers of particles: blurred pair forces, the walk that gives states, symmetries, training in pieces, bad input."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.energies.analytic import PARTICLES, DoubleWells, LennardJonesCluster
from ergodica.sampling.samplers.particles.blurred_pairs import blurred_pairs
from ergodica.sampling.samplers.particles.network import ParticleNetworkConfig
from ergodica.sampling.samplers.particles.sampler import (
    ParticleSampler,
    draw_particles,
    load_particles,
    particles,
    save_particles,
)
from ergodica.sampling.samplers.particles.score import fresh_params
from ergodica.sampling.samplers.particles.training import (
    KIND,
    ParticleData,
    ParticleTask,
    ParticleTraining,
)
from ergodica.sampling.samplers.torsions.sampler import load_sampler
from ergodica.sampling.walks.hamiltonian import Walk, walk
from ergodica.training.loop import run_task
from ergodica.training.options import OptimizerOptions, RunOptions, model_kind, parse_task

SMALL = ParticleNetworkConfig(hidden=8, vectors=4, layers=2, radial=6)
NOISE = Noise(0.01, 20.0, 7.0)
SHORT = Walk(chains=16, settling=50, records=20, stride=2, leaps=5)


@pytest.mark.parametrize(("name", "radius"), [("dw4", 2.1), ("dw4", 5.0), ("lj13", 0.95), ("lj13", 1.6)])
@pytest.mark.parametrize("sigma", [0.05, 1.0])
def test_blurred_forces_equal_quadrature(name, radius, sigma):
    """Of ln ∫ N(r'; r, 2σ²) exp(-u(r')) dr', over angle and distance."""
    target = PARTICLES[name]
    dimensions, variance = target.shape[1], 2 * sigma**2
    cosine, share = np.polynomial.legendre.leggauss(600)
    if dimensions == 2:
        angle = np.pi * (cosine + 1) / 2
        cosine, share = np.cos(angle), share * np.pi / 2
    moved = np.linspace(0.5, 20.0, 8001)
    boltzmann = moved ** (dimensions - 1) * np.exp(-np.asarray(target.pair(moved)))

    def density(r):
        square = r**2 + moved**2 - 2 * r * np.outer(cosine, moved)
        return np.trapezoid(share @ np.exp(-square / (2 * variance)) * boltzmann, moved)

    step = 2e-3 * radius
    expected = (np.log(density(radius + step)) - np.log(density(radius - step))) / (2 * step)
    found = blurred_pairs(target, NOISE)(jnp.full((1, 1, 1), radius), jnp.array([sigma]))
    assert float(found[0, 0, 0]) == pytest.approx(expected, rel=0.02, abs=0.02)


@dataclass(frozen=True)
class Trap:
    """Particles that do not see each other."""

    shape: tuple[int, int] = (3, 2)
    size: float = 2.0
    spring: float = 4.0

    def pair(self, distance):
        return 0.0 * distance

    def __call__(self, x):
        return 0.5 * self.spring * jnp.sum((x - x.mean(axis=1, keepdims=True)) ** 2, axis=(1, 2))


def test_a_walk_in_a_harmonic_trap_has_its_width_and_counts_its_calls():
    trap = Trap()
    how = Walk(chains=64, settling=100, records=200, stride=2, leaps=6)
    found = walk(trap, how, seed=3)
    assert found.x.shape == found.forces.shape == (64, 200, 3, 2)
    np.testing.assert_allclose(found.forces, -4.0 * found.x, atol=1e-4)
    np.testing.assert_allclose(found.x.mean(axis=2), 0, atol=1e-5)
    square = np.sum(found.x**2, axis=(2, 3)).mean(axis=1)  # of each chain; 4 degrees of freedom of variance 1/4
    assert square.mean() == pytest.approx(1.0, abs=float(square.std()) / 2)
    assert found.calls == 64 * (500 * 6 + 301)
    assert found.accepted > 0.7
    np.testing.assert_array_equal(found.x, walk(trap, how, seed=3).x)


@pytest.fixture(scope="module")
def sampler():
    """With random weights, so that every part of the network does something."""
    params = fresh_params(SMALL, (5, 3), jax.random.key(0))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noisy = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    return ParticleSampler("lj13", SMALL, NOISE, 0.7, jax.tree.unflatten(tree, noisy))


@pytest.mark.parametrize("level", [0.02, 0.5, 8.0])
def test_denoisers_turn_reflect_and_change_places_with_the_particles(sampler, level):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5, 3)) * (0.8 + level)
    x -= x.mean(axis=1, keepdims=True)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = rng.permutation(5)
    denoise = sampler.denoiser()
    clean = np.asarray(denoise(jnp.asarray(x), jnp.asarray(level)))
    assert np.abs(clean - x).max() > 1e-4
    moved = np.asarray(denoise(jnp.asarray(x @ turn)[:, order], jnp.asarray(level)))
    np.testing.assert_allclose(moved, (clean @ turn)[:, order], atol=2e-4 * (1 + level))
    np.testing.assert_allclose(clean.mean(axis=1), 0, atol=1e-5 * (1 + level))


def test_untrained_scores_are_forces_where_noise_is_small():
    """But for the noise, which acts on the wall, and for the tether, which the width of the data stands for."""
    target = PARTICLES["lj13"]
    states = walk(target, SHORT, seed=1)
    x, forces = states.x[:, -1], states.forces[:, -1]
    fresh = ParticleSampler("lj13", SMALL, NOISE, float(x.std()), fresh_params(SMALL, (13, 3), jax.random.key(0)))
    level = 0.011
    score = (np.asarray(fresh.denoiser()(jnp.asarray(x), jnp.asarray(level))) - x) / level**2
    assert np.sqrt(np.mean((score - forces) ** 2)) < 0.25 * np.sqrt(np.mean(forces**2))


def configuration(output, **run):
    return ParticleTraining(
        model=SMALL,
        data=ParticleData("dw4", SHORT, steps=6, smallest=0.02),
        optimizer=OptimizerOptions(learning_rate=3e-3, warmup=2),
        run=RunOptions(**{"epochs": 2, "batch_size": 16, "steps_per_call": 2, **run}),
        output=str(output),
    )


@pytest.fixture(scope="module")
def states():
    return walk(DoubleWells(), SHORT, seed=0), walk(DoubleWells(), SHORT, seed=1)


@pytest.mark.slow
def test_a_run_in_pieces_gives_the_same_bits(states, tmp_path):
    def stop(numbers):
        if numbers["step"] > 4:
            raise KeyboardInterrupt

    def trained(name, **options):
        config = configuration(tmp_path / name, checkpoint_minutes=0)
        return run_task(lambda: ParticleTask(config, *states), config.output, **options)

    whole = trained("whole")
    assert whole.steps == 12
    with pytest.raises(KeyboardInterrupt):
        trained("parts", report=stop)
    parts = trained("parts", resume=True)
    one, other = (load_particles(outcome.checkpoint) for outcome in (whole, parts))
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.info.errors["energy_calls"] == 2 * SHORT.calls
    drawn = draw_particles(one, 20, steps=4)
    assert drawn.calls == 20 * 4 * 2 * 7
    np.testing.assert_allclose(drawn.energies, DoubleWells()(jnp.asarray(drawn.x)), rtol=1e-5)
    with pytest.raises(InputError, match="'torsion-sampler' is needed"):
        load_sampler(whole.checkpoint)


@pytest.mark.slow
def test_training_improves_on_pair_forces(states, tmp_path):
    config = configuration(tmp_path, epochs=20, validate_every=20)
    task = ParticleTask(config, *states)
    feed = task.loaders(1)[1]
    chunk = feed.chunk(*feed.plan(None)[0])
    batch, targets = jax.tree.map(lambda leaf: leaf[0], (chunk.batch, chunk.targets))
    before, _ = task.loss(task.params, batch, targets)
    outcome = run_task(lambda: task, config.output)
    after, _ = task.loss(task.load(outcome.checkpoint), batch, targets)
    assert float(after) < 0.8 * float(before)


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="no system of particles 'lj14'"):
        particles("lj14")
    with pytest.raises(InputError, match="no sampler"):
        load_particles("nowhere")
    with pytest.raises(InputError, match="at least one chain"):
        Walk(chains=0)
    with pytest.raises(InputError, match="must be positive"):
        ParticleNetworkConfig(hidden=0)
    with pytest.raises(WorkFailed, match="no numbers"):
        walk(LennardJonesCluster(shape=(3, 3), depth=float("nan")), SHORT)
    with pytest.raises(InputError, match="did you mean 'target'"):
        parse_task(ParticleTraining, {"data": {"targett": "dw4"}}, "x.toml")
    fresh = fresh_params(SMALL, (4, 2), jax.random.key(0))
    save_particles(tmp_path / "a.safetensors", ParticleSampler("dw4", SMALL, NOISE, 1.0, fresh))
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:500])
    with pytest.raises(InputError):
        load_particles(tmp_path / "b.safetensors")
    path = tmp_path / "x.toml"
    path.write_text('[model]\nkind = "particle-sampler"\n')
    assert model_kind(path) == KIND
