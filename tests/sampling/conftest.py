"""A chain of four atoms whose ensemble is known, for the tests of samplers with all degrees of freedom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ergodica.sampling.coordinates.internal import tree
from ergodica.sampling.energies.amber import AmberField
from ergodica.sampling.energies.terms import packed
from ergodica.sampling.peptides import Peptide
from ergodica.units import KJ_PER_MOL

PEPTIDES = Path(__file__).parents[2] / "data" / "peptides"

ROW = "HETATM{:5d}  {}   CHN A   1    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           {}"


@pytest.fixture(scope="session")
def chain() -> Peptide:
    """A molecule of four atoms in a row."""
    return four_atoms()


def four_atoms() -> Peptide:
    """H-O-O-H, say: springs in two bonds' lengths and angles, a dihedral angle with two unlike wells, nothing else."""
    bonds = packed(2, 2, [((0, 1), (20.0, 1.0)), ((1, 2), (20.0, 1.4)), ((2, 3), (20.0, 1.0))])
    angles = packed(3, 2, [((0, 1, 2), (3.0, 1.8)), ((1, 2, 3), (3.0, 1.8))])
    torsions = packed(4, 3, [((0, 1, 2, 3), (0.04, 1.0, 0.7)), ((0, 1, 2, 3), (0.06, 2.0, 0.0))])
    nothing = np.zeros((4, 4))
    field = AmberField(bonds, angles, torsions, nothing, nothing, nothing + 1)
    places = np.array([[-0.23, 0.97, 0.0], [0.0, 0.0, 0.0], [1.4, 0.0, 0.0], [1.63, 0.3, 0.93]])
    rows = [ROW.format(n + 1, "HOOH"[n], *place, "HOOH"[n]) for n, place in enumerate(places)]
    text = "\n".join([*rows, "END", ""])
    return Peptide("chain", text, np.array([1, 8, 8, 1]), places, tree(4, [(0, 1), (1, 2), (2, 3)]), field)


def chain_xml() -> str:
    """The same springs and wells as OpenMM writes them (kJ/mol, nm), without pairs."""
    bonds = [(0, 1, 0.1), (1, 2, 0.14), (2, 3, 0.1)]
    spring, bend, wells = 2000 / KJ_PER_MOL, 3 / KJ_PER_MOL, ((0.04, 1, 0.7), (0.06, 2, 0.0))
    rows = [f'<Bond d="{d}" k="{spring}" p1="{i}" p2="{j}"/>' for i, j, d in bonds]
    bent = [f'<Angle a="1.8" k="{bend}" p1="{i}" p2="{i + 1}" p3="{i + 2}"/>' for i in (0, 1)]
    turns = [
        f'<Torsion k="{k / KJ_PER_MOL}" p1="0" p2="1" p3="2" p4="3" periodicity="{n}" phase="{phase}"/>'
        for k, n, phase in wells
    ]
    forces = (
        f'<Force type="HarmonicBondForce"><Bonds>{"".join(rows)}</Bonds></Force>'
        f'<Force type="HarmonicAngleForce"><Angles>{"".join(bent)}</Angles></Force>'
        f'<Force type="PeriodicTorsionForce"><Torsions>{"".join(turns)}</Torsions></Force>'
    )
    particles = '<Particle mass="1"/><Particle mass="16"/><Particle mass="16"/><Particle mass="1"/>'
    return f"<System><Particles>{particles}</Particles><Constraints/><Forces>{forces}</Forces></System>"
