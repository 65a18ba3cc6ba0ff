"""Chains of glycine for `density_scaling.py`: neutral, stretched out, relaxed with MMFF94; 30 electrons a residue.

    python benchmarks/glycine_chains.py 1 3 5 9 17 -o .

writes `glycine1.xyz` to `glycine17.xyz`, of 40 to 520 electrons.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ase import Atoms
from ase.io import write
from rdkit import Chem
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolTransforms

PHI, PSI, OMEGA = -150.0, 155.0, 180.0
"""Degrees, of a strand."""


def glycine_chain(residues: int) -> Atoms:
    """NH2-CH2-CO-(NH-CH2-CO)n-OH."""
    molecule = Chem.AddHs(Chem.MolFromSmiles("NCC(=O)" * residues + "O"))
    rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
    conformer = molecule.GetConformer()
    for residue in range(residues):
        nitrogen, alpha, carbon = (4 * residue + place for place in range(3))
        following = carbon + 2  # the next nitrogen, or the hydroxyl oxygen
        rdMolTransforms.SetDihedralDeg(conformer, nitrogen, alpha, carbon, following, PSI)
        if residue:
            before = nitrogen - 2
            rdMolTransforms.SetDihedralDeg(conformer, before, nitrogen, alpha, carbon, PHI)
            rdMolTransforms.SetDihedralDeg(conformer, before - 1, before, nitrogen, alpha, OMEGA)
    rdForceFieldHelpers.MMFFOptimizeMolecule(molecule, maxIters=5000)
    return Atoms([atom.GetSymbol() for atom in molecule.GetAtoms()], conformer.GetPositions())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("residues", type=int, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path(), help="folder")
    options = parser.parse_args()
    for residues in options.residues:
        write(options.output / f"glycine{residues}.xyz", glycine_chain(residues))


if __name__ == "__main__":
    main()
