"""Bulk and shear moduli (Voigt-Reuss-Hill) of crystals beside DFT's.

    python benchmarks/materials/moduli.py crystals.extxyz -m m3gnet-universal -m chgnet

    python benchmarks/materials/moduli.py crystals.npz --write moduli_test.npz    # the crystals, to be held out

The file names moduli `bulk_modulus_vrh` and `shear_modulus_vrh` (GPa). 200 crystals of up to 12 atoms with moduli above
5 GPa are drawn from it with a fixed seed. Structures are relaxed by each model,
then strained with relaxed atoms (`ergodica elastic`). Averages are over the crystals on which every model came to an
end and found the crystal stable; how many those are, and how many each model lost, is stated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from models import model_of, parser_of, report

from ergodica.errors import ErgodicaError
from ergodica.files import read_structures, write_structures
from ergodica.properties.elastic import elastic
from ergodica.system import System

AT_ONCE = 25
LARGEST, SOFTEST = 12, 5.0


def moduli(model: Any, systems: list[System], steps: int) -> list[dict[str, float] | None]:
    """K and G of each crystal, GPa; None where the model failed or the crystal is not stable."""
    if not hasattr(model, "config"):
        return [one for system in systems for one in _together(model, [system], steps)]
    parts = [systems[start : start + AT_ONCE] for start in range(0, len(systems), AT_ONCE)]
    return [one for part in parts for one in _together(model, part, steps)]


def _together(model: Any, systems: list[System], steps: int) -> list[dict[str, float] | None]:
    try:
        found = elastic(model, systems, fmax=0.01, steps=steps, precision="float32")
    except ErgodicaError as error:
        print(f"{systems[0].name}: {error}")
        if len(systems) == 1:
            return [None]
        return [one for system in systems for one in _together(model, [system], steps)]
    return [{"K": one.moduli.bulk, "G": one.moduli.shear} if one.stable else None for one in found]


def drawn(path: Path, count: int) -> list[System]:
    """The crystals to test."""
    systems = read_structures(str(path))
    good = [
        k
        for k, s in enumerate(systems)
        if len(s) <= LARGEST and min(s.info["bulk_modulus_vrh"], s.info["shear_modulus_vrh"]) > SOFTEST
    ]
    return [systems[k] for k in sorted(np.random.default_rng(0).permutation(good)[:count])]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--write", type=Path, help="write the crystals and stop")
    parser.add_argument("--steps", type=int, default=200, help="of a relaxation")
    options = parser.parse_args()
    systems = drawn(options.file, options.count)
    if options.write:
        write_structures(options.write, systems)
        return
    dft = [{"K": s.info["bulk_modulus_vrh"], "G": s.info["shear_modulus_vrh"]} for s in systems]
    found = {name: moduli(model_of(name), systems, options.steps) for name in options.model}
    common = [k for k in range(len(systems)) if all(own[k] is not None for own in found.values())]
    results: dict[str, Any] = {"crystals": len(systems), "common": len(common), "dft": dft, "models": {}}
    rows: list[tuple[Any, ...]] = [("model", "K MAE, GPa", "G MAE, GPa", "lost", f"of {len(common)} common")]
    for name, own in found.items():
        errors = {key: float(np.mean([abs(own[k][key] - dft[k][key]) for k in common])) for key in ("K", "G")}  # type: ignore[index]
        lost = sum(one is None for one in own)
        results["models"][name] = {"mae_GPa": errors, "lost": lost, "moduli_GPa": own}
        rows.append((name, errors["K"], errors["G"], lost, ""))
    report(results, rows, options.output)


if __name__ == "__main__":
    main()
