"""Weights give the averages of the target, or say that they can't."""

from __future__ import annotations

import numpy as np
import pytest

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling import pareto_shape, reweight


def test_averages_of_another_gaussian_and_its_free_energy():
    rng = np.random.default_rng(0)
    x = 1.3 * rng.standard_normal(20_000)
    log_q = -0.5 * (x / 1.3) ** 2 - np.log(1.3 * np.sqrt(2 * np.pi))
    found = reweight(-0.5 * (x - 0.5) ** 2 - log_q)  # not normalised: Z is sqrt(2 pi)
    assert found.reliable and found.average(x) == pytest.approx(0.5, abs=0.03)
    assert found.log_mean == pytest.approx(0.5 * np.log(2 * np.pi), abs=4 * found.log_mean_error)
    square = 1.2168  # the integral of p²/q
    assert found.log_mean_error == pytest.approx(np.sqrt((square - 1) / len(x)), rel=0.05)
    assert found.effective == pytest.approx(len(x) / square, rel=0.02)


def test_equal_weights_are_all_effective():
    found = reweight(np.full(100, -1e4))
    assert found.effective == pytest.approx(100) and found.reliable and found.log_mean == pytest.approx(-1e4)


def test_what_rounding_leaves_of_equal_weights_is_no_tail():
    rng = np.random.default_rng(0)
    found = reweight(1e-7 * rng.integers(-3, 4, 2000) * (rng.random(2000) < 0.2))
    assert found.reliable and found.effective == pytest.approx(2000)


@pytest.mark.parametrize("shape", [0.3, 0.6, 0.9])
def test_shape_of_pareto_tails(shape):
    rng = np.random.default_rng(1)
    found = [pareto_shape(rng.pareto(1 / shape, 20_000)) for _ in range(20)]
    assert np.mean(found) == pytest.approx(shape, abs=0.05)


def test_degenerate_weights_give_no_average():
    found = reweight(20 * np.random.default_rng(0).standard_normal(1000))
    assert found.effective < 5 and not found.reliable
    with pytest.raises(WorkFailed, match="degenerate"):
        found.average(np.ones(1000))


@pytest.mark.parametrize(
    ("weights", "reason"),
    [(np.zeros(10), "At least 25"), (np.full(30, -np.inf), "not finite"), (np.r_[np.zeros(30), np.nan], "not finite")],
)
def test_unusable_weights(weights, reason):
    with pytest.raises(InputError, match=reason):
        reweight(weights)


def test_impossible_samples_have_no_weight():
    found = reweight(np.r_[np.zeros(50), np.full(50, -np.inf)])
    assert found.effective == pytest.approx(50) and found.average(np.arange(100.0)) == pytest.approx(24.5)
