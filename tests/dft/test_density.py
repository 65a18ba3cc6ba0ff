"""The density on points and on grids: against the basis functions themselves and against exact integrals."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.io.cube import read_cube_data

from ergodica.dft.cube import write_cube
from ergodica.dft.gaussians import integrals
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.density import BLOCK, density_and_gradient, in_blocks
from ergodica.dft.gaussians.grid import GridOptions, make_grid

pytestmark = pytest.mark.usefixtures("x64")

BASIS = DensityBasis((1, 6, 1))
POSITIONS = np.array([[1.6, -0.4, 0.3], [0.0, 0.1, -0.2], [-1.0, 1.5, 0.9]])
COEFFICIENTS = np.random.default_rng(5).normal(size=BASIS.size)
at_points = jax.jit(density_and_gradient, static_argnums=0)


def test_the_gradient_is_that_of_finite_differences() -> None:
    points = np.random.default_rng(6).normal(size=(20, 3))
    step = 1e-5
    moved = [points, *(points + sign * step * axis for axis in np.eye(3) for sign in (1, -1))]
    rho, gradient = (np.asarray(found) for found in at_points(BASIS, POSITIONS, COEFFICIENTS, np.concatenate(moved)))
    rho, gradient = rho.reshape(7, 20), gradient[:20]
    np.testing.assert_allclose((rho[1::2] - rho[2::2]).T / (2 * step), gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_it_is_the_sum_of_normalised_functions() -> None:
    """On a grid every function has its overlap with another, its charge and its moments."""
    grid = make_grid(BASIS, POSITIONS, GridOptions(70, 35, 35))
    assert len(grid.points) % BLOCK == 0
    one = jax.jit(lambda p: in_blocks(BASIS, POSITIONS, p, grid.points)[0])
    first, second = np.random.default_rng(7).normal(size=(2, BASIS.size))
    a, b = (one(p) for p in (first, second))
    overlap = integrals.overlap(BASIS, jnp.asarray(POSITIONS))
    assert float(jnp.sum(grid.weights * a * b)) == pytest.approx(float(first @ overlap @ second), rel=1e-5)
    assert float(jnp.sum(grid.weights * a)) == pytest.approx(integrals.charges(BASIS) @ first, abs=1e-5)
    dipole = jnp.einsum("g,gi,g->i", grid.weights, grid.points, a)
    np.testing.assert_allclose(dipole, first @ integrals.dipoles(BASIS, POSITIONS), rtol=0, atol=1e-4)
    assert (np.asarray(grid.weights) >= 0).all()


def test_weights_follow_the_nuclei() -> None:
    """The derivative of an integral by the nuclei is that of finite differences, weights included."""
    basis, options = DensityBasis((1, 8)), GridOptions(25, 11)
    away = jnp.asarray([0.0, 0.3, 0.5])

    def integral(z: jax.Array) -> jax.Array:
        grid = make_grid(basis, jnp.stack([jnp.zeros(3), jnp.asarray([0.0, 0.2, 1.0]) * z]), options)
        return jnp.sum(grid.weights * jnp.exp(-jnp.sum((grid.points - away) ** 2, axis=-1)))

    both = jax.jit(jax.value_and_grad(integral))
    (up, _), (_, slope), (down, _) = (np.array(both(z)) for z in (1.9 + 1e-4, 1.9, 1.9 - 1e-4))
    assert slope == pytest.approx((up - down) / 2e-4, abs=1e-8)
    assert abs(slope) > 1e-6


def test_a_cube_file_holds_the_density(tmp_path) -> None:
    basis, positions = DensityBasis((1, 1)), np.array([[0.0, 0.0, -0.7], [0.0, 0.0, 0.7]])
    coefficients = np.zeros(basis.size)
    coefficients[[5, 25]] = 0.2  # the widest s functions
    write_cube(tmp_path / "h2.cube", basis, positions, coefficients, spacing=0.35, margin=5.0)
    values, atoms = read_cube_data(str(tmp_path / "h2.cube"))
    assert atoms.numbers.tolist() == [1, 1]
    assert values.sum() * 0.35**3 == pytest.approx(integrals.charges(basis) @ coefficients, rel=1e-3)
    middle = at_points(basis, positions, coefficients, np.zeros((1, 3)))[0]
    assert values.max() == pytest.approx(float(middle[0]), rel=0.2)
