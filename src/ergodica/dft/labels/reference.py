"""Kohn-Sham references by PySCF: the extra `dft`. Nothing else of `ergodica.dft` needs it.

Closed-shell PBE/6-31G(2df,p) from PySCF's minimal-basis guess, as the data of M-OFDFT and STRUCTURES25 were made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica._extras import require
from ergodica.dft.electrons import electrons_of
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.density import BLOCK, in_blocks
from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.system import Labels, System, as_system
from ergodica.units import BOHR, HARTREE

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["FITTED", "ORBITALS", "KohnSham", "kohn_sham", "kohn_sham_solver", "solve"]

ORBITALS = "6-31g(2df,p)"
"""Basis of the orbitals."""
KEPT, NEARLY = 250, 1e-6
"""Orbitals whose four-centre integrals PySCF keeps; energy to which molecules are first solved, Hartree."""
FITTED = "def2-universal-jkfit"
"""Basis of fitted Coulomb energies."""


@dataclass(frozen=True)
class KohnSham:
    """A molecule with its Kohn-Sham solution.

    Attributes:
        system: the molecule, its labels energy (eV) and forces (eV/Å).
        energy: total energy, Hartree.
        terms: its terms by the names of the orbital-free ones, Hartree.
        converged: whether the self-consistent field converged.
        cycles: how many it took.
        dipole: moment, Debye [3].
        points: of PySCF's grid, Bohr [P, 3].
        weights: of the points, Bohr³ [P].
        density: at the points, electrons/Bohr³ [P].
    """

    system: System
    energy: float
    terms: dict[str, float]
    converged: bool
    cycles: int
    dipole: Float[np.ndarray, " 3"]
    points: Float[np.ndarray, "P 3"]
    weights: Float[np.ndarray, " P"]
    density: Float[np.ndarray, " P"]

    def density_error(self, coefficients: Float[np.ndarray, " F"]) -> float:
        """∫|ρ - ρ_KS| of a minimised density of the molecule, electrons."""
        basis = DensityBasis.of(self.system.numbers)
        with jax.enable_x64(True):
            rho = _density(basis, self.system.positions / BOHR, coefficients, self.points)
        return float(np.sum(self.weights * np.abs(np.asarray(rho) - self.density)))


@partial(jax.jit, static_argnums=0)
def _density(basis: DensityBasis, positions: Array, coefficients: Array, points: Array) -> Float[Array, " P"]:
    return in_blocks(basis, jnp.asarray(positions), coefficients, points)[0]


def kohn_sham_solver(system: System, xc: str = "pbe", grid_level: int = 3) -> Any:
    """PySCF's solver for one molecule, not run yet.

    Args:
        system: closed-shell molecule.
        xc: exchange-correlation functional, by a name of libxc.
        grid_level: of PySCF's grid.

    Raises:
        InputError: PySCF is not installed, the molecule is not closed-shell, or the orbital basis lacks an element.
    """
    gto, dft = require("pyscf.gto", "dft"), require("pyscf.dft", "dft")
    electrons_of(system)
    atoms = [(SYMBOLS[number], place) for number, place in zip(system.numbers, system.positions / BOHR, strict=True)]
    try:
        molecule = gto.M(atom=atoms, unit="Bohr", basis=ORBITALS, charge=round(system.charge), verbose=0)
    except RuntimeError as error:  # what PySCF raises for a basis it does not have
        raise InputError(f"{system.name}: {ORBITALS} does not cover all of its elements.") from error
    solver = dft.RKS(molecule, xc=xc).set(conv_tol=1e-9)
    solver.grids.level = grid_level
    return solver


def solve(solver: Any) -> float:
    """Run a solver; energy, Hartree.

    It starts from the solution on PySCF's coarsest grid with a fitted Coulomb energy. Where four-centre integrals would
    be made anew in each cycle, they are made for that density alone, and how the density then changes is fitted: the
    fit of a small change errs by less than 1e-6 Hartree in the energy.

    Args:
        solver: PySCF's, not run yet.
    """
    rough = solver.density_fit(auxbasis=FITTED).set(conv_tol=NEARLY)
    rough.grids = require("pyscf.dft", "dft").gen_grid.Grids(solver.mol).set(level=0)
    fitted = rough.with_df.build()
    rough.kernel()
    start = rough.make_rdm1()
    if solver.mol.nao > KEPT:
        exact = solver.get_j(dm=start)

        def get_j(mol: Any = None, dm: Any = None, hermi: int = 1, omega: Any = None) -> Any:
            return exact + fitted.get_jk(dm - start, with_k=False)[0]

        solver.set(get_j=get_j, direct_scf=False)  # nothing is left that PySCF could add up over the cycles
    return float(solver.kernel(dm0=start))


def kohn_sham(structure: System | Atoms, xc: str = "pbe", grid_level: int = 3) -> KohnSham:
    """Solve the Kohn-Sham equations of one molecule; arguments and errors are those of `kohn_sham_solver`."""
    system = as_system(structure)
    solver = kohn_sham_solver(system, xc, grid_level)
    molecule = solver.mol
    energy = solve(solver)
    matrix = solver.make_rdm1()
    gradient = solver.nuc_grad_method().set(grid_response=True).kernel()
    level = f"{xc.upper()}/6-31G(2df,p)"
    labels = Labels(energy * HARTREE, -gradient * (HARTREE / BOHR), level_of_theory=level)
    effective = solver.get_veff()
    terms = {
        "kinetic": np.einsum("ij,ji", molecule.intor("int1e_kin"), matrix),
        "xc": effective.exc,
        "hartree": effective.ecoul,
        "external": np.einsum("ij,ji", molecule.intor("int1e_nuc"), matrix),
        "nuclear": molecule.energy_nuc(),
    }
    return KohnSham(
        system=replace(system, labels=labels),
        energy=energy,
        terms={name: float(np.real(value)) for name, value in terms.items()},
        converged=bool(solver.converged),
        cycles=int(solver.cycles),
        dipole=np.asarray(solver.dip_moment(verbose=0)),
        points=solver.grids.coords,
        weights=solver.grids.weights,
        density=_density_of_orbitals(solver, matrix),
    )


def _density_of_orbitals(solver: Any, matrix: Float[np.ndarray, "A A"]) -> Float[np.ndarray, " P"]:
    """ρ at the points of the solver's grid."""
    parts = []
    for part in np.array_split(solver.grids.coords, -(-len(solver.grids.coords) // BLOCK)):
        orbitals = solver.mol.eval_gto("GTOval_sph", part)
        parts.append(np.einsum("pi,ij,pj->p", orbitals, matrix, orbitals, optimize=True))
    return np.concatenate(parts)
