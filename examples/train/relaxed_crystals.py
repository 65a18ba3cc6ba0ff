"""Make training data of relaxed crystals: where atoms rest, forces and stress are zero.

    python examples/train/relaxed_crystals.py wbm.npz elasticity.npz --hold-out test.npz -o relaxed.npz

Tables of relaxed crystals (of WBM, Alexandria and the Materials Project, as `materialsvirtuallab/matcalc` distributes
them) say at which cell and positions a functional's forces vanish, and some also at what energy: labels for nothing.
Crystals of a composition that is held out, and larger ones than --max-atoms, are left out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from ergodica.datasets.partition import reduced_composition
from ergodica.files import read_structures, write_structures
from ergodica.system import Labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--hold-out", nargs="*", default=[], help="files whose compositions are left out")
    parser.add_argument("--max-atoms", type=int, default=24)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    held = {reduced_composition(system) for file in options.hold_out for system in read_structures(file)}
    found = []
    for file in options.files:
        small = [system for system in read_structures(file) if len(system) <= options.max_atoms]
        chosen = [system for system in small if reduced_composition(system) not in held]
        print(f"{file}: {len(chosen)} crystals")
        for system in chosen:
            labels = Labels(system.labels.energy, np.zeros((len(system), 3)), np.zeros((3, 3)))
            info = {**system.info, "kind": "relaxed", "source": Path(file).stem}
            found.append(replace(system, info=info, labels=labels))
    write_structures(options.output, found)


if __name__ == "__main__":
    main()
