"""Make d3.npz, the reference data of the D3 dispersion: python make_d3_data.py TAD_DFTD3 TAD_MCTC OUTPUT.

The two folders are those of the packages tad-dftd3 and tad-mctc (both Apache-2.0; 0.7.0 and 0.11.3 were taken), as
their wheels hold them; nothing in them is run. The table of C6 coefficients between all reference systems of all
elements (Grimme, Antony, Ehrlich & Krieg 2010, doi:10.1063/1.3382344, with the newer actinides of s-dftd3) is stored
as factors: an integral over products of two polarisabilities, divided by those on its diagonal, it has few eigenvalues
that matter.
"""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ergodica.potentials.torchfile import read_torch

RANK = 40
"""Eigenvalues that are kept."""
WEIGHTS = ((18, 3.0), (54, 3.0**0.5), (118, 1.0))
"""How much elements up to an atomic number count: the light ones are everywhere."""


def rows(source: str, name: str) -> list[list[float]]:
    """The numbers of the list that follows `name`, by innermost list."""
    body = source[re.search(name, source).end() :]  # type: ignore[union-attr]
    body = re.sub(r"#.*", "", body)
    body = body[: re.search(r"\n\s*\]", body).start()]  # type: ignore[union-attr]
    lists = re.findall(r"\[([^\[\]]+)\]", body) or [body.strip(" [\n")]
    return [[float(number) for number in re.findall(r"[-+]?\d+\.\d+", one)] for one in lists]


def factors(
    c6: Float[np.ndarray, "G G"], weight: Float[np.ndarray, " G"]
) -> tuple[Float[np.ndarray, "G R"], Float[np.ndarray, " R"]]:
    """F and signs s with Σ_r s_r F_gr F_hr = C6_gh."""
    size = np.sqrt(np.diag(c6)) / weight
    values, vectors = np.linalg.eigh(c6 / np.outer(size, size))
    kept = np.argsort(-np.abs(values))[:RANK]
    return size[:, None] * vectors[:, kept] * np.sqrt(np.abs(values[kept])), np.sign(values[kept])


def main() -> None:
    """Read, factorise, write."""
    dftd3, mctc, output = map(Path, sys.argv[1:])
    table = read_torch(dftd3 / "reference-c6.pt")  # [Z, Z, 7, 7], Hartree Bohr⁶
    cn = np.array(rows((dftd3 / "reference.py").read_text(), r"torch\.tensor\(\n\s*\["))
    count = len(cn)
    radii = np.array(rows((mctc / "data" / "radii.py").read_text(), r"_COV_2009 = \[")[0])[:count]
    ratios = np.array(rows((dftd3 / "data" / "r4r2.py").read_text(), r"_r4_over_r2 = \[")[0])[:count]
    z, ref = np.nonzero(cn >= 0)
    c6 = table[z[:, None], z, ref[:, None], ref]
    weight = np.array([next(one for last, one in WEIGHTS if number <= last) for number in z])
    factor, signs = factors(c6, weight)
    error = np.abs((factor * signs) @ factor.T / c6 - 1)
    print(f"{count - 1} elements, {len(z)} systems, errors of C6: {error.max():.1e} at most, {error.mean():.1e} mean")
    whole = np.zeros((*cn.shape, RANK))
    whole[z, ref] = factor
    charges = np.sqrt(0.5 * ratios * np.sqrt(np.arange(count)))
    np.savez_compressed(output, cn=cn, factors=whole, signs=signs, radii=radii, charges=charges)
    print(hashlib.sha256(output.read_bytes()).hexdigest())


if __name__ == "__main__":
    main()
