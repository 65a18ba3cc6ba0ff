"""Compute d3_golden.json with s-dftd3 itself: python make_d3_reference.py OUTPUT (needs dftd3, ase and ergodica)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from dftd3.interface import DispersionModel, RationalDampingParam

from ergodica.potentials.dispersion import FUNCTIONALS, D3Config
from ergodica.units import BOHR, HARTREE

CUTOFF, CN_CUTOFF = 11.0, 7.5  # Å, of crystals; molecules are smaller than any


def structures() -> list[tuple[str, Atoms]]:
    """Functional and structure: light and heavy elements, molecules and crystals, on and between reference systems."""
    rng = np.random.default_rng(4)
    dimer = molecule("C6H6") + molecule("C6H6")
    dimer.positions[12:] += [0.4, 0.7, 3.4]
    mixed = Atoms("AuICuUSiHPtNaXeFe", 2.3 * np.argwhere(np.ones((2, 5, 1))) + 0.3 * rng.normal(size=(10, 3)))
    graphite = Atoms("C4", scaled_positions=[[0, 0, 0], [1 / 3, 2 / 3, 0], [0, 0, 0.5], [2 / 3, 1 / 3, 0.5]],
                     cell=[[2.46, 0, 0], [-1.23, 2.13, 0], [0, 0, 6.7]], pbc=True)  # fmt: skip
    salt = Atoms("KBrH2O", 2.4 * rng.random((5, 3)) + [[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3], [3, 3, 3]],
                 cell=[[6.2, 0.4, 0], [0.3, 6.0, 0.2], [0, -0.5, 6.4]], pbc=True)  # fmt: skip
    return [("pbe", dimer), ("pbe", mixed), ("r2scan", graphite), ("r2scan", salt)]


def run(functional: str, atoms: Atoms) -> dict:
    """What s-dftd3 says, in eV and Å."""
    s6, s8, a1, a2 = D3Config(functional).parameters
    cell = {"lattice": atoms.cell.array / BOHR, "periodic": atoms.pbc} if atoms.pbc.any() else {}
    model = DispersionModel(atoms.numbers, atoms.positions / BOHR, **cell)
    if atoms.pbc.any():
        model.set_realspace_cutoff(CUTOFF / BOHR, CUTOFF / BOHR, CN_CUTOFF / BOHR)
    found = model.get_dispersion(RationalDampingParam(s6=s6, s8=s8, a1=a1, a2=a2, s9=0.0), grad=True)
    return {
        "functional": functional,
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist() if atoms.pbc.any() else None,
        "energy_eV": found["energy"] * HARTREE,
        "forces_eV_per_A": (-found["gradient"] * HARTREE / BOHR).tolist(),
        "virial_eV": (found["virial"] * HARTREE).tolist(),
    }


def by_name(name: str, atoms: Atoms) -> float:
    """Energy with the parameters that s-dftd3 itself has of a functional, eV."""
    model = DispersionModel(atoms.numbers, atoms.positions / BOHR)
    theirs = {"bp86": "bp", "wb97x-d3bj": "wb97x", "wb97m-d3bj": "wb97m"}.get(name, name)
    return model.get_dispersion(RationalDampingParam(method=theirs, atm=False), grad=False)["energy"] * HARTREE


def main() -> None:
    """Every structure, and every functional for the second of them."""
    given = structures()
    cases = [run(functional, atoms) for functional, atoms in given]
    energies = {name: by_name(name, given[1][1]) for name in FUNCTIONALS}
    content = {"cutoff_A": CUTOFF, "cn_cutoff_A": CN_CUTOFF, "cases": cases, "functionals_eV": energies}
    Path(sys.argv[1]).write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
