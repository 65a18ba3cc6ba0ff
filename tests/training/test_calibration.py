"""Bounds cover what they promise, and the posterior of the last layer is what linear algebra says."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from ergodica import predict
from ergodica.errors import InputError
from ergodica.potentials import EnergyScale
from ergodica.potentials.combine import combine, member
from ergodica.potentials.ensemble import Calibration
from ergodica.prediction import Prediction
from ergodica.system import Labels, System
from ergodica.training import calibration
from ergodica.training.calibration import calibrate, conformal_factor, reliability
from ergodica.training.laplace import _Features, _samples, posterior_ensemble
from ergodica.uncertainty import Uncertainty
from tests.helpers.small import random_crystal, random_molecule, small_potential

SIZE = {"layers": 1, "hidden": 8, "heads": 2, "num_rbf": 4}


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_factor_covers_further_cases(level):
    """Errors of known spread times Gaussian noise: the mean coverage of many calibrations is the level."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        spread = rng.lognormal(size=119)
        error = np.abs(rng.normal(size=119)) * spread
        factor = conformal_factor(error[:19], spread[:19], level, "energy")
        covered.append(np.mean(error[19:] <= factor * spread[19:]))
    assert level - 0.01 < np.mean(covered) < level + 0.06  # 1 / (n + 1) above it at most


def test_factor_is_the_conformal_order_statistic():
    score = np.arange(1.0, 20.0)
    assert conformal_factor(2 * score, 2 * np.ones(19), 0.9, "energy") == 18.0  # of ceil(20 * 0.9)
    assert conformal_factor(np.zeros(9), np.zeros(9), 0.9, "forces") == 0.0
    with pytest.raises(InputError, match="spread of the forces is zero"):
        conformal_factor(np.ones(9), np.zeros(9), 0.9, "forces")


@pytest.fixture(scope="module")
def members():
    return [replace(small_potential(seed, **SIZE), energy_scale=EnergyScale(1.0 + 0.2 * seed)) for seed in range(3)]


@pytest.fixture(scope="module")
def labelled(members):
    """Structures of one composition labelled by the first member, with noise."""
    rng = np.random.default_rng(0)
    systems = [random_molecule(rng, 4) for _ in range(3)] + [random_crystal(rng) for _ in range(9)]
    return [
        s.with_labels(Labels(p.energy + rng.normal(), p.forces + rng.normal(size=p.forces.shape), p.stress))
        for s, p in zip(systems, predict(members[0], systems), strict=True)
    ]


def test_bounds_of_a_calibrated_ensemble(members, labelled):
    ensemble = combine(members)
    with pytest.raises(InputError, match="at least 19 labelled structures, these are 12"):
        calibrate(ensemble, labelled, level=0.95)
    with pytest.raises(InputError, match="no share of cases"):
        calibrate(ensemble, labelled, level=1.0)
    with pytest.raises(InputError, match="single model"):
        calibrate(members[0], labelled)
    known = calibrate(ensemble, labelled, data="toy")
    assert known.calibration is not None and (known.calibration.structures, known.calibration.data) == (12, "toy")
    found = predict(known, labelled, uncertainty=True)
    numbers = reliability(found, labelled, known.calibration)
    for name in ("energy", "forces", "stress"):
        factor = getattr(known.calibration, name)
        assert numbers[f"{name}_coverage"] >= 0.9 and -1 <= numbers[f"{name}_spearman"] <= 1
        assert getattr(found[-1].uncertainty.bounds, name) == pytest.approx(
            factor * getattr(found[-1].uncertainty, name)
        )
    assert found[0].uncertainty.bounds.stress is None and found[0].uncertainty.bounds.level == 0.9


def test_too_few_stresses_give_no_bound(members, labelled, monkeypatch):
    found = (np.ones(20), np.ones(20))
    few = {"energy": found, "forces": found, "stress": (np.ones(2), np.ones(2))}
    monkeypatch.setattr("ergodica.training.calibration.error_and_spread", lambda *_: few)
    calibrated = calibrate(combine(members), labelled, level=0.8).calibration
    assert calibrated.energy == 1.0 and calibrated.forces == 1.0 and calibrated.stress is None


def test_reliability_sees_rank_and_coverage():
    system = System([1], np.zeros((1, 3)))
    pairs = [
        (Prediction(0.0, np.zeros(1), np.zeros((1, 3)), None, Uncertainty(k, np.zeros(1), None)), k)
        for k in range(1, 6)
    ]
    labelled = [system.with_labels(Labels(energy=1.5 * k - (k == 5))) for _, k in pairs]
    numbers = reliability([p for p, _ in pairs], labelled, Calibration(0.9, energy=1.5))
    assert numbers["energy_spearman"] == pytest.approx(1.0) and numbers["energy_coverage"] == 1.0
    assert numbers["energy_mean_std_eV"] == 3.0 and numbers["confidence"] == 0.9
    assert reliability([p for p, _ in pairs], labelled, Calibration(0.9, energy=1.4))["energy_coverage"] == 0.2
    with pytest.raises(InputError, match="without their uncertainty"):
        reliability([Prediction(0.0, np.zeros(1), np.zeros((1, 3)), None)], [system], None)


