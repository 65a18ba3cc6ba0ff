"""Forces, stresses and energies of several models on the same labelled frames, group by group.

    python benchmarks/materials/frames.py frames.npz -m m3gnet-universal -m chgnet -m sevenn

Forces in MatterSim's own metric, the mean length of the error of an atom's force, and as the root mean square of the
components. Energies are compared after a robust fit of one reference energy an element on all frames, for all models
(CHGNet's carry the corrections of the Materials Project), unless --raw. A model that lacks an element or fails is
left without the frame; the number of frames is stated. `--without train.npz` leaves out frames that are also there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from models import model_of, parser_of, report

from ergodica.datasets.partition import groups
from ergodica.errors import WorkFailed
from ergodica.files import read_structures
from ergodica.potentials import Potential
from ergodica.properties.evaluation import evaluator
from ergodica.system import Labels, System
from ergodica.units import EV_PER_A3_IN_GPA


def answers(model: Any, systems: Sequence[System]) -> list[Labels | None]:
    """What the model says of every frame, None where it fails or lacks an element."""
    evaluate = evaluator(model, "float32")
    if isinstance(model, Potential) and model.info.elements:
        known = [set(s.to_ase().symbols) <= set(model.info.elements) for s in systems]
        told = iter(evaluate([s for s, knows in zip(systems, known, strict=True) if knows]))
        return [next(told) if knows else None for knows in known]
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
    both = [(f.stress, s.labels.stress) for f, s in zip(found, systems, strict=True)]
    stress = [ours - theirs for ours, theirs in both if ours is not None and theirs is not None] or [np.nan]
    energy = [(f.energy - s.labels.energy) / len(s) for f, s in zip(found, systems, strict=True)]
    return {
        "frames": len(systems),
        "forces_mean_norm_error_eV_per_A": float(np.linalg.norm(forces, axis=1).mean()),
        "forces_rmse_eV_per_A": float(np.sqrt((forces**2).mean())),
        "stress_mae_GPa": float(np.abs(stress).mean()) * EV_PER_A3_IN_GPA,
        "energy_mae_meV_per_atom": float(np.abs(energy).mean()) * 1000,
    }


def fingerprint(system: System) -> tuple[bytes, bytes, bytes]:
    """Equal for frames that are the same to 0.001 Å."""
    return system.numbers.tobytes(), np.round(system.cell, 3).tobytes(), np.round(system.positions, 3).tobytes()


def with_fitted_reference(systems: Sequence[System], found: Sequence[Labels]) -> list[Labels]:
    """The answers with energies shifted, element by element, to those of the labels: least absolute error an atom.

    Reweighted least squares, drawn a little to no shift, so that a few frames that are far off move nothing.
    """
    numbers = sorted({int(z) for system in systems for z in system.numbers})
    shares = np.array([[np.mean(system.numbers == z) for z in numbers] for system in systems])
    gaps = np.array([(s.labels.energy - f.energy) / len(s) for s, f in zip(systems, found, strict=True)])
    shift = np.zeros(len(numbers))
    for _ in range(50):
        weight = 1 / np.maximum(np.abs(gaps - shares @ shift), 0.001)
        normal = shares.T @ (weight[:, None] * shares) + 0.1 * np.eye(len(numbers))
        shift = np.linalg.solve(normal, shares.T @ (weight * gaps))
    moved = [len(s) * float(share @ shift) for s, share in zip(systems, shares, strict=True)]
    return [Labels(one.energy + by, one.forces, one.stress) for one, by in zip(found, moved, strict=True)]


def by_group(systems: Sequence[System], found: Sequence[Labels], by: str) -> dict[str, dict[str, float]]:
    """Errors of each group, and of all."""
    members: dict[str, list[int]] = {**groups(systems, by), "all": list(range(len(systems)))}
    return {
        group: errors_of([systems[k] for k in inside], [found[k] for k in inside]) for group, inside in members.items()
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--by", default="group", help="what makes a group: an entry of the info, or elements")
    parser.add_argument("--raw", action="store_true", help="compare energies as they are")
    parser.add_argument("--without", nargs="*", default=[], help="training files whose frames are left out")
    options = parser.parse_args()
    seen = {fingerprint(system) for file in options.without for system in read_structures(file)}
    systems = [s for s in read_structures(str(options.file)) if fingerprint(s) not in seen]
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name in options.model:
        pairs = [(s, f) for s, f in zip(systems, answers(model_of(name), systems), strict=True) if f is not None]
        known, found = [s for s, _ in pairs], [f for _, f in pairs]
        results[name] = by_group(known, found if options.raw else with_fitted_reference(known, found), options.by)
    columns = ("forces_mean_norm_error_eV_per_A", "forces_rmse_eV_per_A", "stress_mae_GPa", "energy_mae_meV_per_atom")
    rows: list[tuple[Any, ...]] = [("model", "forces, norm", "forces, rmse", "stress", "energy", "frames", "group")]
    for name, own in results.items():
        rows += [(name, *(one[column] for column in columns), one["frames"], group) for group, one in own.items()]
    report(results, rows, options.output)


if __name__ == "__main__":
    main()
