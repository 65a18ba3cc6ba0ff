"""All temperatures of a ladder together say what each alone says, but better."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import gamma, kstest

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.diffusion.reweighting import bennett
from ergodica.sampling.walks.multistate import mbar, thinned
from ergodica.units import KB

TEMPERATURES = np.array([300.0, 390.0, 507.0, 659.0])
MODES = 5
"""Harmonic modes: energies are kT times Gamma(MODES / 2)."""


def harmonic(seed=0, records=400, walkers=8, temperatures=TEMPERATURES):
    """Energies of independent states, eV [S, K, W]."""
    drawn = np.random.default_rng(seed).gamma(MODES / 2, size=(records, len(temperatures), walkers))
    return drawn * KB * temperatures[:, None]


@pytest.fixture(scope="module")
def known():
    return mbar(harmonic(), TEMPERATURES)


def test_free_energies_are_those_of_harmonic_modes(known):
    exact = -MODES / 2 * np.log(TEMPERATURES / TEMPERATURES[0])
    assert known.free_energies[0] == 0
    assert known.free_energies == pytest.approx(exact, abs=0.03)
    runs = np.array([mbar(harmonic(seed), TEMPERATURES).free_energies for seed in range(20)])
    assert runs.mean(axis=0) == pytest.approx(exact, abs=4 * runs.std(axis=0).max() / np.sqrt(20))


def test_two_temperatures_are_bennetts_ratio():
    energies = harmonic(records=50, temperatures=TEMPERATURES[:2])
    gap = 1 / (KB * TEMPERATURES[1]) - 1 / (KB * TEMPERATURES[0])
    ratio, _ = bennett(-gap * energies[:, 0].ravel(), -gap * energies[:, 1].ravel())
    assert mbar(energies, TEMPERATURES[:2]).free_energies[1] == pytest.approx(-ratio, abs=1e-8)


def test_energy_and_heat_capacity_are_known_between_rungs(known):
    asked = np.array([300.0, 345.0, 600.0])
    found = known.thermal(asked)
    assert (found.energy_error < 0.02 * found.energy).all()
    assert (np.abs(found.energy - MODES / 2 * KB * asked) < 4 * found.energy_error).all()
    assert (np.abs(found.heat_capacity - MODES / 2 * KB) < 4 * found.heat_capacity_error).all()


def test_every_rung_sharpens_the_lowest():
    """The mean at the lowest temperature spreads less over seeds than that of its own rung."""
    alone = [harmonic(seed, 50, 4)[:, 0].mean() for seed in range(30)]
    together = [mbar(harmonic(seed, 50, 4), TEMPERATURES).thermal(TEMPERATURES[:1]).energy[0] for seed in range(30)]
    assert np.std(together) < 0.85 * np.std(alone)


@pytest.mark.parametrize("temperature", [300.0, 450.0])
def test_thinned_states_are_those_of_the_temperature(known, temperature):
    kept = thinned(known.log_weights(temperature), seed=1)
    assert kept.sum() > 0.9 * kept.size / len(TEMPERATURES)  # as many as a rung has, and more
    assert kept.any(axis=(0, 2)).all()  # of all rungs
    assert kstest(known.energies[kept], gamma(MODES / 2, scale=KB * temperature).cdf).pvalue > 0.01


def test_a_single_rung_is_itself():
    known = mbar(harmonic(temperatures=TEMPERATURES[:1]), TEMPERATURES[:1])
    assert known.log_weights(300.0) == pytest.approx(-np.log(known.energies.size))
    assert thinned(known.log_weights(300.0)).all()


def test_what_can_not_be_known_is_refused(known):
    with pytest.raises(InputError, match="from 300 to 659 K: nothing is known of 800 K"):
        known.log_weights(800.0)
    broken = harmonic()
    broken[0, 0, 0] = np.nan
    with pytest.raises(WorkFailed, match="not all numbers"):
        mbar(broken, TEMPERATURES)
    with pytest.raises(WorkFailed, match="no energies in common"):
        mbar(harmonic() + np.array([0.0, 50.0, 100.0, 150.0])[:, None], TEMPERATURES)
