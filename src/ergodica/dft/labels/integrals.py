"""Integrals of orbitals and density basis by libcint, as labels need them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from ergodica._extras import require
from ergodica.dft.gaussians.basis import DensityBasis, exponents_of_elements
from ergodica.dft.gaussians.integrals import charges, dipoles
from ergodica.dft.labels.fitting import FitMethod, FitSystem, Kept, Projected, fit_densities
from ergodica.elements import SYMBOLS

__all__ = ["Integrals"]


@dataclass(frozen=True)
class Integrals:
    """Of one molecule.

    Attributes:
        density: the density basis in PySCF's form.
        system: what the fit needs of it.
        orbital_moments: overlap and dipole moments of pairs of orbitals, Bohr [4, A, A].
        attraction: of its pairs by the nuclei, Hartree [A, A].
        repulsion: (χ_i χ_j | ω_μ) of pairs i ≥ j, Hartree [A(A+1)/2, F].
        overlaps: ∫χ_i χ_j ω_μ of the same pairs [A(A+1)/2, F].
    """

    density: Any
    system: FitSystem
    orbital_moments: Float[np.ndarray, "4 A A"]
    attraction: Float[np.ndarray, "A A"]
    repulsion: Float[np.ndarray, "P F"] = field(repr=False)
    overlaps: Float[np.ndarray, "P F"] = field(repr=False)

    @classmethod
    def of(cls, molecule: Any, basis: DensityBasis) -> Integrals:
        """Those of a molecule of PySCF's."""
        df = require("pyscf.df", "dft")
        density = df.make_auxmol(molecule, _shells(basis))
        system = FitSystem(
            overlap=density.intor("int1e_ovlp"),
            coulomb=density.intor("int2c2e"),
            external=_external(molecule, density),
            moments=np.column_stack([charges(basis), dipoles(basis, molecule.atom_coords())]),
        )
        repulsion, overlaps = (
            df.incore.aux_e2(molecule, density, name, aosym="s2ij") for name in ("int3c2e", "int3c1e")
        )
        moments = np.concatenate([molecule.intor("int1e_ovlp")[None], molecule.intor("int1e_r")])
        return cls(density, system, moments, molecule.intor("int1e_nuc"), repulsion, overlaps)

    def potential(self, coefficients: Float[np.ndarray, " F"]) -> Float[np.ndarray, "A A"]:
        """Matrix of the potential Σ_μ c_μ ω_μ(r) between orbitals, Hartree."""
        lib = require("pyscf.lib", "dft")
        return lib.unpack_tril(self.overlaps @ coefficients)

    def fit(self, matrices: list[np.ndarray], method: FitMethod, keep: Kept | None) -> Float[np.ndarray, "L F"]:
        """Coefficients of density matrices, with what is to be kept of their moments."""
        size = len(matrices[0])
        rows, columns = np.tril_indices(size)
        packed = np.stack([matrix[rows, columns] for matrix in matrices]) * np.where(rows == columns, 1.0, 2.0)
        external = packed @ self.attraction[rows, columns]
        projected = Projected(packed @ self.repulsion, external, packed @ self.overlaps)
        count = {None: 0, "electrons": 1, "dipole": 4}[keep]
        moments = packed @ self.orbital_moments[:count, rows, columns].T if count else None
        return fit_densities(self.system, projected, method, moments)


def _shells(basis: DensityBasis) -> dict[str, list[list[Any]]]:
    """The density basis in PySCF's words."""
    known = exponents_of_elements()
    return {
        SYMBOLS[number]: [
            [degree, [exponent, 1.0]]
            for degree, exponents in enumerate(known[SYMBOLS[number]])
            for exponent in exponents
        ]
        for number in sorted(set(basis.numbers))
    }


def _external(molecule: Any, density: Any) -> Float[np.ndarray, " F"]:
    """-Σ_C Z_C ∫ ω_μ / |r - C|: the nuclei as Gaussians too narrow to matter."""
    gto = require("pyscf.gto", "dft")
    both = gto.conc_mol(density, gto.fakemol_for_charges(molecule.atom_coords(), expnt=1e16))
    potential = both.intor("int2c2e", shls_slice=(0, density.nbas, density.nbas, both.nbas))
    return -potential @ molecule.atom_charges()
