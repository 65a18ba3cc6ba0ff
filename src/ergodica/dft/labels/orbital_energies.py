"""Energies of many densities of one molecule at once, by PySCF: of orbitals, and of coefficients on PySCF's grid.

Densities share the basis functions on the grid, which are made block by block, and go through one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ergodica._extras import require

__all__ = ["OrbitalEnergies", "energies_of_orbitals", "semilocal_energies"]

BLOCK = 4096
"""Points of the grid that are worked on at once."""
THINNEST = 1e-12
"""Density below which space counts as empty, electrons/Bohr³."""


class OrbitalEnergies(NamedTuple):
    """Of L sets of orbitals.

    Attributes:
        kinetic: T_S, Hartree [L].
        electronic: Kohn-Sham energy without the repulsion of the nuclei, Hartree [L].
    """

    kinetic: Float[np.ndarray, " L"]
    electronic: Float[np.ndarray, " L"]


def energies_of_orbitals(solver: Any, orbitals: Sequence[Float[np.ndarray, "A O"]]) -> OrbitalEnergies:
    """Kohn-Sham energies of doubly occupied orbitals, self-consistent or not.

    Args:
        solver: PySCF's.
        orbitals: coefficients of the occupied orbitals, as many of them in every set.
    """
    molecule = solver.mol
    matrices = np.stack([2 * c @ c.T for c in orbitals])
    kinetic = np.einsum("lij,ij->l", matrices, molecule.intor("int1e_kin"))
    external = np.einsum("lij,ij->l", matrices, molecule.intor("int1e_nuc"))
    hartree = 0.5 * np.einsum("lij,lij->l", matrices, solver.get_j(dm=matrices))
    xc, together = np.zeros(len(orbitals)), np.concatenate(orbitals, axis=1)
    for values, weights in blocks(solver.grids, molecule):
        psi = (values @ together).reshape(4, len(weights), len(orbitals), -1)
        rho = 4 * np.einsum("xglo,glo->xlg", psi, psi[0])
        rho[0] /= 2
        for number in range(len(orbitals)):
            xc[number] += weights @ _energy_density("PBE", rho[:, number])[0]
    return OrbitalEnergies(kinetic, kinetic + external + hartree + xc)


def semilocal_energies(
    solver: Any, density: Any, coefficients: Float[np.ndarray, "L F"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """PBE exchange-correlation energies [L] with gradients [L, F], then the same of APBE kinetic energies; Hartree.

    Args:
        solver: PySCF's, for its grid.
        density: the density basis in PySCF's form.
        coefficients: p of every density.
    """
    names = ("PBE", "GGA_K_APBE")
    energies, gradients = np.zeros((2, len(coefficients))), np.zeros((2, *coefficients.shape))
    for values, weights in blocks(solver.grids, density):
        rho = np.moveaxis(values @ coefficients.T, 2, 0)
        for place, name in enumerate(names):
            slopes = np.empty_like(rho)
            for number, one in enumerate(rho):
                energy, by_rho, by_sigma = _energy_density(name, one)
                energies[place, number] += weights @ energy
                slopes[number] = weights * np.stack([by_rho, *(2 * by_sigma * one[1:])])
            for axis, part in enumerate(values):  # one reshape of all would copy them
                gradients[place] += slopes[:, axis] @ part
    return energies[0], gradients[0], energies[1], gradients[1]


def _energy_density(name: str, rho: Float[np.ndarray, "4 G"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energy per volume and its derivatives by ρ and σ, zero where space is empty."""
    libxc = require("pyscf.dft", "dft").libxc
    dense = rho[0] > THINNEST
    safe = np.where(dense, rho, np.array([1.0, 0.0, 0.0, 0.0])[:, None])
    per_electron, slopes = libxc.eval_xc(name, safe, deriv=1)[:2]
    return per_electron * safe[0] * dense, slopes[0] * dense, slopes[1] * dense


def blocks(grid: Any, molecule: Any) -> Iterator[tuple[Float[np.ndarray, "4 G B"], Float[np.ndarray, " G"]]]:
    """Functions of a basis and their gradients on a grid of PySCF's, with the weights."""
    numint = require("pyscf.dft", "dft").numint
    points, weights = grid.coords, grid.weights
    for start in range(0, len(weights), BLOCK):
        part = slice(start, start + BLOCK)
        yield numint.eval_ao(molecule, points[part], deriv=1), weights[part]
