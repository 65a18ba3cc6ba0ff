"""The ASE calculator of orbital-free DFT: dynamics, relaxation and scans on minimised densities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import Calculator, all_changes
from ase.units import Debye

from ergodica.dft.run import DensityOptions, iter_minimized
from ergodica.errors import WorkFailed
from ergodica.system import System

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["OrbitalFreeCalculator"]


class OrbitalFreeCalculator(Calculator):
    """Energy (eV), forces (eV/Å) and dipole (e·Å) of the density of least energy; the charge is `info["charge"]`.

    Molecules of the same atoms in the same order share one compiled program.

    Args:
        functional: a classical functional, or the name or file of a learned one.
        options: the other fields of `DensityOptions`.

    Raises:
        InputError: there is no such functional, or a molecule is none for it.
        WorkFailed: a density did not converge.
    """

    implemented_properties = ["energy", "forces", "dipole"]  # noqa: RUF012 (ASE's type)

    def __init__(self, functional: str = "ofdft-water", **options: Any) -> None:
        super().__init__()
        self.options = DensityOptions(functional, **options)
        self.functional = self.options.load()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What differs from the last calculation; unlike ASE's own test this sees `info["charge"]`."""
        changes: list[str] = super().check_state(atoms, tol)
        if self.atoms is not None and atoms.info.get("charge") != self.atoms.info.get("charge"):
            changes.append("initial_charges")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        """Minimise the density; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        assert self.atoms is not None
        bare = self.atoms.copy()
        bare.set_constraint()  # not this calculator's business
        ((_, found),) = iter_minimized(System.from_ase(bare), self.options, self.functional)
        if not found.converged:
            raise WorkFailed(
                f"The density of {found.system.name} did not converge in {found.iterations} steps "
                f"(gradient norm {found.gradient_norm:.1e} Ha)."
            )
        labels = found.system.labels
        self.results = {"energy": labels.energy, "forces": labels.forces, "dipole": found.dipole * Debye}
