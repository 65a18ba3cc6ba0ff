"""Clusters of water molecules, cut out of frames of the liquid.

    python examples/dft/water_clusters.py liquid.xyz --sizes 1 2 3 --counts 60 200 240 -o clusters.xyz
    python examples/dft/water_clusters.py liquid.xyz --sizes 8 --counts 10 --compact -o octamers.xyz

Molecules are an oxygen and its two nearest hydrogens. A cluster is one molecule and others drawn from those around it;
with `--compact`, the nearest. Sizes are mixed in the output: whoever labels it in order, and stops, has some of all.
"""

from __future__ import annotations

import argparse

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from ase.io import write

from ergodica.files import read_structures
from ergodica.system import System

REACH = {1: 0.0, 2: 6.0, 3: 4.5}
"""Oxygens drawn from within this distance of the first, Å; larger clusters from within 4 n^(1/3)."""


def molecules(frame: System) -> np.ndarray:
    """Coordinates O, H, H of each molecule, whole [M, 3, 3]."""
    oxygens, hydrogens = (frame.positions[frame.numbers == number] for number in (8, 1))
    vectors, distances = get_distances(oxygens, hydrogens, cell=frame.cell, pbc=frame.pbc)
    nearest = np.argsort(distances, axis=1)[:, :2]
    if len(set(nearest.ravel())) != len(hydrogens):
        raise SystemExit(f"{frame.name}: hydrogens can't be assigned to oxygens, two for each.")
    bonds = np.take_along_axis(vectors, nearest[:, :, None], axis=1)
    return np.concatenate([oxygens[:, None], oxygens[:, None] + bonds], axis=1)


def cluster(frame: System, size: int, compact: bool, random: np.random.Generator) -> Atoms:
    """One cluster, its first oxygen at the origin."""
    found = molecules(frame)
    first = random.integers(len(found))
    vectors, distances = get_distances(found[:, 0], found[first, :1], cell=frame.cell, pbc=frame.pbc)
    order = np.argsort(distances[:, 0])
    reach = REACH.get(size, 4 * size ** (1 / 3))
    near = order[1 : max(int((distances < reach).sum()), size)]
    others = near[: size - 1] if compact else random.choice(near, size - 1, replace=False)
    chosen = np.append(first, others)
    places = found[chosen] - found[chosen, :1] - vectors[chosen]  # seen from the first
    return Atoms("OH2" * size, places.reshape(-1, 3))


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", help="periodic frames of liquid water, of any format; @a:b chooses some")
    parser.add_argument("--sizes", type=int, nargs="+", required=True, help="molecules of a cluster")
    parser.add_argument("--counts", type=int, nargs="+", required=True, help="clusters of each size")
    parser.add_argument("--compact", action="store_true", help="the nearest molecules, not some of those near")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", required=True)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    frames = read_structures(options.frames)
    wanted = random.permutation(np.repeat(options.sizes, options.counts))
    found = [cluster(frames[random.integers(len(frames))], int(size), options.compact, random) for size in wanted]
    write(options.output, found, format="extxyz")
    print(f"{len(found)} clusters")


if __name__ == "__main__":
    main()
