"""A two-state Gō model of a protein's backbone: a cheap energy with two folds whose populations can be known exactly.

The chain has the atoms N, CA and C with stiff bonds, angles and trans peptide bonds, and atoms three bonds or more
apart repel each other. Each of two reference structures draws its dihedral angles φ and ψ and its contacts between CA
atoms into wells, all of them bounded; the two energies are mixed smoothly (Best, Chen and Hummer 2005,
doi:10.1016/j.str.2005.08.009; Okazaki et al. 2006, doi:10.1073/pnas.0604375103). Without side chains, residues differ
by nothing but what the references say of them; the dihedral angles are what tells a fold from its mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.sampling.energies.terms import (
    Places,
    Scalars,
    Terms,
    bent,
    columns,
    dihedral,
    dot,
    ends,
    length,
    packed,
    stretched,
)
from ergodica.units import KCAL_PER_MOL

__all__ = ["BENDS", "BONDS", "NAMES", "Backbone", "GoField", "GoStrength", "read_backbone", "two_state"]

NAMES = ("N", "CA", "C")
"""Atoms of a residue."""
BONDS = ((1.458, 674.0), (1.525, 634.0), (1.329, 980.0))
"""N-CA, CA-C, C-N: lengths, Å, of Engh and Huber 1991, and AMBER's force constants, kcal/mol/Å²."""
BENDS = ((111.0, 126.0), (116.6, 140.0), (121.7, 100.0))
"""N-CA-C, CA-C-N, C-N-CA: angles, degrees, and force constants, kcal/mol/rad², likewise."""
PLANE = 1.0
"""Half of what a peptide bond costs in cis, eV: 9 degrees of standard deviation at 300 K."""
NEAR, FAR = 1.7, 2.1
"""Where two atoms three bonds apart, and farther along the chain, repel each other with 1 eV, Å."""
APART = 3
"""Residues from a CA to the first that it can be in contact with."""
LONGEST = 2.0
"""Of bonds between residues, Å: a chain with a longer one has a gap."""
TIGHTEST = 1e-6
"""The square of a distance that two atoms on one place are said to have, Å²."""


@dataclass(frozen=True)
class GoStrength:
    """How strongly the references draw.

    Attributes:
        contact: depth of the well of a contact, eV.
        turn: half of the depth of the well of a dihedral angle, eV.
        width: standard deviation of the well of a contact, Å.
        reach: distance up to which two CA atoms of a reference are in contact, Å.
        mixing: over which energies the two states mix, eV.
        offset: of the second state above the first, eV.
    """

    contact: float = 0.055
    turn: float = 0.05
    width: float = 1.5
    reach: float = 7.3
    mixing: float = 0.05
    offset: float = 0.0

    def __post_init__(self) -> None:
        if min(self.contact, self.turn) < 0 or min(self.width, self.reach, self.mixing) <= 0:
            raise InputError("Gō model: width, reach and mixing must be positive, contact and turn not negative.")


