"""The tour: energies and forces, a relaxation and molecular dynamics of ethanol with a shipped model, as one HTML page.

python examples/demo.py -o demo-output
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import ase.io
import numpy as np
from ase.build import molecule
from ase.visualize.plot import plot_atoms
from matplotlib.figure import Figure

from ergodica import load, predict, relax, simulate
from ergodica.files import atomic_write
from ergodica.report.page import Section, render_page

MODEL = "visnet-rmd17"


def picture(atoms: ase.Atoms) -> Figure:
    figure = Figure(figsize=(1.9, 1.6), layout="constrained")
    axes = figure.subplots()
    plot_atoms(atoms, axes, rotation="20x,30y,0z")
    axes.set_axis_off()
    return figure


def single_point(potential, atoms) -> Section:
    (found,) = predict(potential, atoms)
    table = {
        "model": f"{potential.info.name} ({potential.info.level_of_theory})",
        "energy": f"{found.energy:.4f} eV",
        "largest force": f"{np.linalg.norm(found.forces, axis=1).max():.3f} eV/Å",
    }
    command = f"ase build CH3CH2OH ethanol.xyz && ergodica predict ethanol.xyz -m {MODEL}"
    return Section("Energy and forces", "", table, [picture(atoms)], command)


def relaxation(potential, atoms) -> tuple[Section, ase.Atoms]:
    (result,) = relax(potential, atoms, fmax=0.01)
    relaxed = result.system.to_ase()
    table = {
        "steps": str(result.steps),
        "energy": f"{result.system.labels.energy:.4f} eV",
        "largest force": f"{result.fmax:.4f} eV/Å",
        "C-C, C-O, O-H": ", ".join(f"{relaxed.get_distance(a, b):.3f} Å" for a, b in ((0, 1), (1, 2), (2, 3))),
    }
    return Section("Relaxation", "", table, [picture(relaxed)], "ergodica relax ethanol.xyz -o relaxed.xyz"), relaxed


def dynamics(potential, atoms, folder: Path, steps: int) -> Section:
    path = folder / "ethanol.traj"
    path.unlink(missing_ok=True)
    started = time.perf_counter()
    result = simulate(potential, atoms, ensemble="nve", temperature=300, steps=steps, every=10, trajectory=path)
    seconds = time.perf_counter() - started
    frames = ase.io.read(path, index=":")
    picoseconds = np.arange(len(frames)) * 10 * 0.5e-3
    kinetic = np.array([frame.get_kinetic_energy() for frame in frames])
    potential_energy = np.array([frame.get_potential_energy() for frame in frames])
    total = kinetic + potential_energy
    figure = Figure(figsize=(8, 3), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(picoseconds, potential_energy - total[0], lw=0.9, label="potential")
    left.plot(picoseconds, total - total[0], lw=1.5, label="total")
    left.set(xlabel="time, ps", ylabel="energy, eV")
    left.legend(frameon=False)
    torsion = [frame.get_dihedral(0, 1, 2, 3) for frame in frames]
    right.plot(picoseconds, torsion, ".", ms=3)
    right.set(xlabel="time, ps", ylabel="C-C-O-H torsion, degrees", ylim=(0, 360))
    table = {
        "steps": f"{steps} of 0.5 fs in {seconds:.0f} s",
        "mean temperature": f"{result.temperature:.0f} K",
        "energy drift": f"{result.energy_drift:.3f} meV/atom/ps" if result.energy_drift is not None else "-",
    }
    command = f"ergodica md relaxed.xyz --ensemble nve --temperature 300 --steps {steps}"
    return Section("Molecular dynamics at constant energy", "", table, [figure], command)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-output"))
    parser.add_argument("--steps", type=int, default=4000, help="steps of molecular dynamics")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    potential = load(MODEL)
    ethanol = molecule("CH3CH2OH")
    first = single_point(potential, ethanol)
    print(f"predict: {first.table['energy']}")
    second, relaxed = relaxation(potential, ethanol)
    print(f"relax:   {second.table['energy']} after {second.table['steps']} steps")
    third = dynamics(potential, relaxed, options.output, options.steps)
    print(f"md:      {third.table['steps']}, drift {third.table['energy drift']}")
    page = options.output / "tour.html"
    atomic_write(page, render_page("Ergodica: a tour with ethanol", [first, second, third]))
    print(f"page:    {page}")


if __name__ == "__main__":
    main()
