"""Kohn-Sham solutions beside minimised densities."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms

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
