"""Molecules with a force field of their own: structure and system in, structures out of trajectories."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read
from jaxtyping import Float, Int

from ergodica.errors import InputError
from ergodica.files import read_atoms
from ergodica.sampling.coordinates.internal import Tree, tree
from ergodica.sampling.energies.by_kind import Energy
from ergodica.sampling.energies.go import two_state
from ergodica.sampling.energies.openmm_xml import read_openmm
from ergodica.sampling.energies.terms import dihedral

__all__ = ["Peptide", "backbone_angles", "read_pdb", "read_peptide", "read_states"]

LIGHT, HEAVY = 2.5, 6.0
"""Masses below which an atom is hydrogen, and above which it is none, amu; between are those that were shifted from
carbon to its hydrogens, for longer time steps."""
XDR = (".xtc", ".trr", ".dcd")


@dataclass(frozen=True)
class Peptide:
    """A molecule and its force field.

    Attributes:
        name: of the file.
        text: the structure as a PDB file.
        numbers: of the elements [N].
        positions: Å [N, 3].
        plan: in which order atoms are placed.
        energy: the force field.
        others: structures of other states, if some are known [F, N, 3].
    """

    name: str
    text: str = field(repr=False)
    numbers: Int[np.ndarray, " N"] = field(repr=False)
    positions: Float[np.ndarray, "N 3"] = field(repr=False)
    plan: Tree = field(repr=False)
    energy: Energy = field(repr=False)
    others: Float[np.ndarray, "F N 3"] | None = field(default=None, repr=False)

    def starts(self, count: int) -> Float[np.ndarray, "W N 3"]:
        """Structures for independent walks to begin at: all that are known by turns."""
        known = self.positions[None] if self.others is None else np.concatenate([self.positions[None], self.others])
        return known[np.arange(count) % len(known)]


def read_peptide(structure: str | Path, system: str | Path) -> Peptide:
    """A molecule by its PDB file and the OpenMM system that belongs to it.

    A second PDB file of the same chain in place of a system makes a two-state Gō model of the backbone.

    Raises:
        InputError: a file is missing or damaged, or they do not fit together.
    """
    structure = Path(structure)
    if Path(system).suffix == ".pdb":
        return _two_state(structure, system)
    text, atoms = read_pdb(structure)
    energy, masses = read_openmm(system)
    if len(masses) != len(atoms):
        raise InputError(
            f"'{structure}' has {len(atoms)} atoms and '{system}' {len(masses)}: they do not belong together."
        )
    light = atoms.numbers == 1
    strange = np.flatnonzero(np.where(light, np.asarray(masses) > HEAVY, np.asarray(masses) < LIGHT))
    if len(strange):
        raise InputError(
            f"Atom {strange[0]} of '{structure}' is {atoms.symbols[strange[0]]}, but has a mass of "
            f"{masses[strange[0]]:.3g} in '{system}': their atoms stand in different orders."
        )
    bonds = [(int(one), int(other)) for one, other in np.asarray(energy.bonds.atoms)]
    plan = tree(len(atoms), bonds)
    return Peptide(structure.stem, text, atoms.numbers, atoms.positions, plan, energy)


def read_pdb(structure: str | Path) -> tuple[str, Any]:
    """The first model of a PDB file, as text and as ASE's atoms.

    Raises:
        InputError: the file is missing or damaged.
    """
    if not Path(structure).is_file():
        raise InputError(f"There is no file '{structure}'.")
    text = first_model(Path(structure).read_text(errors="replace"))
    try:
        return text, read(io.StringIO(text), format="proteindatabank")
    except (ValueError, KeyError, IndexError) as error:
        raise InputError(f"'{structure}' can't be read as a PDB file ({error}).") from error


def _two_state(first: Path, second: str | Path) -> Peptide:
    energy, chain, other = two_state(first, second)
    count = len(chain.positions)
    plan = tree(count, [(one, one + 1) for one in range(count - 1)])
    numbers = np.tile([7, 6, 6], len(chain.residues))
    return Peptide(first.stem, chain.text, numbers, chain.positions, plan, energy, other.positions[None])


def read_states(
    paths: Sequence[str | Path], peptide: Peptide, share: float = 0.1
) -> tuple[Float[np.ndarray, "S N 3"], Float[np.ndarray, "V N 3"]]:
    """Structures out of ensembles and trajectories, Å: those to learn from, and the last of each file to validate.

    Args:
        paths: `ensemble.npz` of `ergodica sample`; XTC, TRR or DCD (with mdtraj); or whatever ASE reads.
        peptide: whose atoms they are, in its order.
        share: of each file that validates.

    Raises:
        InputError: no file is named, one is missing, or has other atoms.
    """
    if not paths:
        raise InputError("No structures to learn from are named: give [data] trajectory.")
    first, last = [], []
    for path in map(Path, paths):
        if not path.is_file():
            raise InputError(f"There is no file '{path}'.")
        found = _positions(path, peptide)
        if found.ndim != 3 or found.shape[1:] != peptide.positions.shape:
            raise InputError(f"'{path}' holds structures of {found.shape[1]} atoms, not of {len(peptide.numbers)}.")
        kept = max(1, len(found) - round(share * len(found)))
        first.append(found[:kept])
        last.append(found[kept:])
    return np.concatenate(first), np.concatenate(last)


def _positions(path: Path, peptide: Peptide) -> Float[np.ndarray, "S N 3"]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            if "positions" not in file:
                raise InputError(f"'{path}' has no array 'positions'.")
            return np.asarray(file["positions"], np.float32)
    if path.suffix in XDR:
        return _mdtraj(path, peptide)
    found = [one.positions for one in read_atoms(path)]
    if len({len(one) for one in found}) != 1:
        raise InputError(f"'{path}' holds structures of different molecules.")
    return np.stack(found).astype(np.float32)


def _mdtraj(path: Path, peptide: Peptide) -> Float[np.ndarray, "S N 3"]:
    import tempfile

    from ergodica._extras import require

    mdtraj = require("mdtraj", "sampling")
    with tempfile.NamedTemporaryFile("w", suffix=".pdb") as top:
        top.write(peptide.text)
        top.flush()
        return 10 * mdtraj.load(str(path), top=top.name).xyz


def first_model(text: str) -> str:
    """A PDB file of one model alone, and the bonds that stand at its end."""
    rows = text.splitlines()
    end = next((number for number, row in enumerate(rows) if row.startswith("ENDMDL")), len(rows))
    kept = [row for row in rows[:end] if not row.startswith(("MODEL", "END"))]
    bonds = [row for row in rows[end:] if row.startswith("CONECT")]
    return "\n".join([*kept, *bonds, "END", ""])


def atom_names(text: str) -> list[tuple[str, str]]:
    """Residue (chain, number and name) and name of each atom of a PDB file."""
    rows = [row for row in text.splitlines() if row.startswith(("ATOM", "HETATM"))]
    return [(f"{row[17:20].strip()}{row[22:27].strip()}{row[21].strip()}", row[12:16].strip()) for row in rows]


def backbone_angles(text: str, positions: Float[np.ndarray, "S N 3"]) -> dict[str, Float[np.ndarray, "S 2"]]:
    """φ and ψ, rad, of the residues of a PDB file that have both, by residue."""
    names = atom_names(text)
    order = list(dict.fromkeys(residue for residue, _ in names))
    place = {pair: number for number, pair in reversed(list(enumerate(names)))}
    found = {}
    for before, here, after in zip(order, order[1:], order[2:], strict=False):
        chain = [(before, "C"), (here, "N"), (here, "CA"), (here, "C"), (after, "N")]
        if all(pair in place for pair in chain):
            atoms = positions[:, [place[pair] for pair in chain]].transpose(1, 2, 0)
            pair = [dihedral(*(one[None] for one in atoms[start : start + 4]))[0] for start in (0, 1)]
            found[here] = np.stack([np.asarray(angle) for angle in pair], axis=1)
    return found


def pdb_bytes(text: str, positions: Float[np.ndarray, "S N 3"]) -> bytes:
    """A PDB file of several models, with the atoms of another."""
    rows = [row.ljust(80) for row in text.splitlines() if row.startswith(("ATOM", "HETATM"))]
    bonds = [row for row in text.splitlines() if row.startswith("CONECT")]
    found = []
    for number, places in enumerate(positions):
        found.append(f"MODEL     {number + 1:4d}")
        for row, (x, y, z) in zip(rows, places, strict=True):
            found.append(f"{row[:30]}{x:8.3f}{y:8.3f}{z:8.3f}{row[54:]}")
        found.append("ENDMDL")
    return "\n".join([*found, *bonds, ""]).encode()


def write_xtc(path: str | Path, positions: Float[np.ndarray, "S N 3"]) -> bool:
    """Write a compressed trajectory (to 0.01 Å); False where mdtraj, which does it, is not installed."""
    try:
        from mdtraj.formats import XTCTrajectoryFile
    except ImportError:
        return False
    with XTCTrajectoryFile(str(path), "w", force_overwrite=True) as file:
        file.write(np.asarray(positions / 10, np.float32))
    return True
