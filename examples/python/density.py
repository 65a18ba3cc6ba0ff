"""Electrons without orbitals: the density of a water molecule, what follows from it, and its geometry by ASE.

python examples/python/density.py
"""

import numpy as np
from ase.build import molecule
from ase.optimize import BFGS

from ergodica import minimize_density
from ergodica.dft.calculator import OrbitalFreeCalculator
from ergodica.dft.cube import write_cube
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.run import DensityOptions, atomic_charges
from ergodica.units import BOHR


def main() -> dict[str, float]:
    """Energy (Hartree), dipole (Debye), charge of oxygen (e) and relaxed bond length (Å)."""
    water = molecule("H2O")
    (found,) = minimize_density(water, DensityOptions("ofdft-water"))
    assert found.converged
    basis = DensityBasis.of(found.system.numbers)
    write_cube("water.cube", basis, found.system.positions / BOHR, found.coefficients)
    charges = atomic_charges(found)
    water.calc = OrbitalFreeCalculator("ofdft-water")
    BFGS(water, logfile=None).run(fmax=0.01)
    return {
        "energy": found.energy,
        "dipole": float(np.linalg.norm(found.dipole)),
        "charge of O": float(charges[0]),
        "O-H": water.get_distance(0, 1),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:12} {value:9.4f}")
