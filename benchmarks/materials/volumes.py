"""Equilibrium volumes and bulk moduli of elemental crystals beside all-electron PBE.

    python benchmarks/materials/volumes.py acwf_pbe_allelectron_eos.json.gz -m m3gnet-universal -m chgnet

The 71 elements of the Delta test (H to Rn without At and the lanthanides La to Yb), each in the cubic structure that it
has at room temperature according to ASE's table, and in fcc where that is not bcc, fcc, diamond or simple cubic. The
file holds V0 and B0 of FLEUR and WIEN2k (Bosoni et al., Nat. Rev. Phys. 6, 45, 2024), without magnetism.
"""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
from ase.data import chemical_symbols, reference_states
from models import model_of, parser_of, report

from ergodica.errors import ErgodicaError
from ergodica.potentials import Potential
from ergodica.properties.eos import eos, scaled
from ergodica.system import System

ELEMENTS = [z for z in range(1, 87) if not 57 <= z <= 70 and z != 85]
CUBIC = {"bcc": "BCC", "fcc": "FCC", "diamond": "Diamond", "sc": "SC"}


def crystals(rows: list[dict[str, Any]]) -> list[tuple[System, dict[str, Any]]]:
    """The crystal of every element at its all-electron volume, and its row."""
    named = {row["name"]: row for row in rows if row["set"] == "unaries"}
    found = []
    for z in ELEMENTS:
        structure, symbol = CUBIC.get((reference_states[z] or {}).get("symmetry", ""), "FCC"), chemical_symbols[z]
        row = named[f"{symbol}-X/{structure}"]
        system = System(row["numbers"], row["positions"], row["cell"], (True,) * 3, name=f"{symbol} {structure}")
        found.append((scaled(system, row["V0_per_atom"] * len(system)), row))
    return found


def knows(model: Any, system: System) -> bool:
    """Whether an Ergodica model has seen the elements."""
    return isinstance(model, Potential) and set(system.to_ase().symbols) <= set(model.info.elements)


def minima(model: Any, chosen: list[tuple[System, dict[str, Any]]]) -> dict[str, Any]:
    """Volume and bulk modulus of each crystal, and how far they are off."""
    try:
        found = eos(model, [system for system, _ in chosen], relax="none")
    except ErgodicaError as error:
        return {system.name: {"failed": str(error)} for system, _ in chosen}
    results: dict[str, Any] = {}
    for (system, row), one in zip(chosen, found, strict=True):
        if one.fit is None:
            results[system.name] = {"failed": "no minimum"}
            continue
        volume, bulk = one.fit.v0 / len(system), one.fit.b0
        results[system.name] = {
            "V0_A3": volume,
            "B0_GPa": bulk,
            "V0_error": volume / row["V0_per_atom"] - 1,
            "B0_error": bulk / row["B0_GPa"] - 1,
        }
    return results


def main() -> None:
    options = parser_of(__doc__).parse_args()
    chosen = crystals(json.loads(gzip.open(options.file).read())["data"])
    results: dict[str, Any] = {}
    for name in options.model:
        model = model_of(name)
        known = [one for one in chosen if knows(model, one[0])]
        alone = [[one] for one in chosen if not knows(model, one[0])]
        together = [known, *alone] if isinstance(model, Potential) else [[one] for one in chosen]
        results[name] = {key: value for part in together for key, value in minima(model, part).items()}
    rows: list[tuple[Any, ...]] = [("model", "median |dV/V|", "mean", "median |dB/B|", "crystals", "failed")]
    for name, own in results.items():
        good = [one for one in own.values() if "failed" not in one]
        volume, bulk = (np.abs([one[f"{key}0_error"] for one in good]) for key in "VB")
        failed = len(own) - len(good)
        rows.append((name, float(np.median(np.append(volume, [np.inf] * failed))), float(volume.mean()),
                     float(np.median(bulk)), len(own), failed))  # fmt: skip
    report(results, rows, options.output)


if __name__ == "__main__":
    main()
