"""PySCF as a teacher of molecules: Kohn-Sham energies and forces behind ASE's calculator interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.calculators.calculator import Calculator, all_changes

from ergodica._extras import require
from ergodica.errors import InputError, WorkFailed
from ergodica.system import unpaired_electrons
from ergodica.units import BOHR, HARTREE

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["PySCF"]


class PySCF(Calculator):
    """Restricted Kohn-Sham for even, unrestricted for odd numbers of electrons, unless `spin` says otherwise.

    Energies in eV, forces in eV/Å. The charge is that of `atoms.info["charge"]`.

    Args:
        xc: functional, in PySCF's spelling.
        basis: basis set.
        spin: unpaired electrons; when None what `unpaired_electrons` finds in the info, else 0 or 1 by their number.
        max_cycle: iterations after which a structure counts as failed.

    Raises:
        InputError: pyscf is not installed, or a structure is periodic.
        WorkFailed: the iterations did not converge.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (ASE's type)

    def __init__(self, xc: str = "pbe", basis: str = "def2-svp", spin: int | None = None, max_cycle: int = 100) -> None:
        super().__init__()
        require("pyscf", "dft")
        self.xc, self.basis, self.spin, self.max_cycle = xc, basis, spin, max_cycle

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results` with energy and forces."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        if self.atoms.pbc.any():
            raise InputError("This teacher computes molecules: take away the periodicity, or choose another teacher.")
        mean_field = self._mean_field(self.atoms)
        energy = mean_field.kernel()
        if not mean_field.converged:
            raise WorkFailed(f"The self-consistent field did not converge in {self.max_cycle} iterations.")
        gradient = mean_field.nuc_grad_method().kernel()
        self.results = {"energy": float(energy) * HARTREE, "forces": -np.asarray(gradient) * (HARTREE / BOHR)}

    def _mean_field(self, atoms: Atoms) -> Any:
        from pyscf import dft, gto

        charge = int(atoms.info.get("charge", 0))
        spin = self.spin if self.spin is not None else unpaired_electrons(atoms.info)
        spin = (int(atoms.numbers.sum()) - charge) % 2 if spin is None else spin
        molecule = gto.M(
            atom=list(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True)),
            unit="Angstrom",
            basis=self.basis,
            charge=charge,
            spin=spin,
            verbose=0,
        )
        mean_field = (dft.UKS if spin else dft.RKS)(molecule)
        mean_field.xc, mean_field.max_cycle = self.xc, self.max_cycle
        return mean_field
