"""Equilibrium ensembles, with weights, densities and error bars.

From below: `energies` whose ensembles are wanted; `coordinates` to draw molecules in; `walks`, which need no learning;
`diffusion`, what all diffusion models share; `samplers`, a room for each kind that is trained. On top of them what is
asked for: `conformers`, `peptide_ensemble` and `adsorption`, and their `plots`.
"""

from ergodica.sampling.adsorption import AdatomOptions, Adsorption, adsorb
from ergodica.sampling.conformers import ConformerOptions, Ensemble, sample_conformers
from ergodica.sampling.coordinates.torsions import RigidEnergy, Torsions, rigid_energy
from ergodica.sampling.diffusion.likelihood import LogDensity, log_density
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.reweighting import Reweighted, pareto_shape, reweight
from ergodica.sampling.diffusion.solvers import SOLVERS, sample
from ergodica.sampling.energies.mmff94 import MMFF94, mmff94
from ergodica.sampling.molecules import Molecule, read_molecule
from ergodica.sampling.spaces import Centred, Euclidean

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
