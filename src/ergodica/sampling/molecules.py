"""Molecules as chemists write them: from a SMILES or a file to atoms, bonds, stereochemistry and rotors (by RDKit)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ergodica._extras import require
from ergodica.errors import InputError, WorkFailed

__all__ = ["Molecule", "Rotor", "read_molecule", "sdf_bytes"]

LARGEST_RING = 8
"""Atoms of a ring that counts as rigid."""
QUICK_ATTEMPTS = 20
"""At embedding, after which a stereoisomer counts as one that can't exist."""
FLAT = 0.3
"""Volume that three unit bonds span below which they lie in a plane; 0.6 to 0.8 for amines and phosphines."""
EMBEDDINGS = 8
"""Geometries of which the lowest in energy gives lengths, angles and rings."""


@dataclass(frozen=True)
class Rotor:
    """A bond, or a straight row of them, that the molecule turns about.

    Attributes:
        atoms: of the dihedral angle that says how far; the inner two lie on the axis.
        moved: atoms beyond the axis, which turn.
        symmetry: by how many of a full turn's parts the bonds tell the molecule nothing new, 3 for a methyl group.
    """

    atoms: tuple[int, int, int, int]
    moved: tuple[int, ...]
    symmetry: int = 1


@dataclass(frozen=True)
class Molecule:
    """A molecule with one geometry.

    Attributes:
        name: SMILES or title of the file.
        graph: RDKit's molecule with all hydrogens and one conformer.
        notes: what had to be assumed, in sentences.
    """

    name: str
    graph: Any = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()

    @cached_property
    def numbers(self) -> Int[np.ndarray, " N"]:
        """Atomic numbers."""
        return np.array([atom.GetAtomicNum() for atom in self.graph.GetAtoms()])

    @cached_property
    def positions(self) -> Float[np.ndarray, "N 3"]:
        """Of the reference geometry, Å."""
        return np.array(self.graph.GetConformer().GetPositions())

    @cached_property
    def smiles(self) -> str:
        """Canonical isomeric SMILES without hydrogens."""
        from rdkit import Chem

        return str(Chem.MolToSmiles(Chem.RemoveHs(self.graph)))

    @cached_property
    def rotors(self) -> tuple[Rotor, ...]:
        """All single bonds outside rings with something on either side to turn, methyl groups included."""
        return tuple(_rotors(self.graph))

    @cached_property
    def handedness(self) -> Int[np.ndarray, " C"]:
        """Sign of the volume at each centre of `centres` in the reference geometry."""
        return np.sign(_volumes(self.positions[None], self.centres))[0].astype(int)

    @cached_property
    def centres(self) -> Int[np.ndarray, "C 4"]:
        """Stereocentres: three neighbours and the atom itself."""
        from rdkit import Chem

        found = [atom for atom in self.graph.GetAtoms() if atom.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED]
        rows = [[*(other.GetIdx() for other in atom.GetNeighbors()[:3]), atom.GetIdx()] for atom in found]
        return np.array(rows, int).reshape(-1, 4)

    def moved(self, positions: Float[np.ndarray, "N 3"]) -> Molecule:
        """The same with another reference geometry (Å); atoms beyond those of the molecule are left out."""
        from rdkit import Chem

        graph = Chem.Mol(self.graph)
        graph.GetConformer().SetPositions(np.array(positions[: len(self.numbers)], float))
        return Molecule(self.name, graph, self.notes)

    def stereo_kept(self, positions: Float[np.ndarray, "B N 3"]) -> Bool[np.ndarray, " B"]:
        """Which geometries have every stereocentre and double bond as the reference has it."""
        hands = np.sign(_volumes(positions, self.centres)) == self.handedness
        ends = _double_bonds(self.graph)
        sides = _cosines(positions, ends) * _cosines(self.positions[None], ends) > 0
        return np.all(hands, axis=1) & np.all(sides, axis=1)


