"""How a ground state answers to potentials, to first order: labels of second order for functionals of the density.

The kinetic energy's gradient is -V, so its second derivative is the inverse of the orbitals' response, which the
ground state's own orbitals and energies give for all potentials at once (Adler, Phys. Rev. 126, 413 (1962); Wiser,
Phys. Rev. 129, 62 (1963)). With potentials Σ_μ c_μ ∫ω_μ(r')/|r - r'| and Coulomb fits of the densities,

    δp = -X W c,   X = W⁻¹ B Bᵀ W⁻¹,   B_μ,ia = 2 (ω_μ | φ_i φ_a) / √(ε_a - ε_i)

with W the Coulomb matrix of the density basis: X is symmetric and positive, and takes the change -W c of the gradient
to that of p. Densities that the orbitals can't follow to have X = 0: there the kinetic energy is stiff beyond bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ergodica._extras import require
from ergodica.dft.labels.orbital_energies import blocks

__all__ = ["SecondOrder", "orbital_response", "xc_curvature"]

THIN = 1e-6
"""Density below which exchange and correlation count as not curved, electrons/Bohr³: tails of fits may be negative."""


@dataclass(frozen=True)
class SecondOrder:
    """Second derivatives of a ground state.

    Attributes:
        response: X, how p changes with the gradient of the kinetic energy, 1/Hartree [F, F].
        xc_curvature: ∂²E_XC/∂p², Hartree [F, F].
    """

    response: Float[np.ndarray, "F F"]
    xc_curvature: Float[np.ndarray, "F F"]


def orbital_response(
    solver: Any, repulsion: Float[np.ndarray, "P F"], coulomb: Float[np.ndarray, "F F"]
) -> Float[np.ndarray, "F F"]:
    """X of a ground state.

    Args:
        solver: PySCF's, converged.
        repulsion: (χ_i χ_j | ω_μ) of pairs i ≥ j of orbital functions, Hartree.
        coulomb: W, Hartree.
    """
    lib = require("pyscf.lib", "dft")
    occupied = solver.mo_occ > 0
    inner, outer = solver.mo_coeff[:, occupied], solver.mo_coeff[:, ~occupied]
    gaps = solver.mo_energy[~occupied] - solver.mo_energy[occupied][:, None]
    pairs = lib.unpack_tril(np.ascontiguousarray(repulsion.T))
    moved = (inner.T @ pairs @ outer).reshape(len(coulomb), -1) * (2 / np.sqrt(gaps.ravel()))
    fitted = np.linalg.solve(coulomb, moved)
    return fitted @ fitted.T


def xc_curvature(solver: Any, density: Any, coefficients: Float[np.ndarray, " F"]) -> Float[np.ndarray, "F F"]:
    """∂²E_XC/∂p² of PBE, on PySCF's grid of level 1 and in the single precision of label files, Hartree.

    Args:
        solver: PySCF's.
        density: the density basis in PySCF's form.
        coefficients: p.
    """
    dft = require("pyscf.dft", "dft")
    grid, found = dft.gen_grid.Grids(solver.mol).set(level=1).build(), np.zeros((len(coefficients),) * 2)
    for values, weights in blocks(grid, density):
        rho = values @ coefficients
        dense = rho[0] > THIN
        safe = np.where(dense, rho, np.array([1.0, 0.0, 0.0, 0.0])[:, None])
        _, (_, by_sigma, *_), (rr, rs, ss, *_), _ = dft.libxc.eval_xc("PBE", safe, deriv=2)
        slope = safe[1:]
        kernel = np.empty((4, 4, len(weights)))
        kernel[0, 0], kernel[0, 1:] = rr, 2 * rs * slope
        kernel[1:, 0] = kernel[0, 1:]
        kernel[1:, 1:] = 4 * ss * slope[:, None] * slope + 2 * by_sigma * np.eye(3)[..., None]
        single, kernel = values.astype(np.float32), (kernel * (weights * dense)).astype(np.float32)
        for row, one in zip(kernel, single, strict=True):
            found += one.T @ sum(part[:, None] * other for part, other in zip(row, single, strict=True))
    return 0.5 * (found + found.T)
