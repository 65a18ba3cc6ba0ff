"""Orbital-free density functional theory: the density in an atom-centred basis, its energy, its minimum.

From below: `gaussians`, the basis with its integrals; `molecule` and `functionals`, the energy of a density; `labels`,
from Kohn-Sham orbitals; `learned` functionals; `minimize` and `run`, which use them all. But for `run`, everything is
in Hartree and Bohr.
"""
