"""Equilibrium ensembles.

Of molecules in torsion space: reading, the force field MMFF94, replica exchange. Of an atom upon a surface: densities.
By diffusion: targets, noise, solvers of the reverse process, likelihoods. Of all: weights.
"""

from ergodica.sampling.adsorption import AdatomOptions, Adsorption, adsorb
from ergodica.sampling.conformers import ConformerOptions, Ensemble, sample_conformers
from ergodica.sampling.likelihood import LogDensity, log_density
from ergodica.sampling.mmff94 import MMFF94, mmff94
from ergodica.sampling.molecules import Molecule, read_molecule
from ergodica.sampling.noise import Noise
from ergodica.sampling.reweighting import Reweighted, pareto_shape, reweight
from ergodica.sampling.solvers import SOLVERS, sample
from ergodica.sampling.spaces import Centred, Euclidean
from ergodica.sampling.torsions import RigidEnergy, Torsions, rigid_energy

__all__ = [
    "MMFF94",
    "SOLVERS",
    "AdatomOptions",
    "Adsorption",
    "Centred",
    "ConformerOptions",
    "Ensemble",
    "Euclidean",
    "LogDensity",
    "Molecule",
    "Noise",
    "Reweighted",
    "RigidEnergy",
    "Torsions",
    "adsorb",
    "log_density",
    "mmff94",
    "pareto_shape",
    "read_molecule",
    "reweight",
    "rigid_energy",
    "sample",
    "sample_conformers",
]
