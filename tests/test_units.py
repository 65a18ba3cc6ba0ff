"""The constants agree with ASE's."""

from __future__ import annotations

import ase.units
import pytest

from ergodica import units


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (units.KB, ase.units.kB),
        (units.BOHR, ase.units.Bohr),
        (units.HARTREE, ase.units.Hartree),
        (units.KCAL_PER_MOL, ase.units.kcal / ase.units.mol),
        (units.KJ_PER_MOL, ase.units.kJ / ase.units.mol),
        (units.EV_PER_A3_IN_GPA, 1 / ase.units.GPa),
        (units.GPA, ase.units.GPa),
        (units.FS, ase.units.fs),
        (units.INVERSE_CM, ase.units.invcm),
        (units.DEBYE, ase.units.Debye),
    ],
)
def test_equal_to_ase(ours, theirs):
    assert ours == pytest.approx(theirs, rel=1e-14, abs=0)


def test_known_values():
    assert units.EV_PER_A3_IN_GPA == pytest.approx(160.21766208, rel=1e-12)
    assert units.THZ == pytest.approx(15.633302, rel=1e-6)  # phonopy's VaspToTHz
    water = 18.0153 / 29.915  # amu/Å³ of liquid water at ambient conditions
    assert water * units.AMU_PER_A3_IN_G_PER_CM3 == pytest.approx(1.0, abs=1e-3)


def test_phonon_frequency_is_that_of_the_oscillator():
    """A mass m on a spring k oscillates at √(k/m)/2π, here through the energy quantum in ASE's own units."""
    spring, mass = 35.0, 0.5  # eV/Å², amu; about a hydrogen molecule
    quantum = ase.units._hbar * ase.units.J * ase.units.s * (spring / mass) ** 0.5  # eV
    in_terahertz = quantum / (ase.units._hplanck * ase.units.J * ase.units.s) * ase.units.s * 1e-12
    assert (spring / mass) ** 0.5 * units.THZ == pytest.approx(in_terahertz, rel=1e-12)
