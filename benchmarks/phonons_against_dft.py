"""Phonons of a potential beside those of published DFT displacement forces.

    python benchmarks/phonons_against_dft.py FOLDER --model MODEL
    python benchmarks/phonons_against_dft.py FOLDER --calculator ase.calculators.emt:EMT

FOLDER holds `phonopy_dft_displacement_forces.npz` (for each crystal NAME/unit_cell, unit_scaled, unit_numbers,
super_scaled, supercell_matrix, primitive_matrix, displacements and forces, made from phonopy's own examples, BSD-3) and
`phonopy_reference_table.json` (what phonopy gives for them). First the DFT forces go through Ergodica's code and are
held against that table; then the model's forces, on the same supercells and on the model's own relaxed crystal, against
DFT. Frequencies are compared on a 20 x 20 x 20 mesh, without non-analytical correction.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from ergodica import load
from ergodica.errors import ErgodicaError
from ergodica.properties.evaluation import evaluator
from ergodica.properties.harmonic import set_forces
from ergodica.properties.relaxation import relax_together
from ergodica.system import System

MESH = (20, 20, 20)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="name or file of an Ergodica model")
    parser.add_argument("--calculator", help="ASE calculator as module:Class")
    parser.add_argument("--kwargs", type=json.loads, default={}, help="of the calculator, JSON")
    parser.add_argument("--crystals", nargs="+", default=["NaCl", "MgO", "Si"])
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    options = parser.parse_args()
    if options.model and options.calculator:
        parser.error("give --model or --calculator")
    return options


def harmonic(system: System, data: dict[str, np.ndarray]) -> Phonopy:
    """Phonopy's object with the data's supercell and displacements, for this cell."""
    fractional = system.positions @ np.linalg.inv(system.cell)
    cell = PhonopyAtoms(numbers=system.numbers, cell=system.cell, scaled_positions=fractional)
    phonon = Phonopy(cell, data["supercell_matrix"], primitive_matrix=data["primitive_matrix"])
    gaps = phonon.supercell.scaled_positions - data["super_scaled"]
    if np.abs(gaps - np.rint(gaps)).max() > 1e-3:
        raise SystemExit("the atoms of the data's supercell stand in another order than phonopy's")
    moved = [int(np.linalg.norm(d, axis=1).argmax()) for d in data["displacements"]]
    phonon.dataset = {
        "natom": len(phonon.supercell),
        "first_atoms": [
            {"number": atom, "displacement": d[atom].astype(float)}
            for atom, d in zip(moved, data["displacements"], strict=True)
        ],
    }
    return phonon


def figures(phonon: Phonopy) -> dict[str, Any]:
    """What the table has."""
    mesh = phonon.run_mesh(MESH)
    thermal = phonon.run_thermal_properties(temperatures=[300.0])
    return {
        "gamma_THz": np.asarray(phonon.run_qpoints([[0, 0, 0]]).frequencies)[0].round(4).tolist(),
        "max_freq_THz": float(mesh.frequencies.max()),
        "min_freq_THz": float(mesh.frequencies.min()),
        "Cv300_J_molK": float(thermal.heat_capacity[0]),
        "S300_J_molK": float(thermal.entropy[0]),
        "F300_kJ_mol": float(thermal.free_energy[0]),
    }


def mesh_error(phonon: Phonopy, reference: Phonopy) -> float:
    """Mean absolute deviation of all frequencies on the mesh, THz; both have the same wave vectors."""
    weights = reference.mesh.weights[:, None] * np.ones_like(reference.mesh.frequencies)
    return float(np.average(np.abs(phonon.mesh.frequencies - reference.mesh.frequencies), weights=weights))


def of_model(evaluate: Any, system: System, data: dict[str, np.ndarray]) -> Phonopy:
    """The model's phonons on this cell; forces at rest are taken off."""
    phonon = harmonic(system, data)
    rest = phonon.supercell
    perfect = System(rest.numbers, rest.positions, rest.cell, np.ones(3, bool))
    cells = [perfect, *(replace(perfect, positions=perfect.positions + d) for d in data["displacements"])]
    forces = [labels.forces for labels in evaluate(cells, stress=False)]
    set_forces(phonon, np.array(forces[1:]) - forces[0])
    figures(phonon)
    return phonon


def main() -> None:
    options = parse_arguments()
    archive = np.load(options.folder / "phonopy_dft_displacement_forces.npz", allow_pickle=False)
    table = {row["name"]: row for row in json.loads((options.folder / "phonopy_reference_table.json").read_text())}
    evaluate = None
    if options.calculator:
        module, _, name = options.calculator.partition(":")
        evaluate = evaluator(getattr(import_module(module), name)(**options.kwargs))
    elif options.model:
        evaluate = evaluator(load(options.model))
    results: dict[str, Any] = {}
    for name in options.crystals:
        data = {key.partition("/")[2]: archive[key] for key in archive.files if key.startswith(name + "/")}
        cell = data["unit_cell"]
        system = System(data["unit_numbers"], data["unit_scaled"] @ cell, cell, np.ones(3, bool), name=name)
        dft = harmonic(system, data)
        set_forces(dft, data["forces"].astype(float), sum_rule=False)
        found = figures(dft)
        keys = [key for key in found if key != "gamma_THz"]
        worst = max(abs(found[key] - table[name][key]) for key in keys)
        gamma = float(np.abs(np.array(found["gamma_THz"]) - table[name]["gamma_THz"]).max())
        results[name] = {
            "dft": found,
            "dft_table": table[name],
            "largest_deviation": worst,
            "gamma_deviation_THz": gamma,
        }
        print(f"{name:14s} DFT forces, this code against phonopy's table: Γ {gamma:.1e} THz, "
              f"ω max, ω min, Cv, S, F {worst:.1e}")  # fmt: skip
        if evaluate is None:
            continue
        try:
            results[name].update(compare(evaluate, system, data, dft))
        except ErgodicaError as error:
            print(f"{name:14s} {error}")
    if options.output:
        options.output.write_text(json.dumps(results, indent=1) + "\n")


def compare(evaluate: Any, system: System, data: dict[str, np.ndarray], dft: Phonopy) -> dict[str, Any]:
    """The model on the DFT crystal and on its own, with the frequencies' mean absolute errors."""
    set_forces(dft, data["forces"].astype(float))  # with the sum rule, as the model's
    reference = figures(dft)
    (own,) = relax_together(evaluate, [system], cell="free", fmax=1e-3, symprec=0.01)
    result: dict[str, Any] = {"relaxed_volume_ratio": own.system.volume / system.volume, "relaxed": own.converged}
    for label, crystal in (("on_dft_cell", system), ("on_own_cell", own.system)):
        phonon = of_model(evaluate, crystal, data)
        found = figures(phonon)
        mae = mesh_error(phonon, dft)
        result[label] = {**found, "frequency_mae_THz": mae}
        print(f"{system.name:14s} {label}: frequency MAE {mae:.3f} THz, ω max {found['max_freq_THz']:.3f} "
              f"(DFT {reference['max_freq_THz']:.3f}), Cv(300 K) {found['Cv300_J_molK']:.2f} "
              f"(DFT {reference['Cv300_J_molK']:.2f}) J/mol/K")  # fmt: skip
    print(f"{system.name:14s} volume of the model's crystal over DFT's: {result['relaxed_volume_ratio']:.4f}")
    return result


if __name__ == "__main__":
    main()
