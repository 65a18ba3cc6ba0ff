"""Random geometries of water, turned at random: bonds of 0.90 to 1.02 Å, angles of 97.5 to 111.5 degrees.

python examples/dft/water_geometries.py COUNT SEED OUTPUT.xyz
"""

from __future__ import annotations

import sys

import numpy as np
from ase import Atoms
from ase.io import write


def main() -> None:
    """Write them."""
    count, seed, output = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    random, found = np.random.default_rng(seed), []
    for _ in range(count):
        first, second = random.uniform(0.90, 1.02, 2)
        angle = np.deg2rad(random.uniform(97.5, 111.5))
        places = np.array([[0, 0, 0], [first, 0, 0], [second * np.cos(angle), second * np.sin(angle), 0]])
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        found.append(Atoms("OH2", places @ turn.T * np.sign(np.linalg.det(turn))))
    write(output, found, format="extxyz")


if __name__ == "__main__":
    main()
