"""Torsions of any molecule: one transferable model that corrects what physics says of each rotor."""