def read_molecule(text: str | Path, *, seed: int = 0) -> Molecule:
    """A molecule with a geometry, by ETKDG and MMFF94 where the file has none.

    Args:
        text: SMILES, or the path of an SDF or MOL file, of which the first molecule counts.
        seed: of the embedding.

    Raises:
        InputError: it can't be read, has several fragments, unpaired electrons or a macrocycle, or needs rdkit.
        WorkFailed: no geometry was found.
    """
    require("rdkit", "sampling")
    graph, name = _from_file(Path(text)) if Path(text).suffix.lower() in (".sdf", ".mol") else _from_smiles(str(text))
    _check(graph, name)
    from rdkit import Chem

    graph, notes = _stereo_chosen(graph, name)
    has_geometry = graph.GetNumConformers() > 0 and graph.GetConformer().Is3D()
    if has_geometry:
        return Molecule(name, Chem.AddHs(graph, addCoords=True), notes)
    return Molecule(name, _embedded(Chem.AddHs(graph, addCoords=False), name, seed), notes)


def sdf_bytes(molecule: Molecule, positions: Float[np.ndarray, "B N 3"], **values: Iterable[float]) -> bytes:
    """Conformers as an SDF file.

    Args:
        molecule: whose bonds are written.
        positions: of the conformers, Å.
        values: of each conformer, by the name of the field.
    """
    from rdkit import Chem

    columns = {name: list(column) for name, column in values.items()}
    graph = Chem.Mol(molecule.graph)
    graph.SetProp("_Name", molecule.name)
    text = StringIO()
    with Chem.SDWriter(text) as writer:
        for number, geometry in enumerate(np.asarray(positions, float)):
            graph.GetConformer().SetPositions(geometry)
            for name, column in columns.items():
                graph.SetProp(name, f"{column[number]:.8g}")
            writer.write(graph)
    return text.getvalue().encode()


def _from_smiles(text: str) -> tuple[Any, str]:
    from rdkit import Chem
    from rdkit.rdBase import BlockLogs

    if not text.strip():
        raise InputError("An empty SMILES is no molecule: give one such as 'CCO', or the path of an SDF file.")
    with BlockLogs():
        graph: Any = Chem.MolFromSmiles(text)
        problems = Chem.DetectChemistryProblems(Chem.MolFromSmiles(text, sanitize=False) or Chem.Mol())
    if graph is None:
        why = f" ({problems[0].Message()})" if problems else ""
        raise InputError(f"'{text}' is neither a SMILES that makes sense{why} nor an SDF file that exists.")
    return graph, text


def _from_file(path: Path) -> tuple[Any, str]:
    from rdkit import Chem
    from rdkit.rdBase import BlockLogs

    if not path.exists():
        raise InputError(f"There is no file '{path}'.")
    with BlockLogs():
        graph = next(iter(Chem.SDMolSupplier(str(path), removeHs=False)), None) if path.stat().st_size else None
    if graph is None:
        raise InputError(f"'{path}' holds no molecule that RDKit can read: is it a complete SDF file?")
    if graph.GetNumConformers() and graph.GetConformer().Is3D():
        Chem.AssignStereochemistryFrom3D(graph)
    return graph, (graph.GetProp("_Name") if graph.HasProp("_Name") else "") or path.stem


def _check(graph: Any, name: str) -> None:
    """Raise for what torsions can't describe."""
    from rdkit.Chem import GetMolFrags

    if graph.GetNumAtoms() == 0:
        raise InputError(f"{name}: there are no atoms.")
    if len(GetMolFrags(graph)) > 1:
        raise InputError(f"{name} has {len(GetMolFrags(graph))} fragments: give one molecule, without its counter-ion.")
    if any(atom.GetNumRadicalElectrons() for atom in graph.GetAtoms()):
        raise InputError(f"{name} has unpaired electrons, for which force fields have no parameters.")
    rings = graph.GetRingInfo().AtomRings()
    if any(len(ring) > LARGEST_RING for ring in rings):
        size = max(map(len, rings))
        raise InputError(
            f"{name} has a ring of {size} atoms, which is not rigid: torsions describe rings of up to "
            f"{LARGEST_RING} only; run molecular dynamics (ergodica md)."
        )


