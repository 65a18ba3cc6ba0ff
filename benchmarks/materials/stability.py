"""Does molecular dynamics of random crystals stay in one piece?

    python benchmarks/materials/stability.py crystals.extxyz -m m3gnet-universal -o stability.json

Crystals are drawn from the file with a fixed seed and repeated to at least 16 atoms. 20 ps of Langevin dynamics (BAOAB,
Leimkuhler and Matthews 2013; 2 fs, friction 1/(200 fs)) at constant volume: at 300 K in the cell of the file, and at
3000 K in the cell compressed evenly to 100 GPa by the model. Ten crystals at a time move side by side. A crystal
counts as stable if no two atoms ever came closer than 0.5 of the sum of their covalent radii, the kinetic temperature,
averaged over 50 fs, never exceeded 2.5 times the thermostat's, and all numbers stayed finite.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from models import model_of
from rich.progress import track

from ergodica.dynamics.engine import Engine
from ergodica.dynamics.options import MDOptions
from ergodica.elements import COVALENT_RADII
from ergodica.errors import WorkFailed
from ergodica.files import atomic_write, read_structures
from ergodica.neighbors import find_edges
from ergodica.potentials.potential import Potential
from ergodica.properties.eos import scaled
from ergodica.properties.evaluation import Evaluate, evaluator
from ergodica.properties.harmonic import supercell_multiples
from ergodica.system import Labels, System
from ergodica.trajectories.frame import Frame
from ergodica.units import EV_PER_A3_IN_GPA

TIMESTEP, LOOK_EVERY, GROUP = 2.0, 25, 10
CLOSEST, HOTTEST = 0.5, 2.5


def closest(system: System) -> float:
    """Shortest distance of two atoms in units of the sum of their covalent radii."""
    edges = find_edges(system, 2.0)
    if not len(edges.receivers):
        return np.inf
    ends = system.positions[edges.senders] + edges.shifts @ system.cell - system.positions[edges.receivers]
    radii = np.asarray(COVALENT_RADII)[system.numbers]
    return float((np.linalg.norm(ends, axis=1) / (radii[edges.senders] + radii[edges.receivers])).min())


def drawn(path: Path, count: int, atoms: int) -> list[System]:
    """Random crystals of the file, repeated until they have that many atoms."""
    everyone = [system for system in read_structures(str(path)) if len(system) <= 2 * atoms]
    chosen = np.random.default_rng(0).choice(len(everyone), count, replace=False)
    found = []
    for index in sorted(chosen):
        crystal, length = replace(everyone[index], labels=Labels()).to_ase(), 4.0
        while len(crystal) * np.prod(supercell_multiples(crystal.cell.array, length)) < atoms:
            length += 0.25
        found.append(System.from_ase(crystal.repeat(supercell_multiples(crystal.cell.array, length))))
    return found


def compressed(evaluate: Evaluate, systems: list[System], pressure: float) -> list[System]:
    """The crystals at the volume where the model's pressure is this (GPa), by bisection."""
    low, high = np.full(len(systems), 0.3), np.full(len(systems), 1.1)
    for _ in range(12):
        middle = (low + high) / 2
        cells = [scaled(s, f * s.volume) for s, f in zip(systems, middle, strict=True)]
        found = [-np.trace(labels.stress) / 3 * EV_PER_A3_IN_GPA for labels in evaluate(cells)]
        above = np.array(found) > pressure
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return [scaled(s, f * s.volume) for s, f in zip(systems, (low + high) / 2, strict=True)]


def walk(model: Potential, systems: list[System], options: MDOptions) -> list[str]:
    """What happened to each: nothing (an empty string), or the reason why it was stopped and when."""
    crowds = [np.bincount(find_edges(system, model.cutoff).receivers).max() for system in systems]
    order = np.argsort(crowds)
    reasons = [""] * len(systems)
    for start in track(range(0, len(order), GROUP), f"{options.temperature:g} K"):
        for index, reason in walked(model, {int(k): systems[k] for k in order[start : start + GROUP]}, options).items():
            reasons[index] = reason
    return reasons


def walked(model: Potential, group: dict[int, System], options: MDOptions) -> dict[int, str]:
    """The reasons why crystals of a group were stopped."""
    lost: dict[int, str] = {}
    engine, step = Engine(model, list(group.values()), options), 0
    while step < options.steps and group:
        try:
            stretch = engine.advance(LOOK_EVERY)
            heat = stretch.temperature.mean(axis=0)
        except WorkFailed:
            heat = np.full(len(group), np.nan)
        step += LOOK_EVERY
        frames = engine.frames(engine.motion)
        reasons = {
            index: wrong(frame, float(kelvin), options.temperature)
            for index, frame, kelvin in zip(group, frames, heat, strict=True)
        }
        if np.isnan(heat).all():  # the fastest atom of all ended the block
            speeds = {index: np.abs(frame.velocities).max() for index, frame in zip(group, frames, strict=True)}
            reasons[max(speeds, key=lambda index: speeds[index])] = "an atom flew off"
        bad = {index: reason for index, reason in reasons.items() if reason}
        if bad:
            lost |= {index: f"{reason} after {step * options.timestep / 1000:.1f} ps" for index, reason in bad.items()}
            kept = {index: frame for index, frame in zip(group, frames, strict=True) if index not in bad}
            group = {index: replace(frame.system, labels=Labels()) for index, frame in kept.items()}
            if group:
                momenta = np.concatenate([frame.momenta for frame in kept.values()])
                engine = Engine(model, list(group.values()), replace(options, seed=step), momenta=momenta)
    return lost


def wrong(frame: Frame, heat: float, temperature: float) -> str:
    """What is wrong with a crystal, if anything is."""
    if not np.isfinite(frame.system.positions).all():
        return "not finite"
    if heat > HOTTEST * temperature:
        return f"heated to {heat:.0f} K"
    return "atoms fused" if closest(frame.system) < CLOSEST else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--atoms", type=int, default=16)
    parser.add_argument("--ps", type=float, default=20.0)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    systems = drawn(options.file, options.count, options.atoms)
    model = model_of(options.model)
    evaluate = evaluator(model, "float32")
    steps = round(options.ps * 1000 / TIMESTEP)
    names = [system.to_ase().get_chemical_formula() for system in systems]
    results: dict[str, dict[str, str]] = {}
    for label, temperature, crystals in (
        ("300 K", 300.0, systems),
        ("3000 K, 100 GPa", 3000.0, compressed(evaluate, systems, 100.0)),
    ):
        run = MDOptions("langevin", temperature, timestep=TIMESTEP, steps=steps, thermostat_time=200.0)
        found = walk(model, crystals, run)
        pairs = enumerate(zip(names, found, strict=True))
        results[label] = {f"{k} {name}": why or "stable" for k, (name, why) in pairs}
        print(f"{label}: {sum(not why for why in found)} of {len(found)} stable")
        if options.output:
            atomic_write(options.output, json.dumps({"ps": options.ps, **results}, indent=1).encode())


if __name__ == "__main__":
    main()