@pytest.mark.slow
def test_posterior_keeps_the_model_and_spreads_where_it_was_not(members, labelled):
    base = members[0]
    known = posterior_ensemble(base, labelled[:6], samples=8)
    again = posterior_ensemble(base, labelled[:6], samples=8)
    same = jax.tree.map(np.array_equal, known.params, again.params)
    assert all(jax.tree.leaves(same))
    alone, found = predict(base, labelled), predict(known, labelled, uncertainty=True)
    for one, other in zip(alone, found, strict=True):
        assert other.energy == pytest.approx(one.energy, abs=1e-4)
        np.testing.assert_allclose(other.forces, one.forces, atol=1e-4)
        assert other.uncertainty.energy > 0
    first = predict(member(known, 3), labelled[0])[0]
    assert first.energy != pytest.approx(alone[0].energy, abs=1e-6)
    with pytest.raises(InputError, match="ensemble already"):
        posterior_ensemble(known, labelled)
    with pytest.raises(InputError, match="at least 2"):
        posterior_ensemble(base, labelled, samples=1)


@pytest.mark.parametrize("kind", ["visnet", "m3gnet", "geoformer"])
def test_energy_is_linear_in_the_last_layer(kind, labelled):
    """What the posterior rests on: twice the last layer is twice the energy, and no last layer is no energy."""
    options = {"m3gnet": {"units": 4, "blocks": 1, "threebody_cutoff": 2.4}}
    base = small_potential(0, kind, **options.get(kind, SIZE))
    features = _Features(base)
    (normal,) = predict(base, labelled[0])
    for factor in (0.0, 2.0):
        params = jax.tree.map(
            lambda leaf, like: leaf.reshape(like.shape),
            features.params_with(factor * features.values[None]),
            base.params,
        )
        (found,) = predict(base.with_params(params), labelled[0])
        assert found.energy == pytest.approx(factor * normal.energy, abs=1e-4)
        np.testing.assert_allclose(found.forces, factor * normal.forces, atol=1e-4)


@pytest.mark.parametrize("kind", ["visnet", pytest.param("m3gnet", marks=pytest.mark.slow)])
def test_features_are_derivatives_with_respect_to_the_last_layer(kind, members, labelled):
    """The Gauss-Newton matrix of one structure, from finite differences of energy and forces."""
    core = {"units": 4, "blocks": 1, "threebody_cutoff": 2.4, "core": True}  # which no layer has a part in
    base, system = members[0] if kind == "visnet" else small_potential(0, kind, **core), labelled[0]
    features = _Features(base)
    matrix = features.gauss_newton([system])
    (centre,) = predict(base, system)

    def shifted(index):
        rows = features.values[None].copy()
        rows[0, index] += 1.0  # the dependence is linear, so that the step may be large
        params = jax.tree.map(lambda leaf, like: leaf.reshape(like.shape), features.params_with(rows), base.params)
        (found,) = predict(base.with_params(params), system)
        return np.append((found.energy - centre.energy) / len(system), (found.forces - centre.forces).ravel())

    variances = features._variances([system])
    jacobian = np.array([shifted(index) for index in range(len(features.values))])
    weights = np.append(1 / variances[0], np.full(12, 1 / variances[1]))
    expected = (jacobian * weights) @ jacobian.T
    np.testing.assert_allclose(matrix, expected, atol=2e-3 * np.abs(expected).max())


def test_samples_have_the_covariance_of_the_posterior():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 3))
    matrix = np.zeros((4, 4))
    matrix[:3, :3] = 50 * root @ root.T  # the energy does not depend on the last one
    deviations = _samples(matrix, np.array([1.0, -1.0, 0.5, 9.0]), 20000, rng)
    np.testing.assert_allclose(deviations.mean(axis=0), 0, atol=1e-12)
    assert not deviations[:, 3].any()
    precision = np.linalg.inv(deviations[:, :3].T @ deviations[:, :3] / 20000)
    prior = np.mean(np.diag(precision - matrix[:3, :3]))
    np.testing.assert_allclose(precision, matrix[:3, :3] + prior * np.eye(3), rtol=0.1, atol=0.05 * matrix.max())


def test_uncalibrated_and_unlabelled(members):
    with pytest.raises(InputError, match="nothing to evaluate"):
        calibration.calibrate(combine(members), [])
