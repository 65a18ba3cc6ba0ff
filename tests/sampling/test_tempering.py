"""Replica exchange gives the populations that quadrature gives, and says how far it can be trusted."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.conformers import SECTORS, ConformerOptions, sample_conformers
from ergodica.sampling.coordinates.torsions import rigid_energy
from ergodica.sampling.diffusion.reweighting import reweight
from ergodica.sampling.molecules import read_molecule
from ergodica.sampling.walks.statistics import error_of_log_ratio
from ergodica.sampling.walks.tempering import Ladder, continue_run, start_run
from ergodica.units import KB

POINTS = 48


def exact(energy, dimensions, temperature):
    """Angles of a regular grid, their probabilities and energies."""
    line = np.linspace(-np.pi, np.pi, POINTS, endpoint=False) + np.pi / POINTS  # none between two sectors
    grid = np.stack(np.meshgrid(*[line] * dimensions, indexing="ij"), axis=-1).reshape(-1, dimensions)
    chunks = jnp.asarray(grid, jnp.float32).reshape(-1, 4608, dimensions)
    values = np.asarray(jax.jit(lambda at: jax.lax.map(energy, at))(chunks), np.float64).ravel()
    weights = np.exp(-(values - values.min()) / (KB * temperature))
    return grid, weights / weights.sum(), values


@pytest.fixture(scope="module")
def glycolamide():
    return read_molecule("NC(=O)CO")


@pytest.fixture(scope="module")
def ensemble(glycolamide):
    """Drawn from MMFF94 and reweighted to MMFF94s, which twists amides more easily."""
    return sample_conformers(glycolamide, ConformerOptions(2000, reweight="MMFF94s", seed=1))


@pytest.fixture(scope="module")
def grid(glycolamide):
    """Sectors of all rotors, their probabilities and energies in MMFF94s."""
    angles, chance, energies = exact(rigid_energy(glycolamide, "MMFF94s"), 3, 300.0)
    return np.round(angles / (np.pi / 3)).astype(int) % 6, chance, energies


def test_populations_are_those_of_quadrature(ensemble, grid):
    sectors, chance, energies = grid
    for rotor in range(3):
        expected = np.bincount(sectors[:, rotor], chance, 6)
        found = list(ensemble.populations(rotor).values())
        for (share, error), right in zip(found, expected, strict=True):
            assert abs(share - right) < 4 * error + 0.004
    mean, error = ensemble.average(ensemble.energies)
    assert error < 0.003
    assert mean == pytest.approx(chance @ energies, abs=4 * error)


def test_families_are_all_of_the_ensemble_and_as_frequent_as_quadrature_says(ensemble, grid):
    sectors, chance, _ = grid
    families = ensemble.families()
    assert sum(family.population for family in families) == pytest.approx(1)
    plain = [number for number, rotor in enumerate(ensemble.molecule.rotors) if rotor.symmetry == 1]
    for family in families[:4]:
        wanted = [SECTORS.index(name) for name in family.sectors]
        right = chance[(sectors[:, plain] == wanted).all(axis=1)].sum()
        assert abs(family.population - right) < 4 * family.error + 0.004


def test_free_energies_have_the_error_that_repetition_shows() -> None:
    """Two states of three, independent samples in parts: against the scatter of the logarithm of the ratio."""
    random, count, parts = np.random.default_rng(0), 4000, 40
    chance, walker = np.array([0.45, 0.4, 0.15]), np.arange(count) % parts
    drawn = random.choice(3, (200, count), p=chance)
    ratios = [np.log((row == 0).mean() / (row == 1).mean()) for row in drawn]
    found = [error_of_log_ratio(row == 0, row == 1, np.ones(count), walker) for row in drawn[:50]]
    assert np.mean(found) == pytest.approx(np.std(ratios), rel=0.12)
    assert error_of_log_ratio(drawn[0] == 0, drawn[0] == 0, np.ones(count), walker) == 0
    assert error_of_log_ratio(walker == 0, walker == 1, np.ones(count), walker) == np.inf


def test_an_ensemble_is_judged(ensemble):
    assert ensemble.reliable and ensemble.mixing < 1.05 and ensemble.effective >= 2000
    assert ensemble.kept_stereo == 1.0
    assert 1000 < ensemble.weighted.effective < 1999
    assert (ensemble.exchanged > 0.2).all()


def test_degenerate_weights_and_unmixed_ladders_give_no_average(ensemble):
    broken = reweight(20 * np.random.default_rng(0).standard_normal(2000))
    with pytest.raises(WorkFailed, match="degenerate"):
        replace(ensemble, weighted=broken).families()
    apart = replace(ensemble, mixing=1.3)
    assert not apart.reliable
    with pytest.raises(WorkFailed, match="do not agree"):
        apart.average(apart.energies)


@pytest.mark.slow
def test_every_temperature_has_its_own_ensemble(glycolamide):
    energy, ladder = rigid_energy(glycolamide), Ladder(300.0, walkers=32)
    run = start_run(energy, 3, ladder, jax.random.key(0), 120)
    _, record = continue_run(energy, run, ladder, 60, 4)
    for rung in (0, 5):
        _, chance, energies = exact(energy, 3, ladder.temperatures[rung])
        means = record.energies[:, rung].mean(axis=0)
        error = means.std(ddof=1) / np.sqrt(len(means))
        assert means.mean() == pytest.approx(chance @ energies, abs=4 * error)


@pytest.mark.slow
def test_a_run_is_that_of_its_seed(glycolamide):
    energy, ladder = rigid_energy(glycolamide), Ladder(300.0, walkers=32)
    one, same, other = (start_run(energy, 3, ladder, jax.random.key(seed), 120) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.angles, same.angles)
    assert not np.array_equal(one.angles, other.angles)


@pytest.mark.parametrize("temperature", [0.0, -300.0, float("nan"), float("inf")])
def test_impossible_temperatures(temperature):
    with pytest.raises(InputError, match="above 0 K"):
        Ladder(temperature)


@pytest.mark.parametrize("count", [0, 24, 10_000_000])
def test_impossible_numbers_of_conformers(count):
    with pytest.raises(InputError, match="conformers can be drawn"):
        ConformerOptions(count)


def test_too_many_rotors():
    with pytest.raises(InputError, match="rotors: up to 16"):
        sample_conformers(read_molecule("C" * 20))
