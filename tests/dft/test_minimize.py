"""Minimised densities: exact cases, independence of the start, honest reports, forces."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.dft.functionals import Semilocal
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.grid import GridOptions
from ergodica.dft.gaussians.integrals import charges
from ergodica.dft.minimize import MinimizeOptions, Minimum, minimize
from ergodica.dft.molecule import make_molecule
from ergodica.dft.properties import forces
from ergodica.dft.start import atomic_start
from ergodica.units import HARTREE, KCAL_PER_MOL

pytestmark = pytest.mark.usefixtures("x64")

KCAL = HARTREE / KCAL_PER_MOL
GRID = GridOptions(60, 29)
prepared = jax.jit(make_molecule, static_argnums=(0, 2))


def minimum(
    golden: dict[str, np.ndarray], name: str, kinetic: str, start: str = "sad", grid: GridOptions = GRID
) -> tuple[Minimum, float]:
    """The minimum and its energy above Kohn-Sham's, Hartree."""
    basis = DensityBasis.of(golden[f"ks/{name}/numbers"])
    place = prepared(basis, golden[f"ks/{name}/positions"], grid)
    first = jnp.asarray(atomic_start(basis, basis.electrons, start))
    found = minimize(place, Semilocal(kinetic), first, float(basis.electrons))
    assert found.converged and found.gradient_norm <= 3e-5
    assert abs(found.electron_count_error) < 1e-9
    return found, float(found.energy - golden[f"ks/{name}/energy"])


@pytest.mark.slow
def test_two_electrons_need_no_learning(golden: dict[str, np.ndarray]) -> None:
    """The von Weizsäcker functional is exact for one orbital; a start from elsewhere ends at the same place."""
    found, error = minimum(golden, "H2", "vw")
    assert abs(error) * KCAL <= 0.3
    again, _ = minimum(golden, "H2", "vw", "minao")
    assert float(again.energy) == pytest.approx(float(found.energy), abs=1e-7)
    assert set(found.terms) == {"kinetic", "xc", "hartree", "external", "nuclear"}
    assert float(sum(found.terms.values())) == pytest.approx(float(found.energy), abs=1e-12)


@pytest.mark.parametrize("kind", ["sad", "minao"])
def test_starts_have_the_electrons(kind: str) -> None:
    for numbers, electrons in (((8, 1, 1), 10.0), ((17,), 18.0), (tuple(range(1, 19)), 171.0)):
        basis = DensityBasis(numbers)
        assert charges(basis) @ atomic_start(basis, electrons, kind) == pytest.approx(electrons, abs=1e-10)


@pytest.mark.slow
def test_forces_are_the_derivative_of_the_minimised_energy() -> None:
    """Every point is minimised anew; the functional is smooth, so that a coarse grid does for all."""
    basis, functional, grid = DensityBasis((1, 1)), Semilocal("vw", "lda"), GridOptions(40, 17)
    axis = jnp.asarray([[0.0, 0.0, 0.0], [0.3, 0.5, 1.0]])
    start = jnp.asarray(atomic_start(basis, 2, "sad"))
    tight = MinimizeOptions(gradient=1e-6)
    at = lambda z: minimize(prepared(basis, z * axis, grid), functional, start, 2.0, tight)  # noqa: E731
    step, z = 1e-3, 1.0
    up, here, down = (at(jnp.asarray(s)) for s in (z + step, z, z - step))
    assert up.converged and here.converged and down.converged
    pull = forces(prepared(basis, z * axis, grid), here.coefficients, functional, grid)
    along = float(-jnp.sum(pull * axis))
    assert along == pytest.approx(float(up.energy - down.energy) / (2 * step), abs=1e-6)
    assert abs(along) > 1e-3
    np.testing.assert_allclose(jnp.sum(pull, axis=0), 0.0, atol=1e-10)


@pytest.mark.slow
def test_a_minimisation_that_was_cut_short_says_so() -> None:
    basis = DensityBasis((2,))
    place = prepared(basis, np.zeros((1, 3)), GridOptions(45, 11))
    start = jnp.asarray(atomic_start(basis, 2, "sad"))
    found = minimize(place, Semilocal("vw", "lda"), start, 2.0, MinimizeOptions(steps=3))
    assert not found.converged and int(found.iterations) == 3 and found.gradient_norm > 3e-5


TABLE = {
    ("He", "tf"): -1.0653, ("He", "tf+vw"): 1.486, ("He", "tf+vw/5"): -0.0330, ("He", "tf+vw/9"): -0.3972,
    ("He", "apbe"): -0.4638, ("H2", "tf"): -0.6096, ("H2", "tf+vw"): 0.6905, ("H2", "tf+vw/5"): -0.0345,
    ("H2", "tf+vw/9"): -0.2208, ("H2", "apbe"): -0.2690,
}  # fmt: skip
"""Energy above Kohn-Sham's, Hartree, of an independent implementation in NumPy and PySCF to two or three digits."""


@pytest.mark.slow
@pytest.mark.parametrize(("molecule", "kinetic"), TABLE)
def test_classical_functionals_at_their_minima(golden: dict[str, np.ndarray], molecule: str, kinetic: str) -> None:
    assert minimum(golden, molecule, kinetic)[1] == pytest.approx(TABLE[molecule, kinetic], abs=2e-3)


@pytest.mark.slow
def test_helium_needs_no_learning(golden: dict[str, np.ndarray]) -> None:
    assert abs(minimum(golden, "He", "vw")[1]) * KCAL <= 2.0


@pytest.mark.slow
@pytest.mark.parametrize(("kinetic", "error"), [("tf+vw/9", -8.13), ("tf+vw", 26.1), ("tf+vw/5", -1.12), ("tf", -22.8)])
def test_water_at_classical_minima(golden: dict[str, np.ndarray], kinetic: str, error: float) -> None:
    both = [minimum(golden, "H2O", kinetic, start)[1] for start in ("sad", "minao")]
    assert both[0] == pytest.approx(error, abs=0.05)
    assert both[0] == pytest.approx(both[1], abs=1e-5)
