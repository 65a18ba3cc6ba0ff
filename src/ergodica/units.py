"""Units and constants, once.

Ergodica speaks eV, Å, eV/Å, eV/Å³, amu, fs and K; Hartree and Bohr only inside `ergodica.dft`. To convert, multiply:
`pressure * EV_PER_A3_IN_GPA` is in GPa. Everything derives from CODATA 2014 (Mohr, Newell and Taylor, Rev. Mod. Phys.
88, 035009 (2016), doi:10.1103/RevModPhys.88.035009) by the formulas of `ase.units`, whose default that set is, so that
numbers agree with ASE to the last digits.
"""

from __future__ import annotations

from math import pi, sqrt

# CODATA 2014, SI units
_SPEED_OF_LIGHT = 299792458.0  # m/s, exact
_VACUUM_PERMEABILITY = 4.0e-7 * pi  # N/A², exact in that set
_PLANCK = 6.626070040e-34  # J s
_ELEMENTARY_CHARGE = 1.6021766208e-19  # C
_ELECTRON_MASS = 9.10938356e-31  # kg
_AVOGADRO = 6.022140857e23  # 1/mol
_BOLTZMANN = 1.38064852e-23  # J/K
_ATOMIC_MASS = 1.660539040e-27  # kg

_HBAR = _PLANCK / (2 * pi)
_VACUUM_PERMITTIVITY = 1 / (_VACUUM_PERMEABILITY * _SPEED_OF_LIGHT**2)
_COULOMB = _ELEMENTARY_CHARGE**2 / (4 * pi * _VACUUM_PERMITTIVITY)  # J m

KB = _BOLTZMANN / _ELEMENTARY_CHARGE
"""Boltzmann's constant, eV/K."""

HBAR = _HBAR / _ELEMENTARY_CHARGE * 1e15
"""Planck's constant over 2π, eV fs."""

BOHR = 1e10 * _HBAR**2 / (_COULOMB * _ELECTRON_MASS)
"""One Bohr, Å."""

HARTREE = _COULOMB / (_ELEMENTARY_CHARGE * 1e-10 * BOHR)
"""One Hartree, eV."""

KCAL_PER_MOL = 4184.0 / (_AVOGADRO * _ELEMENTARY_CHARGE)
"""One kcal/mol (thermochemical calorie), eV."""

KJ_PER_MOL = 1000.0 / (_AVOGADRO * _ELEMENTARY_CHARGE)
"""One kJ/mol, eV."""

EV_PER_A3_IN_GPA = _ELEMENTARY_CHARGE * 1e30 * 1e-9
"""One eV/Å³, GPa."""

GPA = 1 / EV_PER_A3_IN_GPA
"""One GPa, eV/Å³."""

FS = 1e-5 * sqrt(_ELEMENTARY_CHARGE / _ATOMIC_MASS)
"""One femtosecond in the time that belongs to eV, Å and amu (ASE's unit of time): Å·√(amu/eV)."""

THZ = 1e3 * FS / (2 * pi)
"""Frequency in THz of the angular frequency 1 √(eV/(Å²·amu)), for the square roots of a dynamical matrix."""

INVERSE_CM = 100 * _SPEED_OF_LIGHT * _PLANCK / _ELEMENTARY_CHARGE
"""Energy of the wave number 1 cm⁻¹, eV."""

DEBYE = 1e-21 / _SPEED_OF_LIGHT / _ELEMENTARY_CHARGE * 1e10
"""One Debye, e·Å."""

AMU_PER_A3_IN_G_PER_CM3 = _ATOMIC_MASS * 1e3 * 1e24
"""One amu/Å³, g/cm³."""
