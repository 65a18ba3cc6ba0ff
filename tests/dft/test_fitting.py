"""Fits of densities: against the numbers of an independent program, and what each method promises."""

from __future__ import annotations

import numpy as np
import pytest

from ergodica.dft.labels.fitting import FitSystem, Projected, fit_densities
from ergodica.errors import InputError


def synthetic() -> tuple[FitSystem, Projected]:
    """A basis of eight functions, and three densities of which the basis holds the first exactly."""
    random = np.random.default_rng(0)
    half = random.normal(size=(2, 8, 8))
    overlap, coulomb = (one @ one.T + 0.1 * np.eye(8) for one in half)
    external, exact = random.normal(size=(2, 8))
    system = FitSystem(overlap, coulomb, external, random.normal(size=(8, 4)))
    noise = 0.01 * random.normal(size=(2, 8))
    potentials = np.concatenate([(coulomb @ exact)[None], coulomb @ exact + noise])
    energies = external @ exact + np.array([0.0, 0.02, -0.01])
    overlaps = np.concatenate([(overlap @ exact)[None], overlap @ exact + noise])
    return system, Projected(potentials, energies, overlaps)


METHODS = ("stacked", "coulomb", "coulomb+external", "overlap")


@pytest.mark.parametrize("method", METHODS)
def test_a_density_of_the_basis_is_found(method) -> None:
    system, densities = synthetic()
    found = fit_densities(system, densities, method)
    np.testing.assert_allclose(system.coulomb @ found[0], densities.coulomb[0], atol=1e-8)


@pytest.mark.parametrize("method", METHODS)
def test_electrons_and_dipole_moments_are_kept_on_request(method) -> None:
    system, densities = synthetic()
    moments = np.array([[4.0, 0.1, -0.2, 0.3], [4.0, 0.0, 1.0, 0.0], [4.0, 2.0, 0.0, 0.0]])
    found = fit_densities(system, densities, method, moments)
    np.testing.assert_allclose(found @ system.moments, moments, atol=1e-10)


def test_moments_are_kept_by_the_change_that_repels_itself_least() -> None:
    system, densities = synthetic()
    free, kept = (fit_densities(system, densities, "coulomb", one) for one in (None, np.ones((3, 4))))
    change = (kept - free)[0]
    others = np.linalg.svd(system.moments.T)[2][4:]  # changes of no moment
    np.testing.assert_allclose(others @ system.coulomb @ change, 0.0, atol=1e-9)


def test_the_objectives_are_least() -> None:
    system, densities = synthetic()
    moves = 1e-3 * np.random.default_rng(1).normal(size=(20, 8))
    w, v, b, e = system.coulomb, system.external, densities.coulomb[1], densities.external[1]
    objectives = {
        "stacked": lambda p: np.sum((w @ p - b) ** 2) + (v @ p - e) ** 2,
        "coulomb": lambda p: p @ w @ p - 2 * b @ p,
        "coulomb+external": lambda p: p @ w @ p - 2 * b @ p + (v @ p - e) ** 2,
    }
    for method, objective in objectives.items():
        least = fit_densities(system, densities, method)[1]
        assert all(objective(least + move) > objective(least) for move in moves), method


def test_bad_requests_are_refused() -> None:
    system, densities = synthetic()
    with pytest.raises(InputError, match="no fit 'best': choose one of stacked"):
        fit_densities(system, densities, "best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs the overlap"):
        fit_densities(system, Projected(densities.coulomb, densities.external), "overlap")
