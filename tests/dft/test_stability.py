"""The lowest curvature of the energy, against the whole Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.integrals import charges
from ergodica.dft.molecule import Molecule, make_molecule
from ergodica.dft.stability import lowest_curvature

pytestmark = pytest.mark.usefixtures("x64")
HELIUM = DensityBasis((2,))


@jax.tree_util.register_static
@dataclass(frozen=True)
class Quadratic:
    """p·M p / 2 with one curvature that can be made negative; its Hessian is known."""

    lowest: float
    on_grid = False

    def matrix(self) -> np.ndarray:
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(HELIUM.size, HELIUM.size)))[0]
        return (turn * np.append(self.lowest, np.geomspace(1.0, 60.0, HELIUM.size - 1))) @ turn.T

    def terms(self, coefficients: jax.Array, molecule: Molecule) -> dict[str, jax.Array]:
        return {"kinetic+xc": 0.5 * coefficients @ jnp.asarray(self.matrix()) @ coefficients}

    def softness(self, molecule: Molecule) -> Callable[[jax.Array], jax.Array]:
        return lambda gradient: gradient / jnp.linspace(1.0, 60.0, HELIUM.size)


@pytest.mark.parametrize("lowest", [0.05, -30.0])
def test_the_softest_direction_that_keeps_the_electrons_is_found(lowest: float) -> None:
    molecule, functional = jax.jit(make_molecule, static_argnums=0)(HELIUM, np.zeros((1, 3))), Quadratic(lowest)
    found = lowest_curvature(molecule, functional, jnp.ones(HELIUM.size))
    inverse = np.asarray(molecule.natural[0].inverse_rows[0])
    hessian = inverse @ (functional.matrix() + np.asarray(molecule.coulomb)) @ inverse
    plane = np.linalg.svd((inverse @ charges(HELIUM))[None])[2][1:]  # orthonormal, without the normal
    inside, estimate = plane @ hessian @ plane.T, plane @ np.diag(1 / np.linspace(1.0, 60.0, HELIUM.size)) @ plane.T
    values, vectors = np.linalg.eig(estimate @ inside)
    softest = vectors[:, values.real.argmin()].real
    assert float(found.relative) == pytest.approx(values.real.min(), rel=1e-6)
    assert float(found.hartree) == pytest.approx(softest @ inside @ softest / (softest @ softest), rel=1e-6)
    assert (float(found.hartree) < 0) == (lowest < 0)


@jax.tree_util.register_static
@dataclass(frozen=True, eq=False)
class Stiff:
    """Energies whose Hessian has three curvatures in natural coordinates, so that few products with it are all."""

    molecule: Molecule
    on_grid = False

    def terms(self, coefficients: jax.Array, molecule: Molecule) -> dict[str, jax.Array]:
        root = self.molecule.natural[0].rows[0]
        curvatures = np.repeat([-2.0, 3.0, 7.0], [1, 9, HELIUM.size - 10])
        matrix = root @ np.diag(curvatures) @ root - self.molecule.coulomb
        return {"kinetic+xc": 0.5 * coefficients @ matrix @ coefficients}

    def softness(self, molecule: Molecule) -> Callable[[jax.Array], jax.Array]:
        return lambda gradient: gradient


def test_where_no_direction_is_left_the_search_ends() -> None:
    """Of four eigenvalues at most: the plane of N electrons mixes the three."""
    molecule = jax.jit(make_molecule, static_argnums=0)(HELIUM, np.zeros((1, 3)))
    found = lowest_curvature(molecule, Stiff(molecule), jnp.ones(HELIUM.size))
    plane = np.linalg.svd((molecule.natural[0].inverse_rows[0] @ charges(HELIUM))[None])[2][1:]
    inside = plane @ np.diag(np.repeat([-2.0, 3.0, 7.0], [1, 9, HELIUM.size - 10])) @ plane.T
    lowest = np.linalg.eigvalsh(inside)[0]
    assert float(found.relative) == pytest.approx(lowest, rel=1e-6)
    assert float(found.hartree) == pytest.approx(lowest, rel=1e-6)
    assert float(found.residual) < 1e-4
