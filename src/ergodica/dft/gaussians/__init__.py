"""Densities as sums of Gaussians on the atoms: the basis, its integrals, and values on grids."""
