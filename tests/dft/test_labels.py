"""Labels by PySCF: their gradients against finite differences, the fits behind them, and the file they go to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import lru_cache
from typing import Any

import jax
import numpy as np
import pytest

from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.integrals import charges
from ergodica.dft.labels.conformer import (
    LabelOptions,
    Perturbation,
    label_conformer,
    label_densities,
    nuclear_gradient,
    perturbations,
)
from ergodica.dft.labels.orbital_energies import semilocal_energies
from ergodica.dft.labels.second_order import orbital_response, xc_curvature
from ergodica.dft.properties import dipole
from ergodica.system import System
from ergodica.units import BOHR, DEBYE

pytest.importorskip("pyscf")

from ergodica.dft.labels.conformer import _occupied
from ergodica.dft.labels.integrals import Integrals
from ergodica.dft.labels.reference import kohn_sham_solver

WATER = System(np.array([8, 1, 1]), np.array([[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]]))
HYDROGEN = System(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.1, 0.75]]))


@lru_cache
def solved(name: str) -> tuple[Any, DensityBasis]:
    system = {"water": WATER, "hydrogen": HYDROGEN}[name]
    solver = kohn_sham_solver(system, "pbe", 1)
    solver.kernel()
    return solver, DensityBasis.of(system.numbers)


@pytest.mark.parametrize(("strength", "mixing"), [(0.02, 0.0), (0.0, 0.3), (0.1, -0.3)])
def test_gradients_are_those_of_finite_differences(strength: float, mixing: float) -> None:
    """Central difference of the kinetic energy along the strength of a perturbation."""
    solver, basis = solved("water")
    random = strength * np.random.default_rng(1).normal(size=basis.size)
    steps = [Perturbation(s * mixing, s * random) for s in (0.99, 1.0, 1.01)]
    found = label_densities(solver, Integrals.of(solver.mol, basis), steps, keep="electrons")
    change = found.coefficients[2] - found.coefficients[0]
    assert found.kinetic_gradient[1] @ change == pytest.approx(found.kinetic[2] - found.kinetic[0], rel=1e-4)
    assert abs(charges(basis) @ change) < 1e-10
    assert found.xc_gradient[1] @ change == pytest.approx(found.xc[2] - found.xc[0], rel=1e-4)
    assert found.apbe_gradient[1] @ change == pytest.approx(found.apbe[2] - found.apbe[0], rel=1e-4)


@pytest.mark.parametrize(("strength", "mixing", "error"), [(0.02, 0.0, 1.5e-4), (0.05, 0.2, 4e-4), (0.0, 0.3, 5e-5)])
def test_gradients_hold_where_the_dipole_moment_is_kept(strength: float, mixing: float, error: float) -> None:
    """The same, by the root mean square error over five perturbations."""
    solver, basis = solved("water")
    integrals, changes = Integrals.of(solver.mol, basis), []
    for seed in range(1, 6):
        random = strength * np.random.default_rng(seed).normal(size=basis.size)
        found = label_densities(solver, integrals, [Perturbation(s * mixing, s * random) for s in (0.99, 1.0, 1.01)])
        move = found.coefficients[2] - found.coefficients[0]
        changes.append((found.kinetic_gradient[1] @ move, found.kinetic[2] - found.kinetic[0]))
    predicted, seen = np.array(changes).T
    assert np.linalg.norm(predicted - seen) < error * np.linalg.norm(seen)


def test_second_derivatives_are_those_of_weak_potentials() -> None:
    """Densities answer to gradients as X says, and gradients of exchange and correlation to densities."""
    solver, basis = solved("water")
    integrals, nothing = Integrals.of(solver.mol, basis), Perturbation(0.0, np.zeros(basis.size))
    weak = [Perturbation(0.0, 1e-3 * np.random.default_rng(seed).normal(size=basis.size)) for seed in range(3)]
    found = label_densities(solver, integrals, [nothing, *weak])
    response = orbital_response(solver, integrals.repulsion, integrals.system.coulomb)
    curvature = xc_curvature(solver, integrals.density, found.coefficients[0])
    values, vectors = np.linalg.eigh(integrals.system.overlap)
    root, inverse = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    for number in range(1, 4):
        moved, slope, xc_slope = (
            rows[number] - rows[0] for rows in (found.coefficients, found.kinetic_gradient, found.xc_gradient)
        )
        assert np.linalg.norm(root @ (response @ slope - moved)) < 0.015 * np.linalg.norm(root @ moved)
        assert np.linalg.norm(inverse @ (curvature @ moved - xc_slope)) < 2e-3 * np.linalg.norm(inverse @ xc_slope)


def test_gradients_hold_along_the_iterations() -> None:
    """Undamped self-consistency: the trapezoid of the gradients between two cycles is the change of the energy."""
    solver, basis = solved("hydrogen")
    integrals = Integrals.of(solver.mol, basis)
    matrix, kinetic, coefficients, gradients = solver.get_init_guess(key="minao"), [], [], []
    for _ in range(7):
        fitted = integrals.fit([matrix], "stacked", "electrons")
        xc = semilocal_energies(solver, integrals.density, fitted)[1][0]
        gradients.append(-(fitted[0] @ integrals.system.coulomb + xc + integrals.system.external))
        fock = solver.get_hcore() + solver.get_veff(dm=matrix)
        orbitals = _occupied(np.asarray(fock), integrals.orbital_moments[0], 2)
        matrix = 2 * orbitals @ orbitals.T
        coefficients.append(integrals.fit([matrix], "stacked", "electrons")[0])
        kinetic.append(np.sum(matrix * solver.mol.intor("int1e_kin")))
    for first in range(2, 5):
        along = 0.5 * (gradients[first] + gradients[first + 1]) @ (coefficients[first + 1] - coefficients[first])
        assert along == pytest.approx(kinetic[first + 1] - kinetic[first], rel=1e-3)


def test_the_ground_state_is_kohn_shams() -> None:
    """The kinetic energy absorbs the fit: E[p] is Kohn-Sham's energy, and the gradient of all terms vanishes."""
    solver, basis = solved("water")
    integrals = Integrals.of(solver.mol, basis)
    found = label_densities(solver, integrals, [Perturbation(0.0, np.zeros(basis.size))])
    p, system = found.coefficients[0], integrals.system
    total = found.kinetic[0] + found.xc[0] + 0.5 * p @ system.coulomb @ p + system.external @ p
    assert total + solver.mol.energy_nuc() == pytest.approx(solver.e_tot, abs=1e-8)
    gradient = found.kinetic_gradient[0] + found.xc_gradient[0] + system.coulomb @ p + system.external
    np.testing.assert_allclose(gradient, 0.0, atol=1e-4)  # what is left of self-consistency
    assert charges(basis) @ p == pytest.approx(10.0, abs=1e-10)
    with jax.enable_x64(True):
        moment = np.asarray(dipole(basis, solver.mol.atom_coords(), p)) * (BOHR / DEBYE)
    np.testing.assert_allclose(moment, solver.dip_moment(verbose=0), rtol=2e-5, atol=1e-6)
    assert abs(found.kinetic[0] - found.orbital_kinetic[0]) < 2e-3


