"""Write src/ergodica/dft/data/density_basis.json anew: python data/dft/make_density_basis.py (needs pyscf).

The even-tempered density basis of M-OFDFT (Zhang et al., Nat. Comput. Sci. 4, 210 (2024),
doi:10.1038/s43588-024-00605-8): PySCF's generator of auxiliary functions, ratio 2.5, from the orbitals of 6-31G(2df,p).
"""

from __future__ import annotations

import json
from pathlib import Path

from pyscf import df, gto

SOURCE = Path(__file__).parents[2] / "src/ergodica/dft/data/density_basis.json"
ELEMENTS = "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar".split()


def exponents(symbol: str) -> list[list[float]]:
    """Exponents of each angular momentum, 1/Bohr², the largest first."""
    atom = gto.M(atom=f"{symbol} 0 0 0", basis="6-31g(2df,p)", spin=None, verbose=0)
    shells = df.aug_etb(atom, beta=2.5)[symbol]
    highest = max(shell[0] for shell in shells)
    return [[float(shell[1][0]) for shell in shells if shell[0] == degree] for degree in range(highest + 1)]


def main() -> None:
    """All elements that the orbital basis has."""
    about = "Exponents (1/Bohr^2) by element and angular momentum: aug_etb(beta=2.5) of 6-31G(2df,p), PySCF"
    lines = ",\n".join(f'  "{symbol}": {json.dumps(exponents(symbol))}' for symbol in ELEMENTS)
    SOURCE.write_text(f'{{"about": "{about}", "elements": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
