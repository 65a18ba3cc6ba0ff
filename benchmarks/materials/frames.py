"""Forces, stresses and energies of several models on the same labelled frames, group by group.

    python benchmarks/materials/frames.py frames.npz -m m3gnet-universal -m chgnet -m sevenn

Forces in MatterSim's own metric, the mean length of the error of an atom's force. Energies are compared after a fit of
one reference energy an element on all frames, for every model alike (CHGNet's carry the corrections of the Materials
Project). A calculator that fails on a frame is left without that frame, and the number of those is stated.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from models import model_of, parser_of, report

from ergodica.errors import WorkFailed
from ergodica.files import read_structures
from ergodica.properties.evaluation import Evaluate, evaluator
from ergodica.system import Labels, System
from ergodica.training.data import fit_reference
from ergodica.units import EV_PER_A3_IN_GPA


def answers(evaluate: Evaluate, systems: Sequence[System], batched: bool) -> list[Labels | None]:
    """What the model says of every frame, None where it fails."""
    if batched:
        return list(evaluate(systems))
    found: list[Labels | None] = []
    for system in systems:
        try:
            found += evaluate([system])
        except WorkFailed as error:
            print(error)
            found.append(None)
    return found


def errors_of(systems: Sequence[System], found: Sequence[Labels]) -> dict[str, float]:
    """Errors over these frames; energies per atom, their reference taken off already."""
    forces = np.concatenate([np.asarray(f.forces) - s.labels.forces for f, s in zip(found, systems, strict=True)])
    stress = [f.stress - s.labels.stress for f, s in zip(found, systems, strict=True) if s.labels.stress is not None]
    energy = [(f.energy - s.labels.energy) / len(s) for f, s in zip(found, systems, strict=True)]
    return {
        "frames": len(systems),
        "forces_mean_norm_error_eV_per_A": float(np.linalg.norm(forces, axis=1).mean()),
        "stress_mae_GPa": float(np.abs(stress).mean()) * EV_PER_A3_IN_GPA,
        "energy_mae_meV_per_atom": float(np.abs(energy).mean()) * 1000,
    }


def with_fitted_reference(systems: Sequence[System], found: Sequence[Labels]) -> list[Labels]:
    """The answers with energies shifted, element by element, to those of the labels."""
    shift = fit_reference(systems, [s.labels.energy - f.energy for f, s in zip(found, systems, strict=True)])
    symbols = [system.to_ase().get_chemical_symbols() for system in systems]
    return [
        Labels(one.energy + sum(shift[symbol] for symbol in own), one.forces, one.stress)
        for one, own in zip(found, symbols, strict=True)
    ]


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--by", default="group", help="entry of the info that names the group")
    options = parser.parse_args()
    systems = read_structures(str(options.file))
    groups = sorted({str(system.info[options.by]) for system in systems})
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name in options.model:
        model = model_of(name)
        every = answers(evaluator(model, "float32"), systems, hasattr(model, "config"))
        pairs = [(s, f) for s, f in zip(systems, every, strict=True) if f is not None]
        known, found = [s for s, _ in pairs], with_fitted_reference([s for s, _ in pairs], [f for _, f in pairs])
        results[name] = {
            group: errors_of(*zip(*((s, f) for s, f in zip(known, found, strict=True)
                                    if group in (str(s.info[options.by]), "all")), strict=True))
            for group in (*groups, "all")
        }  # fmt: skip
    columns = ("forces_mean_norm_error_eV_per_A", "stress_mae_GPa", "energy_mae_meV_per_atom", "frames")
    rows = [("model", "forces", "stress", "energy", "frames", "group")]
    for name, own in results.items():
        rows += [(name, *(one[column] for column in columns), group) for group, one in own.items()]
    report(results, rows, options.output)


if __name__ == "__main__":
    main()
