"""The force field MMFF94 of one molecule, with typing and parameters from RDKit and the energy in JAX.

Halgren 1996, J. Comput. Chem. 17, 490-519 (doi:10.1002/(SICI)1096-987X(199604)17:5/6<490::AID-JCC1>3.0.CO;2-P).
Nothing is cut off. Energies equal RDKit's to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.sampling.energies.terms import (
    TINY,
    Places,
    Row,
    Scalars,
    Terms,
    angle,
    columns,
    cross,
    dot,
    ends,
    length,
    packed,
)
from ergodica.units import KCAL_PER_MOL

if TYPE_CHECKING:
    from ergodica.sampling.molecules import Molecule

__all__ = ["MMFF94", "charges", "dispersion", "mmff94"]

STIFFNESS = 143.9325
"""kcal/mol/Å² in a mdyn/Å."""
DEGREE = np.pi / 180
BOND_CUBIC, ANGLE_CUBIC = -2.0, -0.006981317
COULOMB, BUFFER, NEARBY = 332.0716, 0.05, 0.75
"""kcal/mol Å/e², what is added to distances (Å), and the share that neighbours at a distance of three bonds keep."""
LINEAR = (4, 53, 61)
"""Types of atoms whose bonds are collinear (MMFFPROP.PAR)."""

Variant = Literal["MMFF94", "MMFF94s"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class MMFF94:
    """The energy of a molecule; a pytree, so that molecules with as many terms share a compiled program.

    Attributes:
        bonds: force constant (mdyn/Å), length (Å).
        angles: force constant (mdyn Å/rad²), angle (degrees), and 1 where the middle atom is linear.
        stretch_bends: two constants (mdyn/rad), two lengths, the angle; atoms in the order of an angle.
        planes: Wilson angles: force constant (mdyn Å/rad²); the second atom is the middle one, the last leaves the
            plane of the others.
        torsions: V1, V2, V3 (kcal/mol).
        pairs: atoms three bonds apart or more: distance (Å) and depth (kcal/mol) of the minimum, product of charges
            (kcal/mol Å).
    """

    bonds: Terms
    angles: Terms
    stretch_bends: Terms
    planes: Terms
    torsions: Terms
    pairs: Terms

    def __call__(self, positions: Float[Array, "*B N 3"]) -> Float[Array, "*B"]:
        """Energies in vacuum, eV, of positions in Å."""
        return sum(self.terms(positions).values(), start=jnp.zeros(()))

    def terms(self, positions: Float[Array, "*B N 3"]) -> dict[str, Float[Array, "*B"]]:
        """Energies by kind, eV."""
        places = jnp.moveaxis(positions.reshape(-1, *positions.shape[-2:]), 0, -1)  # rows of a batch are gathered whole
        parts = {
            "bonds": _bonds(self.bonds, places),
            "angles": _angles(self.angles, places),
            "stretch_bends": _stretch_bends(self.stretch_bends, places),
            "planes": _planes(self.planes, places),
            "torsions": _torsions(self.torsions, places),
            "dispersion": _dispersion(self.pairs, places),
            "charges": _charges(self.pairs, places),
        }
        return {kind: KCAL_PER_MOL * part.sum(axis=0).reshape(positions.shape[:-2]) for kind, part in parts.items()}


def mmff94(molecule: Molecule, variant: Variant = "MMFF94") -> MMFF94:
    """Parameters of a molecule.

    Args:
        molecule: with all its hydrogens.
        variant: "MMFF94s" has flatter nitrogens, as time averages show them.

    Raises:
        InputError: MMFF94 has no type for one of the atoms.
    """
    from rdkit.Chem import rdForceFieldHelpers as fields

    graph = molecule.graph
    known = fields.MMFFGetMoleculeProperties(graph, mmffVariant=variant) if _covered(graph) else None
    if known is None:
        raise InputError(f"{molecule.name}: {variant} has no parameters for {_culprit(graph)}.")
    return MMFF94(
        packed(2, 2, _bond_terms(graph, known)),
        packed(3, 3, _angle_terms(graph, known)),
        packed(3, 5, _stretch_bend_terms(graph, known)),
        packed(4, 1, _plane_terms(graph, known)),
        packed(4, 3, _torsion_terms(graph, known)),
        packed(2, 3, _pair_terms(graph, known)),
    )


def _covered(graph: Any) -> bool:
    from rdkit.Chem import rdForceFieldHelpers as fields
    from rdkit.rdBase import BlockLogs

    with BlockLogs():
        return bool(fields.MMFFHasAllMoleculeParams(graph))


def _culprit(graph: Any) -> str:
    """The elements that MMFF94 knows nothing of, if it is these."""
    known = {1, 3, 6, 7, 8, 9, 11, 12, 14, 15, 16, 17, 19, 20, 26, 29, 30, 35, 53}
    foreign = sorted({atom.GetSymbol() for atom in graph.GetAtoms() if atom.GetAtomicNum() not in known})
    return " and ".join(foreign) if foreign else "the surroundings of one of its atoms"


def _neighbors(graph: Any, atom: int) -> list[int]:
    return [other.GetIdx() for other in graph.GetAtomWithIdx(atom).GetNeighbors()]


def _bond_terms(graph: Any, known: Any) -> Iterator[Row]:
    for bond in graph.GetBonds():
        atoms = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        yield atoms, known.GetMMFFBondStretchParams(graph, *atoms)[1:]


def _bends(graph: Any) -> Iterator[tuple[int, int, int]]:
    for middle in range(graph.GetNumAtoms()):
        for one, other in combinations(_neighbors(graph, middle), 2):
            yield one, middle, other


def _angle_terms(graph: Any, known: Any) -> Iterator[Row]:
    for atoms in _bends(graph):
        found = known.GetMMFFAngleBendParams(graph, *atoms)
        if found is not None:
            yield atoms, (*found[1:], float(known.GetMMFFAtomType(atoms[1]) in LINEAR))


def _stretch_bend_terms(graph: Any, known: Any) -> Iterator[Row]:
    for one, middle, other in _bends(graph):
        found = known.GetMMFFStretchBendParams(graph, one, middle, other)
        if found is None or known.GetMMFFAtomType(middle) in LINEAR:
            continue
        lengths = [known.GetMMFFBondStretchParams(graph, middle, end)[2] for end in (one, other)]
        yield (one, middle, other), (*found[1:], *lengths, known.GetMMFFAngleBendParams(graph, one, middle, other)[2])


def _plane_terms(graph: Any, known: Any) -> Iterator[Row]:
    for middle in range(graph.GetNumAtoms()):
        around = _neighbors(graph, middle)
        if len(around) != 3:
            continue
        for last in around:
            one, other = (atom for atom in around if atom != last)
            found = known.GetMMFFOopBendParams(graph, one, middle, other, last)
            if found is not None:
                yield (one, middle, other, last), (found,)


def _torsion_terms(graph: Any, known: Any) -> Iterator[Row]:
    for bond in graph.GetBonds():
        left, right = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        for first in _neighbors(graph, left):
            for last in _neighbors(graph, right):
                atoms = (first, left, right, last)
                if len({*atoms}) < 4:  # a ring of three
                    continue
                found = known.GetMMFFTorsionParams(graph, *atoms)
                if found is not None:
                    yield atoms, found[1:]


def _pair_terms(graph: Any, known: Any) -> Iterator[Row]:
    from rdkit.Chem import GetDistanceMatrix

    apart = GetDistanceMatrix(graph)
    charges = [known.GetMMFFPartialCharge(atom) for atom in range(graph.GetNumAtoms())]
    for one, other in combinations(range(graph.GetNumAtoms()), 2):
        if apart[one, other] < 3:
            continue
        distance, depth = known.GetMMFFVdWParams(one, other)[2:]
        share = NEARBY if apart[one, other] == 3 else 1.0
        yield (one, other), (distance, depth, share * COULOMB * charges[one] * charges[other])


def _bonds(terms: Terms, places: Places) -> Scalars:
    one, other = ends(terms.atoms, places)
    constant, rest = columns(terms.values)
    off = length(one - other) - rest
    return 0.5 * STIFFNESS * constant * off**2 * (1 + BOND_CUBIC * off + 7 / 12 * (BOND_CUBIC * off) ** 2)


def _angles(terms: Terms, places: Places) -> Scalars:
    one, middle, other = ends(terms.atoms, places)
    constant, rest, linear = columns(terms.values)
    left, right = one - middle, other - middle
    off = angle(left, right) / DEGREE - rest
    bent = 0.5 * STIFFNESS * DEGREE**2 * constant * off**2 * (1 + ANGLE_CUBIC * off)
    cosine = dot(left, right) / (length(left) * length(right))
    return jnp.where(linear > 0, STIFFNESS * constant * (1 + cosine), bent)


def _stretch_bends(terms: Terms, places: Places) -> Scalars:
    one, middle, other = ends(terms.atoms, places)
    left_constant, right_constant, left_length, right_length, rest = columns(terms.values)
    left, right = one - middle, other - middle
    stretch = left_constant * (length(left) - left_length) + right_constant * (length(right) - right_length)
    return STIFFNESS * DEGREE * stretch * (angle(left, right) / DEGREE - rest)


def _planes(terms: Terms, places: Places) -> Scalars:
    one, middle, other, last = ends(terms.atoms, places)
    (constant,) = columns(terms.values)
    normal, out = cross(one - middle, other - middle), last - middle
    sine = dot(normal, out) / (length(normal) * length(out))
    out = jnp.arcsin(jnp.clip(sine, -1 + EDGE, 1 - EDGE)) / DEGREE
    return 0.5 * STIFFNESS * DEGREE**2 * constant * out**2


EDGE = 1e-6
"""How far from ±1 sines stay, where the derivative of their angle would end."""


def _torsions(terms: Terms, places: Places) -> Scalars:
    first, left, right, last = ends(terms.atoms, places)
    axis = right - left
    one, other = cross(first - left, axis), cross(last - right, axis)
    cosine = dot(one, other) / (length(one) * length(other) + TINY)
    twice = 2 * cosine**2 - 1
    v1, v2, v3 = columns(terms.values)
    return 0.5 * (v1 * (1 + cosine) + v2 * (1 - twice) + v3 * (1 + cosine * (2 * twice - 1)))


def _dispersion(terms: Terms, places: Places) -> Scalars:
    one, other = ends(terms.atoms, places)
    return dispersion(length(one - other), terms.values)


def _charges(terms: Terms, places: Places) -> Scalars:
    one, other = ends(terms.atoms, places)
    return charges(length(one - other), terms.values)


def dispersion(lengths: Scalars, values: Float[Array, "M 3"]) -> Scalars:
    """Buffered 14-7 energies of pairs that far apart, kcal/mol, with the values of `MMFF94.pairs`."""
    distance, depth, _ = columns(values)
    part = lengths / distance
    seventh = (1.07 / (part + 0.07)) ** 7
    return depth * seventh * (1.12 / (part**7 + 0.12) - 2)


def charges(lengths: Scalars, values: Float[Array, "M 3"]) -> Scalars:
    """Buffered Coulomb energies of pairs that far apart, kcal/mol."""
    *_, product = columns(values)
    return product / (lengths + BUFFER)
