"""Write src/ergodica/dft/data/atomic_densities.json anew: python data/dft/make_atomic_densities.py (needs pyscf).

Coefficients of the s functions of neutral, spherical atoms in the density basis, with exactly Z electrons and the
least Coulomb energy of the residual. "minao": PySCF's minimal atomic orbitals, filled (its "minao" guess). "sad": atoms
of PBE/6-31G(2df,p) with occupations spread over their shells (PySCF's `atom_ks`), for superposition.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from make_density_basis import ELEMENTS
from pyscf import df, dft, gto
from pyscf.scf import atom_ks, hf

SOURCE = Path(__file__).parents[2] / "src/ergodica/dft/data/atomic_densities.json"


def fit(orbitals: gto.Mole, matrix: np.ndarray) -> list[float]:
    """Coefficients of the s functions: W p = (ω|ρ) + λ w with w·p = Z."""
    basis = df.make_auxmol(
        orbitals, {s: [f for f in shells if f[0] == 0] for s, shells in df.aug_etb(orbitals, 2.5).items()}
    )
    target = np.einsum("ijk,ij->k", df.incore.aux_e2(orbitals, basis, "int3c2e"), matrix)
    exponents = np.array([basis.bas_exp(shell)[0] for shell in range(basis.nbas)])
    charges = (2 * np.pi / exponents) ** 0.75
    coulomb = basis.intor("int2c2e")
    free, along = np.linalg.solve(coulomb, np.stack([target, charges], axis=1)).T
    electrons = orbitals.nelectron
    return [float(value) for value in free + along * (electrons - charges @ free) / (charges @ along)]


def densities(symbol: str) -> dict[str, list[float]]:
    """Both starts of one element."""
    atom = gto.M(atom=f"{symbol} 0 0 0", basis="6-31g(2df,p)", spin=None, verbose=0)
    # the density matrix of the minimal basis, in the orbital basis as PySCF's guess has it
    minao = hf.init_guess_by_minao(atom)
    solver = dft.RKS(gto.M(atom=f"{symbol} 0 0 0", basis="6-31g(2df,p)", spin=None, verbose=0), xc="pbe")
    _, _, orbitals, occupations = atom_ks.get_atm_nrks(solver.mol, xc="pbe")[symbol]
    sad = (orbitals * occupations) @ orbitals.T
    return {"minao": fit(atom, minao), "sad": fit(atom, sad)}


def main() -> None:
    """All elements of the density basis."""
    found = {symbol: densities(symbol) for symbol in ELEMENTS}
    kinds = [
        f'"{kind}": {{\n' + ",\n".join(f'  "{s}": {json.dumps(found[s][kind])}' for s in ELEMENTS) + "\n}"
        for kind in ("minao", "sad")
    ]
    about = "Coefficients of the s functions (density_basis.json) of neutral spherical atoms; electrons"
    SOURCE.write_text(f'{{"about": "{about}",\n' + ",\n".join(kinds) + "}\n")


if __name__ == "__main__":
    main()