def _stereo_chosen(graph: Any, name: str) -> tuple[Any, tuple[str, ...]]:
    """The molecule with every stereocentre and double bond settled, and a sentence for those that were not."""
    from rdkit import Chem
    from rdkit.Chem.EnumerateStereoisomers import EnumerateStereoisomers, StereoEnumerationOptions

    Chem.AssignStereochemistry(graph, cleanIt=True, force=True)
    missing = [one for one in Chem.FindPotentialStereo(graph) if one.specified == Chem.StereoSpecified.Unspecified]
    if not missing or (graph.GetNumConformers() and graph.GetConformer().Is3D()):
        return graph, ()  # what a geometry leaves open turns over easily
    if graph.GetNumConformers():
        graph = Chem.Mol(graph)
    options = StereoEnumerationOptions(unique=True, onlyUnassigned=True, maxIsomers=32)
    isomers = sorted(EnumerateStereoisomers(graph, options=options), key=Chem.MolToSmiles)
    if not graph.GetNumConformers():  # not all that can be written can be built: bridges across a ring
        isomers = [one for one in isomers if _exists(one)] or isomers
    if not isomers:
        raise InputError(f"{name}: no stereoisomer of it exists.")
    if len(isomers) == 1:
        return isomers[0], ()
    shown = [Chem.MolToSmiles(one) for one in isomers]
    others = ", ".join(shown[1:4]) + (" or others" if len(shown) > 4 else "")
    return isomers[0], (f"The stereochemistry of {name} is not fully given: this is {shown[0]}, not {others}.",)


def _exists(isomer: Any) -> bool:
    """Whether a geometry is quickly found."""
    from rdkit import Chem
    from rdkit.Chem import rdDistGeom
    from rdkit.rdBase import BlockLogs

    options: Any = rdDistGeom.ETKDGv3()
    options.randomSeed, options.maxIterations, options.useRandomCoords = 1, QUICK_ATTEMPTS, True
    with BlockLogs():
        return rdDistGeom.EmbedMolecule(Chem.AddHs(isomer), options) >= 0


def _embedded(graph: Any, name: str, seed: int) -> Any:
    """With the geometry of lowest MMFF94 energy of a few that ETKDG makes."""
    from rdkit.Chem import Conformer, rdDistGeom
    from rdkit.Chem import rdForceFieldHelpers as fields
    from rdkit.rdBase import BlockLogs

    options: Any = rdDistGeom.ETKDGv3()
    options.randomSeed = (seed + 1) % (2**31 - 1)  # RDKit's is a signed number of 32 bits, negative ones are no seed
    with BlockLogs():
        found = list(rdDistGeom.EmbedMultipleConfs(graph, EMBEDDINGS, options))
        if not found:
            options.useRandomCoords = True
            found = list(rdDistGeom.EmbedMultipleConfs(graph, EMBEDDINGS, options))
        if not found:
            raise WorkFailed(f"No geometry of {name} was found: give one in an SDF file.")
        if fields.MMFFHasAllMoleculeParams(graph):
            results = fields.MMFFOptimizeMoleculeConfs(graph, maxIters=2000)
            best = found[int(np.argmin([energy for _, energy in results]))]
        else:
            best = found[0]
    kept = graph.GetConformer(best).GetPositions()
    graph.RemoveAllConformers()
    conformer = Conformer(len(kept))
    conformer.SetPositions(np.array(kept))
    graph.AddConformer(conformer, assignId=True)
    return graph


def _rotors(graph: Any) -> Iterable[Rotor]:
    """One for each pair of ends of an axis."""
    seen: set[frozenset[int]] = set()
    for bond in graph.GetBonds():
        if bond.GetBondTypeAsDouble() != 1 or bond.IsInRing():
            continue
        left, right = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        one, other = _end(graph, right, left), _end(graph, left, right)
        if one is None or other is None or {one, other} in seen:
            continue
        seen.add(frozenset((one, other)))
        yield _rotor(graph, one, other)


def _end(graph: Any, behind: int, atom: int) -> int | None:
    """Where the straight row of atoms that begins with these two has a side group, if anywhere."""
    while True:
        ahead = [other for other in _around(graph, atom) if other != behind]
        if not ahead:
            return None
        if not _straight(graph, atom):
            return atom
        behind, atom = atom, ahead[0]


def _around(graph: Any, atom: int) -> list[int]:
    return [other.GetIdx() for other in graph.GetAtomWithIdx(atom).GetNeighbors()]


