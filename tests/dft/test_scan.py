"""Dihedral scans and the ASE calculator."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from ergodica.dft import scan
from ergodica.dft.calculator import OrbitalFreeCalculator
from ergodica.dft.scan import plot_scan, turned
from ergodica.errors import InputError, WorkFailed
from ergodica.pictures import write_picture
from ergodica.system import System
from ergodica.units import HARTREE, KCAL_PER_MOL


def test_one_side_turns() -> None:
    """Ethanol's hydroxyl hydrogen goes around; nothing else moves and no bond changes its length."""
    ethanol = System.from_ase(molecule("CH3CH2OH"))
    angles, found = turned(ethanol, (0, 1, 2, 3), 5)
    assert angles == [0, 90, 180, 270, 360]
    moved = [np.flatnonzero(np.abs(one.positions - ethanol.positions).max(axis=1) > 1e-9) for one in found]
    assert all(set(atoms) <= {3} for atoms in moved)
    for angle, one in zip(angles, found, strict=True):
        assert (one.to_ase().get_dihedral(0, 1, 2, 3) - angle + 180) % 360 == pytest.approx(180, abs=1e-6)
    np.testing.assert_allclose(found[0].positions, found[-1].positions, atol=1e-9)


def test_what_can_not_be_turned_is_told() -> None:
    with pytest.raises(InputError, match="four different atoms"):
        turned(System.from_ase(molecule("H2O2")), (0, 0, 1, 2), 3)
    benzene = System.from_ase(molecule("C6H6"))
    with pytest.raises(InputError, match="part of a ring"):
        turned(benzene, (0, 1, 2, 3), 3)
    peroxide = System.from_ase(molecule("H2O2"))  # O O H H
    with pytest.raises(InputError, match="Atom 2 must hang on atom 1"):
        turned(peroxide, (3, 0, 1, 2), 3)
    with pytest.raises(InputError, match="2 and 3 are not bonded"):
        turned(peroxide, (0, 2, 3, 1), 3)
    with pytest.raises(InputError, match="scan of 0 angles"):
        turned(peroxide, (2, 0, 1, 3), 0)
    acetylene = System.from_ase(molecule("C2H2"))
    with pytest.raises(InputError, match="on a line"):
        turned(acetylene, (3, 0, 1, 2), 3)


def test_a_scan_is_drawn_and_what_did_not_converge_is_no_part_of_the_line(tmp_path, monkeypatch) -> None:
    known = {"reference_Ha": -1.0, "reference_converged": True, "extrapolated": True}
    records = [{"angle_degrees": 90.0 * k, "energy_Ha": -1.0 + 0.01 * k, "converged": k > 0, **known} for k in range(3)]
    drawn = []
    monkeypatch.setattr(scan, "write_picture", lambda path, figure: drawn.append(figure) or write_picture(path, figure))
    plot_scan(tmp_path / "scan.png", records)
    assert (tmp_path / "scan.png").read_bytes().startswith(b"\x89PNG")
    (axes,) = drawn[0].axes
    kohn_sham, _, good, lost = axes.lines
    step = 0.01 * HARTREE / KCAL_PER_MOL
    np.testing.assert_allclose(good.get_ydata(), [np.nan, 0.0, step], atol=1e-9)
    np.testing.assert_allclose(lost.get_ydata(), [-step], atol=1e-9)  # below zero: not what the others are measured by
    assert len(kohn_sham.get_ydata()) == 3 and "extrapolated" in axes.get_title()


@pytest.mark.slow
def test_the_calculator_gives_what_the_minimiser_gives() -> None:
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 0.8]])
    atoms.calc = OrbitalFreeCalculator("vw", xc="lda")
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    assert atoms.calc.check_state(atoms) == []
    atoms.info["charge"] = 2
    assert atoms.calc.check_state(atoms) == ["initial_charges"]
    del atoms.info["charge"]
    assert -32 < energy < -29 and forces[1, 2] < 0 and np.abs(forces.sum(axis=0)).max() < 1e-6
    assert np.abs(atoms.get_dipole_moment()).max() < 1e-3
    from ergodica.dft.minimize import MinimizeOptions

    atoms.calc = OrbitalFreeCalculator("vw", xc="lda", minimize=MinimizeOptions(steps=2))
    with pytest.raises(WorkFailed, match="did not converge in 2 steps"):
        atoms.get_potential_energy()
