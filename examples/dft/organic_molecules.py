"""Geometries of all small organic molecules of a size, warm: what a functional that is to be general learns from.

    python examples/dft/organic_molecules.py --atoms 1 4 --each 10 -o organic-train.xyz
    python examples/dft/organic_molecules.py --atoms 6 6 --each 1 --molecules 10 --seed 6 -o organic6.xyz
    python examples/dft/organic_molecules.py --smiles NC=O CNC=O "NCC(=O)O" --each 20 -o amides.xyz

Molecules of C, N and O with so many of them and hydrogens are grown atom by atom and ring by ring, but for what is
seldom met (`LEFT_OUT`). Each geometry is one that RDKit embeds, moved as the harmonic ensemble of MMFF94 moves it. They
are mixed: whoever labels them in order, and stops, has some of all.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from ase import Atoms
from ase.io import write
from rdkit import Chem
from rdkit.Chem import rdForceFieldHelpers as fields
from rdkit.rdBase import BlockLogs

from ergodica.errors import ErgodicaError, InputError
from ergodica.sampling.molecules import Molecule, read_molecule
from ergodica.units import KB, KCAL_PER_MOL

ELEMENTS = ("C", "N", "O")
LEFT_OUT = {
    "bonds between N and O": "[#7,#8]~[#7,#8]",
    "carbon with three of N and O, but for acids": "[CX4]([#7,#8])([#7,#8])[#7,#8]",
    "triple bonds in rings": "[r]#[r]",
    "neighbouring double bonds in rings": "[r]=[r]=*",
    "double bonds in small rings": "[r3,r4]=*",
    "fused and spiro rings": "[R2]",
}
"""What is not made: by SMARTS."""
SOFTEST = 0.5
"""Curvature below which directions count as that stiff, eV/Å²: bonds turn by some 15 degrees at 300 K."""
SHARE_CLOSED, HIGHEST = 1 / 4, (1, 1, 2, 3)
"""Of random growth: how many of its steps also close a ring, and up to which order the next bond may be."""
STEP, RIGID = 1e-3, 1e-3
"""Of finite differences, Å, and curvature of moving and turning as a whole, eV/Å²."""


def read(smiles: str) -> Chem.Mol:
    """A molecule without aromatic bonds, so that others can be added."""
    graph = Chem.MolFromSmiles(smiles)
    Chem.Kekulize(graph, clearAromaticFlags=True)
    return graph


def grown(smiles: str, highest: int = 3) -> Iterator[str]:
    """All molecules with one heavy atom more, by bonds of up to an order."""
    graph = read(smiles)
    for atom in graph.GetAtoms():
        for order in range(1, min(highest, atom.GetTotalNumHs()) + 1):
            for element, valence in zip(ELEMENTS, (4, 3, 2), strict=True):
                if order <= valence:
                    larger = Chem.RWMol(graph)
                    place = larger.AddAtom(Chem.Atom(element))
                    larger.AddBond(atom.GetIdx(), place, Chem.BondType.values[order])
                    yield canonical(larger)


def closed(smiles: str) -> Iterator[str]:
    """All molecules with a ring more."""
    graph = read(smiles)
    free = [atom.GetIdx() for atom in graph.GetAtoms() if atom.GetTotalNumHs()]
    for place, one in enumerate(free):
        for other in free[place + 1 :]:
            if graph.GetBondBetweenAtoms(one, other) is None:
                ring = Chem.RWMol(graph)
                ring.AddBond(one, other, Chem.BondType.SINGLE)
                yield canonical(ring)


def canonical(graph: Chem.RWMol) -> str:
    """SMILES with as many hydrogens as valences are left."""
    for atom in graph.GetAtoms():
        atom.SetNumExplicitHs(0)
    Chem.SanitizeMol(graph)
    return str(Chem.MolToSmiles(graph))


def wanted(smiles: str) -> bool:
    """Whether nothing in it is left out."""
    graph = read(smiles)
    return not any(graph.HasSubstructMatch(Chem.MolFromSmarts(pattern)) for pattern in LEFT_OUT.values())


def molecules(least: int, most: int) -> list[str]:
    """All of these sizes, by SMILES."""
    known = [set(ELEMENTS)]
    while len(known) < most:
        larger = {new for old in known[-1] for new in grown(old)}
        known.append(larger | {new for old in larger for new in closed(old)})
    return [one for one in sorted(set().union(*known[least - 1 :])) if wanted(one)]


def drawn(least: int, most: int, count: int, random: np.random.Generator) -> list[str]:
    """So many of these sizes, grown atom by atom at random, every fourth time with a ring."""
    found: set[str] = set()
    while len(found) < count:
        one, size = str(random.choice(ELEMENTS)), int(random.integers(least, most + 1))
        for _ in range(size - 1):
            larger = sorted(set(grown(one, int(random.choice(HIGHEST)))))
            if random.random() < SHARE_CLOSED:
                larger = sorted({new for old in larger for new in closed(old)}) or larger
            larger = [new for new in larger if wanted(new)]
            if not larger:
                break
            one = str(random.choice(larger))
        else:
            found.add(one)
    return sorted(found)


def warmed(molecule: Molecule, temperature: float, random: np.random.Generator) -> Atoms:
    """A geometry out of the harmonic ensemble of MMFF94."""
    properties = fields.MMFFGetMoleculeProperties(molecule.graph)
    if properties is None:
        raise InputError(f"MMFF94 does not know {molecule.name}.")
    field, places = fields.MMFFGetMoleculeForceField(molecule.graph, properties), molecule.positions.ravel()

    def energy(x: np.ndarray) -> float:
        return KCAL_PER_MOL * float(field.CalcEnergy(x.tolist()))

    steps = STEP * np.eye(len(places))
    matrix = np.empty((len(places), len(places)))
    for i, one in enumerate(steps):  # by energies: RDKit's gradients are scaled down where they are large
        for j, two in enumerate(steps[: i + 1]):
            along, across = one + two, one - two
            bent = energy(places + along) + energy(places - along) - energy(places + across) - energy(places - across)
            matrix[i, j] = matrix[j, i] = bent / (4 * STEP**2)
    values, vectors = np.linalg.eigh(matrix)
    size = np.sqrt(KB * temperature / np.maximum(values, SOFTEST))
    rigid = np.abs(values) < RIGID
    move = vectors @ (np.where(rigid, 0.0, size) * random.standard_normal(len(values)))
    return Atoms(molecule.numbers, molecule.positions + move.reshape(-1, 3), info={"smiles": molecule.smiles})


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--atoms", type=int, nargs=2, default=(1, 4), help="least and most C, N and O")
    parser.add_argument("--smiles", nargs="+", help="these molecules instead of all of a size")
    parser.add_argument("--each", type=int, default=10, help="geometries of a molecule")
    parser.add_argument("--molecules", type=int, help="so many of them, at random")
    parser.add_argument("--temperature", type=float, default=500.0, help="K")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", required=True)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    if options.smiles:
        names = options.smiles
    elif options.molecules is not None:
        names = drawn(*options.atoms, options.molecules, random)
    else:
        names = molecules(*options.atoms)
    found = []
    with BlockLogs():
        for number in range(options.each):
            for name in random.permutation(names).tolist():
                try:
                    molecule = read_molecule(name, seed=options.seed + 1000 * number)
                    found.append(warmed(molecule, options.temperature, random))
                except ErgodicaError:
                    print(f"{name} is left out")
    write(options.output, found, format="extxyz")
    print(f"{len(found)} geometries of {len({atoms.info['smiles'] for atoms in found})} molecules")


if __name__ == "__main__":
    main()
