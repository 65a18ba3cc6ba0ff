"""Random alloys of several elements labelled by a teacher whose energies are put on the scale of a labelled set.

    python examples/train/alloys_by_teacher.py nbmotaw_train.npz --elements Nb Mo Ta W --count 600 -o alloys.npz

The NbMoTaW set holds elements and pairs of them, and is tested on all four together. Cells of bcc with 16 sites get
random elements, a strain and a rattle. What the teacher (SevenNet-0 by default) says of small frames of the labelled
set fixes one offset an element, which is added to its energies of the alloys.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase.build import bulk

from ergodica.datasets.teachers import Teacher
from ergodica.files import read_structures, write_structures
from ergodica.properties.evaluation import evaluator
from ergodica.system import Labels, System
from ergodica.training.data import fit_reference

SITE_VOLUMES = {"Nb": 18.1, "Mo": 15.9, "Ta": 18.3, "W": 16.2}
"""Å³ an atom in the elements."""


def alloy(elements: list[str], rng: np.random.Generator) -> System:
    """A random cell: three or four elements, up to 6 % of strain, displacements of up to 0.3 Å (standard deviation)."""
    chosen = rng.choice(elements, rng.integers(3, len(elements) + 1), replace=False)
    atoms = bulk("W", "bcc", a=1.0, cubic=True).repeat(2)
    atoms.symbols[:] = rng.choice(chosen, len(atoms))
    volume = np.mean([SITE_VOLUMES[symbol] for symbol in atoms.symbols]) * len(atoms)
    strain = rng.normal(scale=0.02, size=(3, 3))
    cell = atoms.cell.array * (volume / atoms.get_volume()) ** (1 / 3) @ (np.eye(3) + (strain + strain.T) / 2)
    atoms.set_cell(cell * rng.uniform(0.96, 1.03), scale_atoms=True)
    atoms.positions += rng.normal(size=atoms.positions.shape) * rng.uniform(0.02, 0.3)
    return System.from_ase(atoms, "alloy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", help="frames whose energies set the scale")
    parser.add_argument("--elements", nargs="+", default=list(SITE_VOLUMES), choices=list(SITE_VOLUMES))
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--teacher", default="sevenn")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    teacher = Teacher.named(options.teacher)
    evaluate = evaluator(teacher())
    rng = np.random.default_rng(0)
    small = [system for system in read_structures(options.labelled) if len(system) <= 16]
    known = [small[k] for k in rng.choice(len(small), min(150, len(small)), replace=False)]
    gaps = [s.labels.energy - f.energy for s, f in zip(known, evaluate(known), strict=True)]
    offsets = fit_reference(known, gaps)
    left = [gap - sum(offsets[x] for x in s.to_ase().symbols) for s, gap in zip(known, gaps, strict=True)]
    spread = 1000 * np.std(np.divide(left, [len(system) for system in known]))
    print(f"energies of {teacher.signature} are {spread:.1f} meV/atom off")
    alloys = [alloy(options.elements, rng) for _ in range(options.count)]
    found = []
    for system, labels in zip(alloys, evaluate(alloys), strict=True):
        energy = labels.energy + sum(offsets[symbol] for symbol in system.to_ase().symbols)
        told = Labels(energy, labels.forces, labels.stress, teacher.signature, teacher.level_of_theory)
        found.append(replace(system, labels=told))
    write_structures(options.output, found)


if __name__ == "__main__":
    main()
