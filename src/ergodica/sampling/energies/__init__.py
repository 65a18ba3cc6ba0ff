"""Energies whose ensembles are wanted: analytic ones, force fields, a frozen surface."""
