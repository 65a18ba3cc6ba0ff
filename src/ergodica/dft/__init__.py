"""Orbital-free density functional theory: the density in an atom-centred basis, its energy, its minimum.

Everything in here is in Hartree and Bohr.
"""
