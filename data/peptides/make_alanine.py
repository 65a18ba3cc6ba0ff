"""Alanine dipeptide for tests, reference ensembles and samplers: structure, two force fields, golden numbers.

    pip install openmm rdkit && python data/peptides/make_alanine.py data/peptides tests/reference/amber_golden.npz

ACE-ALA-NME in vacuum with ff14SB and in OBC II water with amber99sb-ildn, without constraints. The golden numbers are
energies (kJ/mol) by kind and forces (kJ/mol/nm) of OpenMM's reference platform on distorted geometries.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit
from rdkit import Chem
from rdkit.Chem import AllChem

SMILES = "CC(=O)N[C@@H](C)C(=O)NC"
RESIDUES = (("ACE", ("CH3", "C", "O")), ("ALA", ("N", "CA", "CB", "C", "O")), ("NME", ("N", "C")))
FIELDS = {
    "vacuum": ("amber14/protein.ff14SB.xml",),
    "water": ("amber99sbildn.xml", "amber99_obc.xml"),
}
NM = 0.1


def molecule() -> tuple[app.Topology, np.ndarray]:
    """Topology and positions, Å; atoms residue by residue, as OpenMM wants them."""
    graph = Chem.AddHs(Chem.MolFromSmiles(SMILES))
    AllChem.EmbedMolecule(graph, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(graph)
    topology, places, order = app.Topology(), graph.GetConformer().GetPositions(), []
    chain, heavy, made = topology.addChain(), iter(range(graph.GetNumAtoms())), {}
    for residue, names in RESIDUES:
        where = topology.addResidue(residue, chain)
        for name in names:
            atom = graph.GetAtomWithIdx(next(heavy))
            made[atom.GetIdx()] = topology.addAtom(name, app.Element.getBySymbol(atom.GetSymbol()), where)
            order.append(atom.GetIdx())
            hydrogens = [other.GetIdx() for other in atom.GetNeighbors() if other.GetAtomicNum() == 1]
            for number, other in enumerate(hydrogens):
                label = f"H{name.removeprefix('C')}{number + 1 if len(hydrogens) > 1 else ''}"
                made[other] = topology.addAtom(label, app.element.hydrogen, where)
                order.append(other)
    for bond in graph.GetBonds():
        topology.addBond(made[bond.GetBeginAtomIdx()], made[bond.GetEndAtomIdx()])
    return topology, places[order]


def golden(system: openmm.System, places: np.ndarray) -> dict[str, np.ndarray]:
    """Energies by force and all forces on distorted geometries."""
    for group, force in enumerate(system.getForces()):
        force.setForceGroup(group)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    rows: dict[str, list] = {force.getName(): [] for force in system.getForces()} | {"forces": []}
    for one in places:
        context.setPositions(one * NM)
        for group, force in enumerate(system.getForces()):
            energy = context.getState(getEnergy=True, groups={group}).getPotentialEnergy()
            rows[force.getName()].append(energy.value_in_unit(unit.kilojoule_per_mole))
        forces = context.getState(getForces=True).getForces(asNumpy=True)
        rows["forces"].append(forces.value_in_unit(unit.kilojoule_per_mole / unit.nanometer))
    return {name: np.array(values) for name, values in rows.items()}


def main() -> None:
    """Write all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("golden", type=Path)
    given = parser.parse_args()
    topology, relaxed = molecule()
    rng = np.random.default_rng(0)
    places = np.round(relaxed + rng.normal(size=(12, *relaxed.shape)) * np.geomspace(0.01, 0.25, 12)[:, None, None], 6)
    with (given.folder / "alanine.pdb").open("w") as file:
        app.PDBFile.writeFile(topology, relaxed * unit.angstrom, file)
    found = {"positions": places}
    for name, fields in FIELDS.items():
        options = {"nonbondedMethod": app.NoCutoff, "constraints": None, "removeCMMotion": False}
        system = app.ForceField(*fields).createSystem(topology, **options)
        (given.folder / f"alanine-{name}.xml").write_text(openmm.XmlSerializer.serialize(system))
        found |= {f"{name}/{key}": value for key, value in golden(system, places).items()}
    np.savez_compressed(given.golden, **found)


if __name__ == "__main__":
    main()
