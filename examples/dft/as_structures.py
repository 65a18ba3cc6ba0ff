"""Structures with Kohn-Sham energies and forces out of a label file, to train a potential on the same data.

python examples/dft/as_structures.py ethanol-train.h5@0:316 ethanol-train.xyz
"""

from __future__ import annotations

import sys

from ergodica.dft.labels.file import read_labels
from ergodica.files import write_structures


def main(labels: str, output: str) -> None:
    """Write them."""
    conformers = read_labels(labels)
    write_structures(output, [one.system for one in conformers])
    print(f"{len(conformers)} structures")


if __name__ == "__main__":
    main(*sys.argv[1:])
