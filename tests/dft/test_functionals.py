"""Semilocal functionals against libxc's, and on densities fitted to Kohn-Sham's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.dft.functionals import ENERGY_DENSITIES, KINETIC, XC, Semilocal, mixed, von_weizsaecker
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.density import in_blocks
from ergodica.dft.gaussians.grid import GridOptions
from ergodica.dft.molecule import electrostatics, make_molecule
from ergodica.dft.properties import dipole
from ergodica.errors import InputError

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.parametrize("name", ENERGY_DENSITIES)
def test_equal_to_libxc(golden: dict[str, np.ndarray], name: str) -> None:
    rho, sigma = golden["libxc/rho"], golden["libxc/sigma"]
    slopes = jax.grad(lambda rho, sigma: jnp.sum(ENERGY_DENSITIES[name](rho, sigma)), argnums=(0, 1))
    value = ENERGY_DENSITIES[name](jnp.asarray(rho), jnp.asarray(sigma))
    for found, stored in zip((value, *jax.jit(slopes)(rho, sigma)), golden[f"libxc/{name}"], strict=True):
        np.testing.assert_allclose(found, stored, rtol=1e-8, atol=1e-14)


def test_empty_space_has_neither_energy_nor_slope() -> None:
    rho, sigma = jnp.asarray([0.0, -1e-3, 1e-30]), jnp.asarray([0.0, 1.0, 1e-40])
    everything = (*KINETIC.values(), *XC.values())
    total = lambda rho, sigma: sum(jnp.sum(mixed(mixture, rho, sigma)) for mixture in everything)  # noqa: E731
    value, slopes = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(rho, sigma)
    assert value == 0
    np.testing.assert_array_equal(slopes, 0.0)


def test_von_weizsaecker_is_a_wall_that_rises_behind_zero() -> None:
    rho = jnp.asarray([1e-3, 2e-9, 1e-9, 5e-10, 0.0, -1e-9, -1e-3])
    energy, slope = jax.vmap(jax.value_and_grad(von_weizsaecker), (0, None))(rho, 1e-6)
    assert (jnp.diff(energy) > 0).all() and (slope < 0).all() and jnp.isfinite(energy).all()
    np.testing.assert_allclose(slope[2:], slope[2])


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="no kinetic functional 'thomas'"):
        Semilocal("thomas")
    with pytest.raises(InputError, match="no exchange-correlation functional 'b3lyp'"):
        Semilocal("tf", "b3lyp")


@pytest.mark.parametrize(
    "molecule", ["H2O", *(pytest.param(name, marks=pytest.mark.slow) for name in ("He", "H2", "CH4", "N2", "HF"))]
)
def test_errors_on_kohn_sham_densities(golden: dict[str, np.ndarray], molecule: str) -> None:
    """T_app - T_S on Kohn-Sham's density; the fit of that density changes little, our grid nearly nothing."""
    start = f"ks/{molecule}/"
    stored = {key.removeprefix(start): value for key, value in golden.items() if key.startswith(start)}
    basis = DensityBasis.of(stored["numbers"])

    mixtures = [*(KINETIC[name] for name in ("tf", "vw", "apbe")), XC["pbe"]]

    @jax.jit
    def found(positions: jax.Array, coefficients: jax.Array) -> tuple[list[jax.Array], dict[str, jax.Array]]:
        place = make_molecule(basis, positions, GridOptions(70, 35))
        rho, gradient = in_blocks(basis, positions, coefficients, place.grid.points)
        sigma = jnp.sum(gradient**2, axis=-1)
        return [place.grid.weights @ mixed(one, rho, sigma) for one in mixtures], electrostatics(coefficients, place)

    (*kinetic, xc), rest = found(stored["positions"], stored["coefficients"])
    for name, value in zip(("tf", "vw", "apbe"), kinetic, strict=True):
        assert float(value) == pytest.approx(float(stored[f"fit/{name}"]), abs=3e-4)
        assert float(value) == pytest.approx(float(stored[name]), abs=0.02)
    assert float(xc) == pytest.approx(float(stored["fit/pbe-x"] + stored["fit/pbe-c"]), abs=1e-4)
    total = stored["kinetic"] + xc + sum(rest.values())
    assert float(total) == pytest.approx(float(stored["energy"]), abs=2e-3)
    moment = dipole(basis, jnp.asarray(stored["positions"]), jnp.asarray(stored["coefficients"]))
    np.testing.assert_allclose(moment, stored["dipole"], rtol=0, atol=0.06)  # Coulomb energies are fitted; HF is worst