@dataclass(frozen=True)
class Backbone:
    """The atoms N, CA and C of a chain.

    Attributes:
        residues: their names of three letters [R].
        positions: Å [3R, 3].
    """

    residues: tuple[str, ...]
    positions: Float[np.ndarray, "N 3"]

    @property
    def text(self) -> str:
        """As a PDB file, numbered from 1."""
        row = "ATOM  {:5d}  {:<3s} {:>3s} A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           {:1s}"
        rows = [
            row.format(place + 1, NAMES[place % 3], self.residues[place // 3], place // 3 + 1, *at, NAMES[place % 3][0])
            for place, at in enumerate(self.positions)
        ]
        return "\n".join([*rows, "END", ""])


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class GoField:
    """The energy of one chain; a pytree.

    Attributes:
        bonds: force constant (eV/Å²), length (Å).
        angles: force constant (eV/rad²), angle (rad).
        planes: half of the barrier (eV) of dihedral angles that are trans.
        cores: distance at which a pair of atoms repels each other with 1 eV (Å).
        turns: half of the depth (eV) of dihedral angles' wells, their places in both references (rad).
        contacts: width (Å), depth and distance in the first reference, and in the second (eV, Å).
        offset: of the second state, eV.
        mixing: over which energies the states mix, eV.
    """

    bonds: Terms
    angles: Terms
    planes: Terms
    cores: Terms
    turns: Terms
    contacts: Terms
    offset: Float[Array, ""]
    mixing: Float[Array, ""]

    def __call__(self, positions: Float[Array, "*B N 3"]) -> Float[Array, "*B"]:
        """Energies, eV, of positions in Å."""
        return sum(self.terms(positions).values(), start=jnp.zeros(()))

    def terms(self, positions: Float[Array, "*B N 3"]) -> dict[str, Float[Array, "*B"]]:
        """Energies by kind, eV."""
        places = _places(positions)
        mixed = -self.mixing * jnp.logaddexp(*(-part / self.mixing for part in self._drawn(places)))
        parts = {
            "bonds": stretched(self.bonds, places).sum(axis=0),
            "angles": bent(self.angles, places).sum(axis=0),
            "planes": _planes(self.planes, places).sum(axis=0),
            "repulsion": _repulsion(self.cores, places).sum(axis=0),
            "states": mixed,
        }
        return {kind: part.reshape(positions.shape[:-2]) for kind, part in parts.items()}

    def states(self, positions: Float[Array, "*B N 3"]) -> tuple[Float[Array, "*B"], Float[Array, "*B"]]:
        """What either reference draws with, eV, before they are mixed; the offset is in the second."""
        first, second = self._drawn(_places(positions))
        return first.reshape(positions.shape[:-2]), second.reshape(positions.shape[:-2])

    def _drawn(self, places: Places) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
        one, other = ends(self.contacts.atoms, places)
        distance = length(one - other)
        turned = dihedral(*ends(self.turns.atoms, places))
        half, *angles = columns(self.turns.values)
        width, *wells = columns(self.contacts.values)
        found = []
        for well, (depth, rest) in zip(angles, (wells[:2], wells[2:]), strict=True):
            contact = -depth * jnp.exp(-0.5 * ((distance - rest) / width) ** 2)
            found.append(contact.sum(axis=0) + jnp.sum(-half * (1 + jnp.cos(turned - well)), axis=0))
        return found[0], found[1] + self.offset


def _places(positions: Float[Array, "*B N 3"]) -> Places:
    return jnp.moveaxis(positions.reshape(-1, *positions.shape[-2:]), 0, -1)


def _planes(terms: Terms, places: Places) -> Scalars:
    (half,) = columns(terms.values)
    return half * (1 + jnp.cos(dihedral(*ends(terms.atoms, places))))


def _repulsion(terms: Terms, places: Places) -> Scalars:
    one, other = ends(terms.atoms, places)
    (core,) = columns(terms.values)
    away = one - other
    return (core**2 / jnp.maximum(dot(away, away), TIGHTEST)) ** 6


def read_backbone(path: str | Path) -> Backbone:
    """The first chain of a PDB file's first model; residues that lack one of the three atoms (caps, say) are left out.

    Raises:
        InputError: there is no such file, a line is damaged, or it holds no chain of four residues without a gap.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file '{path}'.")
    model = path.read_text(errors="replace").split("\nENDMDL")[0]
    rows = [row for row in model.splitlines() if row.startswith(("ATOM", "HETATM")) and row[12:16].strip() in NAMES]
    found: dict[str, dict[str, list[float]]] = {}
    try:
        for row in rows:
            if row[21:22] == rows[0][21:22]:
                place = [float(row[start : start + 8]) for start in (30, 38, 46)]
                found.setdefault(row[17:27], {}).setdefault(row[12:16].strip(), place)
    except ValueError as error:
        raise InputError(f"'{path}' can't be read as a PDB file ({error}).") from error
    whole = {name: atoms for name, atoms in found.items() if len(atoms) == len(NAMES)}
    if not whole:
        raise InputError(f"'{path}' has no residues with the atoms N, CA and C.")
    if len(whole) < 4:
        raise InputError(f"'{path}' has {len(whole)} residues with the atoms N, CA and C: at least four are needed.")
    positions = np.array([atoms[name] for atoms in whole.values() for name in NAMES])
    if np.linalg.norm(positions[3::3] - positions[2:-1:3], axis=1).max() > LONGEST:
        raise InputError(f"The chain of '{path}' has a gap: neighbouring residues are not bonded.")
    return Backbone(tuple(name[:3].strip() for name in whole), positions)


def two_state(
    first: str | Path, second: str | Path, strength: GoStrength | None = None
) -> tuple[GoField, Backbone, Backbone]:
    """The model that has its two states at two structures of one chain.

    Args:
        first: a PDB file.
        second: another with as many residues.
        strength: of the wells.

    Returns:
        The energy and both chains.

    Raises:
        InputError: a file is missing or damaged, has no chain of four residues, or their lengths differ.
    """
    one, other = read_backbone(first), read_backbone(second)
    if len(one.residues) != len(other.residues):
        raise InputError(
            f"'{first}' has {len(one.residues)} residues and '{second}' {len(other.residues)}: "
            "both states must be of the same chain."
        )
    return _field(one.positions, other.positions, strength or GoStrength()), one, other


def _field(first: Float[np.ndarray, "N 3"], second: Float[np.ndarray, "N 3"], strength: GoStrength) -> GoField:
    count, unit = len(first), KCAL_PER_MOL
    chain = [tuple(range(start, start + 4)) for start in range(count - 3)]
    bonds = [((n, n + 1), (BONDS[n % 3][1] * unit, BONDS[n % 3][0])) for n in range(count - 1)]
    bends = [(np.deg2rad(rest), constant * unit) for rest, constant in BENDS]
    angles = [((n, n + 1, n + 2), bends[n % 3][::-1]) for n in range(count - 2)]
    planes = [(atoms, (PLANE,)) for n, atoms in enumerate(chain) if n % 3 == 1]  # CA, C, N, CA
    free = [atoms for n, atoms in enumerate(chain) if n % 3 != 1]
    index = np.array(free)
    turned = [dihedral(*(at[column][..., None] for column in index.T))[:, 0] for at in (first, second)]
    wells = np.stack(turned, axis=1).tolist()
    turns = [(atoms, (strength.turn, *well)) for atoms, well in zip(free, wells, strict=True)]
    pairs = [(one, other) for one in range(count) for other in range(one + 3, count)]
    cores = [((one, other), (NEAR if other - one == 3 else FAR,)) for one, other in pairs]
    numbers: Any = {"offset": np.asarray(strength.offset, float), "mixing": np.asarray(strength.mixing, float)}
    return GoField(
        packed(2, 2, bonds),
        packed(3, 2, angles),
        packed(4, 1, planes),
        packed(2, 1, cores),
        packed(4, 3, turns),
        _contacts(first, second, strength),
        **numbers,
    )


def _contacts(first: Float[np.ndarray, "N 3"], second: Float[np.ndarray, "N 3"], strength: GoStrength) -> Terms:
    """Pairs of CA that are near each other in either reference; a well where they are not has no depth."""
    rows = []
    for one in range(1, len(first), 3):
        for other in range(one + 3 * APART, len(first), 3):
            wells = [float(np.linalg.norm(at[one] - at[other])) for at in (first, second)]
            depths = [strength.contact * (rest <= strength.reach) for rest in wells]
            if any(depths):
                rows.append(((one, other), (strength.width, depths[0], wells[0], depths[1], wells[1])))
    return packed(2, 5, rows)
