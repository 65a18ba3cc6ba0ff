"""Compute dft_golden.npz anew with PySCF (libcint, libxc): python make_dft_reference.py OUTPUT.npz (needs pyscf).

`hco/`, `hcl/`: integrals, every seventh column of the matrices (l up to 4). `libxc/`: energies per volume and their
derivatives. `ks/NAME/`: PBE/6-31G(2df,p) of small molecules, their Kohn-Sham energy, kinetic energy, classical
functionals on the Kohn-Sham density, the coefficients of the density fitted as M-OFDFT does (stacked least squares of
Coulomb potential and external energy), and under `fit/` the functionals on that.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from pyscf import df, dft, gto

STRIDE = 7
MOLECULES = {
    "hco": "H 0.9 -0.6 0.2; C 0.05 0.1 -0.04; O -1.02 0.55 0.31",
    "hcl": "H 0.1 -0.2 1.25; Cl 0.03 0.02 -0.04",
}


def density_basis(geometry: str, charge: int = 0) -> tuple[gto.Mole, gto.Mole]:
    """The molecule with its orbital basis and with its density basis."""
    orbitals = gto.M(atom=geometry, basis="6-31g(2df,p)", charge=charge, spin=None, verbose=0)
    return orbitals, df.make_auxmol(orbitals, df.aug_etb(orbitals, beta=2.5))


def attraction(orbitals: gto.Mole, density: gto.Mole) -> np.ndarray:
    """-Σ_C Z_C ∫ ω_μ / |r - C|: the nuclei as Gaussians too narrow to matter."""
    both = gto.conc_mol(density, gto.fakemol_for_charges(orbitals.atom_coords(), expnt=1e16))
    potential = both.intor("int2c2e", shls_slice=(0, density.nbas, density.nbas, both.nbas))
    return -potential @ orbitals.atom_charges()


def moments(density: gto.Mole) -> dict[str, np.ndarray]:
    """∫ω, ∫rω, ∫rrω by overlap with a constant: an s function without exponent."""
    flat = gto.M(atom="X 0 0 0", basis={"X": [[0, [0.0, 1.0]]]}, verbose=0)
    flat._env[flat._bas[0, gto.PTR_COEFF]] = 1.0  # not normalised
    both = gto.conc_mol(density, flat)
    part = (0, density.nbas, density.nbas, both.nbas)
    root = np.sqrt(4 * np.pi)  # the constant is 1/√4π
    first = root * both.intor("int1e_r", shls_slice=part)[..., 0].T
    second = root * both.intor("int1e_rr", shls_slice=part)[..., 0].T.reshape(-1, 3, 3)
    return {"charges": root * both.intor("int1e_ovlp", shls_slice=part)[:, 0], "dipoles": first, "quadrupoles": second}


def integrals(geometry: str) -> dict[str, np.ndarray]:
    """What `ergodica.dft.gaussians.integrals` computes."""
    orbitals, density = density_basis(geometry)
    return {
        "numbers": orbitals.atom_charges(),
        "positions": orbitals.atom_coords(),
        "overlap": density.intor("int1e_ovlp")[:, ::STRIDE],
        "coulomb": density.intor("int2c2e")[:, ::STRIDE],
        "external": attraction(orbitals, density),
        **moments(density),
    }


LIBXC = {"tf": "LDA_K_TF", "vw": "GGA_K_VW", "apbe": "GGA_K_APBE", "slater": "LDA_X", "pw92": "LDA_C_PW_MOD",
         "pbe-x": "GGA_X_PBE", "pbe-c": "GGA_C_PBE"}  # fmt: skip


def libxc() -> dict[str, np.ndarray]:
    """Energy per volume and its derivatives by ρ and σ, from thin to thick densities."""
    rho = np.repeat(np.logspace(-6, 3, 19), 7)
    sigma = np.tile([0.0, 1e-3, 0.1, 1.0, 3.0, 10.0, 100.0], 19) * rho ** (8 / 3)
    gradient = np.sqrt(sigma)
    found = {"rho": rho, "sigma": sigma}
    for name, key in LIBXC.items():
        local = key.startswith("LDA")
        density = rho if local else np.stack([rho, gradient, 0 * rho, 0 * rho])
        per_electron, slopes = dft.libxc.eval_xc(key, density, deriv=1)[:2]
        found[name] = np.stack([per_electron * rho, slopes[0], 0 * rho if local else slopes[1]])
    return found


KOHN_SHAM = {
    "He": "He 0 0 0",
    "H2": "H 0 0 0; H 0 0 0.741",
    "H2O": "O 0 0 0.1173; H 0 0.7572 -0.4692; H 0 -0.7572 -0.4692",
    "CH4": "C 0 0 0; H .629 .629 .629; H -.629 -.629 .629; H -.629 .629 -.629; H .629 -.629 -.629",
    "N2": "N 0 0 0; N 0 0 1.098",
    "HF": "H 0 0 0; F 0 0 0.917",
}


def kohn_sham(geometry: str) -> dict[str, np.ndarray]:
    """Kohn-Sham energies, classical kinetic functionals on its density, the fitted density."""
    orbitals, basis = density_basis(geometry)
    solver = dft.RKS(orbitals, xc="pbe").set(conv_tol=1e-10)
    solver.grids.level = 5
    total, matrix = solver.kernel(), solver.make_rdm1()
    kinetic = np.einsum("ij,ji", orbitals.intor("int1e_kin"), matrix)
    values = dft.numint.eval_ao(orbitals, solver.grids.coords, deriv=1)
    rho = dft.numint.eval_rho(orbitals, values, matrix, xctype="GGA")
    names = ("tf", "vw", "apbe", "pbe-x", "pbe-c")
    classical = {name: integrate(name, rho, solver.grids.weights) for name in names}
    coefficients = fit(orbitals, basis, matrix)
    functions = dft.numint.eval_ao(basis, solver.grids.coords, deriv=1)
    fitted = functions @ coefficients
    classical |= {f"fit/{name}": integrate(name, fitted, solver.grids.weights) for name in names}
    dipole = solver.dip_moment(orbitals, matrix, unit="AU", verbose=0)
    found = {"numbers": orbitals.atom_charges(), "positions": orbitals.atom_coords(), "coefficients": coefficients,
             "energy": total, "kinetic": kinetic, "dipole": dipole, **classical}  # fmt: skip
    return {key: np.asarray(value) for key, value in found.items()}


def integrate(name: str, rho: np.ndarray, weights: np.ndarray) -> float:
    """∫ e(ρ, ∇ρ) with libxc; rho [4, points]."""
    density = rho[0] if LIBXC[name].startswith("LDA") else rho
    return float(np.sum(dft.libxc.eval_xc(LIBXC[name], density)[0] * rho[0] * weights))


def fit(orbitals: gto.Mole, basis: gto.Mole, matrix: np.ndarray) -> np.ndarray:
    """Least squares of [W; v] p = [(ω|ρ); tr Γ V]."""
    three = df.incore.aux_e2(orbitals, basis, "int3c2e")
    target = np.einsum("ijk,ij->k", three, matrix)
    energy = np.einsum("ij,ij", orbitals.intor("int1e_nuc"), matrix)
    stacked = np.vstack([basis.intor("int2c2e"), attraction(orbitals, basis)])
    return np.linalg.lstsq(stacked, np.append(target, energy), rcond=None)[0]


def main() -> None:
    """All of it."""
    found: dict[str, Any] = {}
    for name, geometry in MOLECULES.items():
        found |= {f"{name}/{key}": value for key, value in integrals(geometry).items()}
    found |= {f"libxc/{key}": value for key, value in libxc().items()}
    for name, geometry in KOHN_SHAM.items():
        found |= {f"ks/{name}/{key}": value for key, value in kohn_sham(geometry).items()}
    np.savez_compressed(sys.argv[1], **found)


if __name__ == "__main__":
    main()
