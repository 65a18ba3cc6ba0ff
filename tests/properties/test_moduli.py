"""Averages of elastic tensors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.constants import hbar, k

from ergodica.properties.moduli import born_eigenvalues, moduli, youngs_modulus

COPPER = (168.4, 121.4, 75.4)
"""C11, C12, C44 at room temperature, GPa."""


def cubic(c11, c12, c44):
    tensor = np.diag([c11 - c12] * 3 + [c44] * 3).astype(float)
    tensor[:3, :3] += c12
    return tensor


def test_isotropic_medium():
    k, g = 100.0, 40.0
    found = moduli(cubic(k + 4 * g / 3, k - 2 * g / 3, g), 10.0, np.array([60.0]))
    assert (found.bulk, found.shear, found.bulk_reuss, found.shear_reuss) == pytest.approx((k, g, k, g))
    assert found.anisotropy == pytest.approx(0, abs=1e-12)
    assert found.young == pytest.approx(9 * k * g / (3 * k + g))
    assert found.poisson == pytest.approx((3 * k - 2 * g) / (6 * k + 2 * g))
    around = np.random.default_rng(0).normal(size=(20, 3))
    around /= np.linalg.norm(around, axis=1, keepdims=True)
    assert youngs_modulus(cubic(k + 4 * g / 3, k - 2 * g / 3, g), around) == pytest.approx(np.full(20, found.young))
    assert found.density == pytest.approx(60 / 10 * 1.66053904, rel=1e-6)
    assert found.sound_transverse == pytest.approx(np.sqrt(g / found.density), rel=1e-6)  # √(GPa/(g/cm³)) is km/s


def test_copper_of_the_handbook():
    tensor = cubic(*COPPER)
    found = moduli(tensor, 3.615**3 / 4, np.array([63.546]))
    c11, c12, c44 = COPPER
    assert found.bulk == pytest.approx((c11 + 2 * c12) / 3)
    assert found.shear_voigt == pytest.approx((c11 - c12 + 3 * c44) / 5)
    assert found.shear_reuss == pytest.approx(5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12)))
    speeds = np.array([found.sound_longitudinal, found.sound_transverse, found.sound_transverse]) * 1e3
    density = 4 / 3.615e-10**3
    mean = np.mean(speeds**-3.0) ** (-1 / 3)
    assert found.debye == pytest.approx(hbar / k * mean * (6 * np.pi**2 * density) ** (1 / 3), rel=1e-5)
    assert found.debye == pytest.approx(344, rel=0.03)  # from specific heat, at low temperature
    assert youngs_modulus(tensor, np.array([[1.0, 0, 0], [1, 1, 1] / np.sqrt(3)])) == pytest.approx(
        [66.7, 191.1], abs=0.3
    )


def test_units_stand_in_the_names():
    names = set(moduli(cubic(*COPPER), 11.8, np.array([63.5])).to_dict())
    assert {"bulk_modulus_GPa", "shear_modulus_voigt_GPa", "poisson_ratio", "debye_temperature_K"} <= names
    assert {"sound_mean_km_per_s", "density_g_per_cm3", "universal_anisotropy"} <= names


def test_born_criterion():
    assert born_eigenvalues(cubic(*COPPER))[0] == pytest.approx(47.0)
    assert born_eigenvalues(cubic(100, 120, 50))[0] < 0 and born_eigenvalues(cubic(100, 50, -1))[0] == pytest.approx(-2)
