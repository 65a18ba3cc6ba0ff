"""Radial bases and cut-off functions against their formulas."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ergodica.nn.radial import (
    cosine_cutoff,
    expnorm_basis,
    expnorm_constants,
    gaussian_basis,
    gaussian_constants,
    polynomial_cutoff,
)

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize(("size", "beta"), [(32, 259.485012), (64, 1037.940048)])
def test_expnorm_constants_are_those_of_the_published_networks(size, beta):
    means, betas = expnorm_constants(5.0, size)
    np.testing.assert_allclose([means[0], means[-1]], [0.0067379470, 1.0], atol=5e-11)
    np.testing.assert_allclose(betas, beta, rtol=5e-9)


def test_first_centre_is_exp_of_minus_the_cutoff():
    assert expnorm_constants(3.0, 8)[0][0] == math.exp(-3.0)


@given(st.floats(0.0, 6.0), st.floats(1.0, 8.0))
def test_bases_are_their_formulas(distance, cutoff):
    means, betas = expnorm_constants(cutoff, 8)
    inside = 0.5 * (math.cos(math.pi * distance / cutoff) + 1) if distance < cutoff else 0.0
    expected = inside * np.exp(-betas * (np.exp(-5.0 / cutoff * distance) - means) ** 2)
    np.testing.assert_allclose(
        np.asarray(expnorm_basis(np.array(distance), means, betas, cutoff)), expected, atol=1e-13
    )

    centres, exponents = gaussian_constants(cutoff, 8)
    step = cutoff / 7
    expected = np.exp(-0.5 * ((distance - np.arange(8) * step) / step) ** 2)
    found = gaussian_basis(np.array(distance), centres, exponents)
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-13)


@pytest.mark.parametrize(("function", "order"), [(cosine_cutoff, 1), (polynomial_cutoff, 2)])
def test_cutoffs_vanish_with_their_derivatives(function, order):
    cutoff, step = 4.0, 1e-6
    assert float(function(np.array(0.0), cutoff)) == 1.0
    derivative = lambda d: function(d, cutoff)  # noqa: E731
    for _ in range(order + 1):
        assert abs(float(derivative(cutoff - step))) < 1e-5
        assert float(derivative(cutoff + step)) == 0.0
        assert float(derivative(2 * cutoff)) == 0.0
        derivative = jax.grad(derivative)
    assert abs(float(derivative(cutoff - step))) > 0.1  # the next derivative does jump: the check above has teeth


def test_cosine_and_polynomial_fall_monotonically():
    distances = np.linspace(0, 4, 200)
    for function in (cosine_cutoff, polynomial_cutoff):
        assert (np.diff(np.asarray(function(distances, 4.0))) < 0).all()