def test_fits_of_water_have_the_known_errors() -> None:
    """Millihartrees; that pure Coulomb fits miss the external energy was found by an independent program, too."""
    solver, basis = solved("water")
    integrals, matrix = Integrals.of(solver.mol, basis), solver.make_rdm1()
    repulsion, attraction = 0.5 * np.sum(matrix * solver.get_j(dm=matrix)), np.sum(matrix * integrals.attraction)
    expected = {"stacked": (-0.039, 0.0), "coulomb": (-0.039, 9.73), "coulomb+external": (0.148, 0.0)}
    for method, (hartree, external) in expected.items():
        p = integrals.fit([matrix], method, None)[0]  # type: ignore[arg-type]
        assert 1e3 * (0.5 * p @ integrals.system.coulomb @ p - repulsion) == pytest.approx(hartree, abs=0.01)
        assert 1e3 * (integrals.system.external @ p - attraction) == pytest.approx(external, abs=0.05)
        assert charges(basis) @ p - 10 == pytest.approx(-7e-4, abs=1e-4)


def test_perturbations_depend_on_the_seed_alone() -> None:
    basis, options = DensityBasis((1, 1)), LabelOptions(count=4)
    first, again, other = (perturbations(basis, options, seed) for seed in (3, 3, 4))
    assert len(first) == 5 and not first[0].coefficients.any() and first[0].mixing == 0
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.coefficients, two.coefficients)
    assert (first[1].coefficients != other[1].coefficients).all()


def test_nuclear_gradients_with_fitted_coulomb_energies_are_the_exact_ones() -> None:
    solver, _ = solved("water")
    exact = solver.nuc_grad_method().set(grid_response=True).kernel()
    np.testing.assert_allclose(nuclear_gradient(solver), exact, atol=2e-5)


def test_conformers_carry_forces_and_dipole() -> None:
    found = label_conformer(HYDROGEN, LabelOptions(count=2, grid_level=0))
    assert found.densities.coefficients.shape == (3, 40)
    np.testing.assert_allclose(found.gradient.sum(axis=0), 0.0, atol=1e-9)
    assert np.linalg.norm(found.dipole) < 1e-4
    assert found.second is not None and found.second.response.shape == found.second.xc_curvature.shape == (40, 40)
    assert label_conformer(HYDROGEN, LabelOptions(count=0, grid_level=0, curvature=False)).second is None


SLEEPY = """
import os, signal, sys
from ergodica.dft.labels import many as labelling
from ergodica.dft.labels.conformer import LabelOptions
from ergodica.files import read_structures
count = 0
def stop():
    global count
    count += 1
    if count == 2:
        os.kill(os.getpid(), signal.SIGKILL)
labelling.label_conformers(read_structures(sys.argv[1]), sys.argv[2], LabelOptions(count=1, grid_level=0), report=stop)
"""


def test_a_killed_run_is_continued(tmp_path) -> None:
    from ergodica.dft.labels.file import read_labels
    from ergodica.dft.labels.many import label_conformers
    from ergodica.files import write_structures

    systems = [System(HYDROGEN.numbers, HYDROGEN.positions * scale) for scale in (0.95, 1.0, 1.05)]
    write_structures(tmp_path / "h2.npz", systems)
    command = [sys.executable, "-c", SLEEPY, str(tmp_path / "h2.npz"), str(tmp_path / "labels.h5")]
    assert subprocess.run(command, env=os.environ, check=False).returncode == -signal.SIGKILL
    assert len(read_labels(tmp_path / "labels.h5")) == 2
    options = LabelOptions(count=1, grid_level=0)
    done = label_conformers(systems, tmp_path / "labels.h5", options)
    assert (done.known, done.conformers, done.labels, done.errors) == (2, 1, 2, ())
    found = read_labels(tmp_path / "labels.h5")
    fresh = label_conformers(systems, tmp_path / "again.h5", options)
    assert fresh.conformers == 3
    for one, two in zip(found, read_labels(tmp_path / "again.h5"), strict=True):
        assert one.energy == pytest.approx(two.energy, abs=1e-9)
        np.testing.assert_allclose(one.densities.coefficients, two.densities.coefficients, atol=1e-6)
