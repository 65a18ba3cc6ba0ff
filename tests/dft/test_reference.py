"""Kohn-Sham solutions beside minimised densities."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from ergodica.dft.run import DensityOptions, minimize_density

pytest.importorskip("pyscf")


def test_densities_are_compared_where_orbitals_have_theirs() -> None:
    from ergodica.dft.labels.reference import kohn_sham

    helium = Atoms("He")
    solved = kohn_sham(helium)
    assert np.sum(solved.weights * solved.density) == pytest.approx(2.0, abs=1e-4)
    exact, thomas_fermi = (
        solved.density_error(minimize_density(helium, DensityOptions(name))[0].coefficients) for name in ("vw", "tf")
    )
    assert exact < 0.05  # of two electrons: what the two bases differ by
    assert thomas_fermi > 0.2


def test_large_molecules_have_the_energy_of_small_ones(monkeypatch) -> None:
    """Four-centre integrals once, and fitted changes: to 1e-6 Hartree what integrals in every cycle give."""
    from ergodica.dft.labels import reference

    water = molecule("H2O")
    exact = reference.kohn_sham(water)
    monkeypatch.setattr(reference, "KEPT", 0)
    found = reference.kohn_sham(water)
    assert found.converged and abs(found.energy - exact.energy) < 1e-6
    np.testing.assert_allclose(found.dipole, exact.dipole, atol=1e-4)
    np.testing.assert_allclose(found.system.labels.forces, exact.system.labels.forces, atol=2e-3)
