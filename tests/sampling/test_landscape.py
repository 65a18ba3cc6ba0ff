"""Scores that physics gives: grids smooth exactly, torques and their derivatives are those of the energy."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.sampling.coordinates.landscape import grid_angles, landscape
from ergodica.sampling.coordinates.torques import pull
from ergodica.sampling.molecules import read_molecule
from ergodica.sampling.samplers.torsions.feed import widened
from ergodica.sampling.samplers.torsions.marginals import factors, marginals, trios
from ergodica.sampling.samplers.torsions.network import TorsionNetworkConfig
from ergodica.sampling.samplers.torsions.sampler import fresh_params
from ergodica.sampling.samplers.torsions.score import torsion_score
from ergodica.units import KB

BETA = 1 / (KB * 300)
SMALL = TorsionNetworkConfig(hidden=8, odd=6, pair=4, layers=2, heads=2)


@pytest.fixture(scope="module")
def lactic():
    return landscape(read_molecule("C[C@H](O)C(=O)O"))


@pytest.fixture(scope="module")
def places():
    return jax.random.uniform(jax.random.key(0), (16, 4), minval=-np.pi, maxval=np.pi)


def random_params(config=SMALL):
    """Of a network that corrects something."""
    fresh = fresh_params(config, jax.random.key(1))
    leaves, tree = jax.tree.flatten(fresh)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    return tree.unflatten(
        [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    )


def test_the_energy_is_the_sum_of_its_parts():
    """With two rotors there is nothing else."""
    known = landscape(read_molecule("CCO"))
    grid = grid_angles()
    first, second = np.meshgrid(grid, grid, indexing="ij")
    angles = np.stack([first, second], axis=-1).reshape(-1, 2).astype(np.float32)
    whole = np.asarray(jax.jit(known.energy)(angles)).reshape(first.shape)
    parts = known.single[0][:, None] + known.single[1][None] + known.double[0, 1]
    away = whole - np.asarray(parts)
    calm = whole < whole.min() + 2
    np.testing.assert_allclose(away[calm], away[calm].mean(), atol=2e-5)
    assert not np.asarray(known.several).any()


@pytest.mark.parametrize("sigma", [0.4, 1.0])
def test_three_rotors_have_their_exact_score(sigma):
    """Glycol, whose hydrogen bond needs all three of them."""
    known = landscape(read_molecule("OCCO"))
    line = np.linspace(-np.pi, np.pi, 48, endpoint=False)
    grid = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
    energy = np.asarray(jax.jit(known.energy)(grid), float)
    chance = np.exp(-BETA * (energy - energy.min())).reshape(48, 48, 48)
    at = np.random.default_rng(0).uniform(-np.pi, np.pi, (40, 3))
    away = at[..., None] - line - 2 * np.pi * np.arange(-4, 5)[:, None, None, None]
    kernel = np.exp(-0.5 * (away / sigma) ** 2)
    change = (kernel * -away / sigma**2).sum(axis=0)
    kernel = kernel.sum(axis=0)
    parts = [np.where(np.arange(3)[:, None] == one, change, kernel) for one in range(3)]
    density = np.einsum("bg,bh,bk,ghk->b", *kernel.swapaxes(0, 1), chance)
    slopes = [np.einsum("bg,bh,bk,ghk->b", *part.swapaxes(0, 1), chance) for part in parts]
    expected = np.stack(slopes, axis=1) / density[:, None]
    found = jax.jit(torsion_score(known, BETA))(jnp.asarray(at, jnp.float32), jnp.asarray(sigma))
    mild = np.abs(expected) < 4  # larger ones are cut short
    assert mild.mean() > 0.8
    np.testing.assert_allclose(found[:, :3][mild], expected[mild], atol=0.03 * np.abs(expected).max())


def test_torques_are_minus_the_slope_of_the_energy(lactic, places):
    expected = -jax.jit(jax.vmap(jax.grad(lambda at: lactic.energy(at[None])[0])))(places)
    found = jax.jit(pull)(lactic, places, jnp.zeros(len(places))).whole.T
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_derivatives_of_torques_and_densities_are_those_of_their_definitions(lactic, places):
    sigma = jnp.full(len(places), 0.4)
    given = factors(lactic, BETA)
    direction = jax.random.normal(jax.random.key(3), places.shape)

    def both(at):
        return pull(lactic, at, sigma), marginals(given, at, sigma), trios(given, at, sigma)

    found = jax.jit(lambda x: jax.jvp(both, (x,), (direction,))[1])(places)
    step = 2e-3
    ahead, behind = (jax.jit(both)(places + side * step * direction) for side in (1, -1))
    for one, more, less in zip(*map(jax.tree.leaves, (found, ahead, behind)), strict=True):
        slope = (np.asarray(more, float) - np.asarray(less, float)) / (2 * step)
        scale = 0.02 * np.abs(slope).mean() + 3e-3 * (1 + np.abs(slope))
        assert np.all(np.abs(np.asarray(one) - slope) < scale + 1e-3 * np.abs(np.asarray(more)).max())


@pytest.mark.parametrize(("sigma", "off"), [(0.1, 0.15), (0.3, 0.03), (0.5, 0.01), (2.0, 0.01)])
def test_a_single_rotor_has_its_exact_score(sigma, off):
    """Methanol's, by quadrature; at little noise the grids are a bit wide."""
    known = landscape(read_molecule("CO"))
    score = torsion_score(known, BETA)
    fine = np.linspace(-np.pi, np.pi, 2000, endpoint=False)
    energy = np.asarray(jax.jit(known.energy)(fine[:, None].astype(np.float32)), float)
    chance = np.exp(-BETA * (energy - energy.min()))
    at = np.linspace(-3, 3, 50)
    away = at[:, None] - fine - 2 * np.pi * np.arange(-5, 6)[:, None, None]
    weight = np.exp(-0.5 * (away / sigma) ** 2).sum(axis=0) * chance
    slope = (np.exp(-0.5 * (away / sigma) ** 2) * -away / sigma**2).sum(axis=0) * chance
    expected = slope.sum(axis=1) / weight.sum(axis=1)
    found = jax.jit(score)(jnp.asarray(at[:, None], jnp.float32), jnp.asarray(sigma))[:, 0]
    np.testing.assert_allclose(found, expected, atol=off * np.abs(expected).max() + 1e-4)


