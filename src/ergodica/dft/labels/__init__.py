"""What functionals are trained on: densities with energies and gradients, out of Kohn-Sham orbitals (PySCF)."""
