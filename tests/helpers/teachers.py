"""Teachers whose answers are known: springs to the origin, and what can go wrong with a teacher."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

__all__ = ["Deadly", "Springs"]


class Springs(Calculator):
    """E = k/2 Σ x² + Σ shift(z): forces -k x; refuses iron.

    Args:
        stiffness: k, eV/Å².
        shifts: energy of an atom of each element, eV.
        log: file that gets a line for every structure computed.
        pause: seconds a structure takes.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, stiffness=1.0, shifts=None, log=None, pause=0.0):
        super().__init__()
        self.stiffness, self.shifts, self.log, self.pause = stiffness, shifts or {}, log, pause

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{atoms.get_chemical_formula()}\n")
        time.sleep(self.pause)
        if "Fe" in atoms.symbols:
            raise NotImplementedError("No iron,\nplease.")
        shift = sum(self.shifts.get(symbol, 0.0) for symbol in atoms.symbols)
        energy = self.stiffness / 2 * np.square(atoms.positions).sum() + shift
        self.results = {"energy": energy, "forces": -self.stiffness * atoms.positions}


class Deadly(Springs):
    """Ends its process, without a word, on a structure with gold."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        if "Au" in atoms.symbols:
            os._exit(1)
        super().calculate(atoms, properties, system_changes)