def _straight(graph: Any, atom: int) -> bool:
    from rdkit.Chem import HybridizationType

    found = graph.GetAtomWithIdx(atom)
    return found.GetDegree() == 2 and found.GetHybridization() == HybridizationType.SP


def _rotor(graph: Any, left: int, right: int) -> Rotor:
    """With the smaller side moved, and heavy atoms for its angle where there are any."""
    from rdkit.Chem import CanonicalRankAtoms, GetShortestPath

    ranks = list(CanonicalRankAtoms(_mesomeric(graph), breakTies=False))
    row = set(GetShortestPath(graph, left, right))

    def side(start: int) -> set[int]:
        reached, waiting = {start}, [start]
        while waiting:
            new = [other for other in _around(graph, waiting.pop()) if other not in reached and other not in row]
            reached.update(new)
            waiting.extend(new)
        return reached - {start}

    def mark(atom: int) -> int:
        return min(
            (other for other in _around(graph, atom) if other not in row),
            key=lambda other: (-graph.GetAtomWithIdx(other).GetAtomicNum(), other),
        )

    def fold(atom: int) -> int:
        found = [ranks[other] for other in _around(graph, atom) if other not in row]
        if len(set(found)) > 1 or graph.GetAtomWithIdx(atom).GetDegree() != len(found) + 1:
            return 1
        # two alike upon a pyramid, as in amines, are half a turn from nothing
        return 1 if len(found) == 2 and not _is_flat(graph, atom) else len(found)

    if len(side(left)) < len(side(right)):
        left, right = right, left
    atoms, moved = (mark(left), left, right, mark(right)), tuple(sorted(side(right)))
    return Rotor(atoms, moved, max(fold(left), fold(right)))


def _mesomeric(graph: Any) -> Any:
    """A copy in which the ends of nitro, carboxylate, sulfonate and phosphate groups look as alike as they are."""
    from rdkit.Chem import BondType, RWMol

    copy = RWMol(graph)
    for centre in copy.GetAtoms():
        ends = [one for one in centre.GetNeighbors() if one.GetDegree() == 1 and one.GetAtomicNum() in (8, 16)]
        if len(ends) > 1:
            centre.SetFormalCharge(0)
            for end in ends:
                end.SetFormalCharge(0)
                copy.GetBondBetweenAtoms(centre.GetIdx(), end.GetIdx()).SetBondType(BondType.ONEANDAHALF)
    return copy


def _is_flat(graph: Any, atom: int) -> bool:
    """Whether an atom with three neighbours lies in their plane: within about 20 degrees."""
    places = graph.GetConformer().GetPositions()
    one, two, three = (places[other] - places[atom] for other in _around(graph, atom))
    volume = np.dot(one, np.cross(two, three))
    return bool(abs(volume) < FLAT * np.linalg.norm(one) * np.linalg.norm(two) * np.linalg.norm(three))


def _volumes(positions: Float[np.ndarray, "B N 3"], centres: Int[np.ndarray, "C 4"]) -> Float[np.ndarray, "B C"]:
    one, two, three, middle = (positions[:, column] for column in centres.T)
    return np.einsum("bcx,bcx->bc", one - middle, np.cross(two - middle, three - middle))


def _double_bonds(graph: Any) -> Int[np.ndarray, "D 4"]:
    """Two ends of double bonds outside rings, each with a neighbour."""
    found = []
    for bond in graph.GetBonds():
        left, right = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        beside = ([x for x in _around(graph, left) if x != right], [x for x in _around(graph, right) if x != left])
        if bond.GetBondTypeAsDouble() == 2 and not bond.IsInRing() and all(beside):
            if not _straight(graph, left) and not _straight(graph, right):
                found.append((beside[0][0], left, right, beside[1][0]))
    return np.array(found, int).reshape(-1, 4)


def _cosines(positions: Float[np.ndarray, "B N 3"], atoms: Int[np.ndarray, "D 4"]) -> Float[np.ndarray, "B D"]:
    """Of dihedral angles, times what is positive."""
    first, left, right, last = (positions[:, column] for column in atoms.T)
    axis = right - left
    return np.einsum("bdx,bdx->bd", np.cross(first - left, axis), np.cross(last - right, axis))
