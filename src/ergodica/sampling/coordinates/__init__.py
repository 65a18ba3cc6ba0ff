"""Coordinates in which molecules are drawn: rotors and their energies, or all bond lengths, angles and torsions."""