@pytest.mark.parametrize("params", [None, random_params()], ids=["physics", "network"])
def test_scores_have_the_period_of_a_turn(lactic, places, params):
    score = jax.jit(torsion_score(lactic, BETA, params, SMALL))
    turns = 2 * np.pi * np.random.default_rng(0).integers(-2, 3, places.shape)
    np.testing.assert_allclose(score(places + turns, 0.3), score(places, 0.3), rtol=2e-3, atol=2e-3)


def mirrored(known):
    """The other enantiomer, whose angles have the other sign."""
    energy, torsions = known.energy, known.energy.torsions
    flipped = replace(torsions, reference=torsions.reference * jnp.array([-1, 1, 1]), angles=-torsions.angles)
    energy = replace(energy, torsions=flipped, harmonics=energy.harmonics * jnp.array([1, -1]))
    back = -np.arange(known.single.shape[1])
    return replace(
        known,
        energy=energy,
        single=known.single[:, back],
        double=known.double[:, :, back][..., back],
        triple=known.triple[:, back][:, :, back][..., back],
    )


@pytest.mark.slow
def test_the_mirror_image_has_the_mirrored_score(lactic, places):
    one, other = (torsion_score(known, BETA, random_params(), SMALL) for known in (lactic, mirrored(lactic)))
    found = jax.jit(one)(places, 0.3)
    assert np.abs(found - jax.jit(torsion_score(lactic, BETA))(places, 0.3)).max() > 0.1  # the network does something
    np.testing.assert_allclose(jax.jit(other)(-places, 0.3), -found, rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_the_order_of_rotors_is_of_no_consequence(lactic, places):
    order = np.array([2, 0, 3, 1])
    energy, torsions = lactic.energy, lactic.energy.torsions
    parts = {name: getattr(torsions, name)[order] for name in ("atoms", "moved", "angles")}
    energy = replace(
        energy,
        torsions=replace(torsions, **parts),
        harmonics=energy.harmonics[order],
        senses=energy.senses[order],
    )
    other = replace(
        lactic,
        energy=energy,
        single=lactic.single[order],
        double=lactic.double[order][:, order],
        triples=np.argsort(order)[lactic.triples],
        apart=lactic.apart[order][:, order],
    )
    one = torsion_score(lactic, BETA, random_params(), SMALL)
    found = jax.jit(torsion_score(other, BETA, random_params(), SMALL))(places[:, order], 0.3)
    np.testing.assert_allclose(found, jax.jit(one)(places, 0.3)[:, order], rtol=2e-3, atol=2e-3)


@pytest.mark.slow
def test_padding_changes_nothing(lactic, places):
    one = torsion_score(lactic, BETA, random_params(), SMALL)
    wider = jax.tree.map(jnp.asarray, widened(lactic, (8, 32, 192)))
    found = jax.jit(torsion_score(wider, BETA, random_params(), SMALL))(places, 0.3)
    np.testing.assert_allclose(found, jax.jit(one)(places, 0.3), rtol=1e-3, atol=1e-3)


def test_at_little_noise_the_score_is_the_torque(lactic, places):
    calm = jnp.asarray(lactic.energy.torsions.angles)[None] + 0.05 * places
    expected = BETA * pull(lactic, calm, jnp.zeros(len(calm))).whole.T
    found = jax.jit(torsion_score(lactic, BETA))(calm, 0.001)
    assert np.abs(found - expected).mean() < 0.02 * np.abs(expected).mean()
