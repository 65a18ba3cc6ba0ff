"""Two folds of chignolin's backbone for the two-state Gō model: a hairpin and a helix.

    python data/peptides/make_go.py chig.pdb data/peptides

The hairpin is the chain N, CA, C of a folded structure (CLN025, YYDPETGTWY); the helix has the same sequence, ideal
bonds and angles, φ = -60°, ψ = -45° and ω = 180°.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ergodica.files import atomic_write
from ergodica.sampling.coordinates.internal import Tree, placed
from ergodica.sampling.energies.go import BENDS, BONDS, Backbone, read_backbone

PSI_OMEGA_PHI = (-45.0, 180.0, -60.0)


def helix(chain: Backbone) -> Backbone:
    """The chain with ideal coordinates."""
    count = len(chain.positions)
    plan = Tree(tuple(range(count)), tuple((n + 2, n + 1, n) for n in range(count - 3)), (True,) * (count - 3))
    lengths = np.array([BONDS[n % 3][0] for n in range(count - 1)])
    angles = np.deg2rad([BENDS[n % 3][0] for n in range(count - 2)])
    dihedrals = np.deg2rad([PSI_OMEGA_PHI[n % 3] for n in range(count - 3)])
    return replace(chain, positions=np.asarray(placed(plan, lengths, angles, dihedrals)))


def main() -> None:
    """Write both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("structure", type=Path, help="PDB file of the folded protein")
    parser.add_argument("folder", type=Path)
    given = parser.parse_args()
    hairpin = read_backbone(given.structure)
    for name, chain in (("hairpin", hairpin), ("helix", helix(hairpin))):
        atomic_write(given.folder / f"{name}.pdb", chain.text.encode())


if __name__ == "__main__":
    main()
