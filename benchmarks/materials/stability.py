"""Does molecular dynamics of random crystals stay in one piece?

    python benchmarks/materials/stability.py crystals.extxyz -m m3gnet-universal -o stability.json

Crystals are drawn from the file with a fixed seed and repeated to at least 16 atoms. 20 ps of Langevin dynamics (BAOAB,
Leimkuhler and Matthews 2013; 2 fs, friction 1/(200 fs)) at constant volume: at 300 K in the cell of the file, and at
3000 K in the cell compressed evenly to 100 GPa by the model. All crystals move together, in common batches. A crystal
counts as stable if no two atoms ever came closer than 0.5 of the sum of their covalent radii, the kinetic temperature,
averaged over 50 fs, never exceeded 2.5 times the thermostat's, and all numbers stayed finite.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from ase.data import atomic_masses
from models import model_of
from tqdm import tqdm

from ergodica.elements import COVALENT_RADII
from ergodica.files import atomic_write, read_structures
from ergodica.neighbors import find_edges
from ergodica.properties.eos import scaled
from ergodica.properties.evaluation import Evaluate, evaluator
from ergodica.properties.harmonic import supercell_multiples
from ergodica.system import Labels, System
from ergodica.units import EV_PER_A3_IN_GPA, FS, KB

TIMESTEP = 2.0 * FS
FRICTION = 1 / (200.0 * FS)
LOOK_EVERY = 25
CLOSEST, HOTTEST = 0.5, 2.5


@dataclass
class Walker:
    """One crystal under way."""

    system: System
    temperature: float
    rng: np.random.Generator
    velocities: np.ndarray = field(init=False)
    forces: np.ndarray = field(init=False)
    heat: list[float] = field(default_factory=list)
    reason: str = ""

    def __post_init__(self) -> None:
        self.masses = atomic_masses[self.system.numbers][:, None]
        self.velocities = self._noise() * np.sqrt(KB * self.temperature / self.masses)

    def _noise(self) -> np.ndarray:
        return self.rng.standard_normal((len(self.system), 3))

    def drift(self) -> None:
        """Kick, drift, noise, drift: the part of a step before the new forces."""
        self.velocities += 0.5 * TIMESTEP * self.forces / self.masses
        keep = np.exp(-FRICTION * TIMESTEP)
        moved = 0.5 * TIMESTEP * self.velocities
        self.velocities = keep * self.velocities + self._noise() * np.sqrt(
            (1 - keep**2) * KB * self.temperature / self.masses
        )
        moved += 0.5 * TIMESTEP * self.velocities
        self.system = replace(self.system, positions=self.system.positions + moved)

    def kick(self, forces: np.ndarray) -> None:
        """The second half of the kick."""
        self.forces = forces
        self.velocities += 0.5 * TIMESTEP * forces / self.masses
        self.heat.append(float((self.masses * self.velocities**2).mean() / KB))

    def look(self) -> None:
        """Say what is wrong, if anything is."""
        if not np.isfinite(self.system.positions).all() or not np.isfinite(self.forces).all():
            self.reason = "not finite"
        elif np.mean(self.heat[-LOOK_EVERY:]) > HOTTEST * self.temperature:
            self.reason = f"heated to {np.mean(self.heat[-LOOK_EVERY:]):.0f} K"
        elif closest(self.system) < CLOSEST:
            self.reason = "atoms fused"


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


def walk(evaluate: Evaluate, systems: list[System], temperature: float, steps: int) -> list[str]:
    """What happened to each: nothing (an empty string), or the reason why it was stopped and when."""
    walkers = [Walker(system, temperature, np.random.default_rng([k])) for k, system in enumerate(systems)]
    for walker, labels in zip(walkers, evaluate(systems, stress=False), strict=True):
        walker.forces = labels.forces
    active = list(walkers)
    for step in tqdm(range(1, steps + 1), desc=f"{temperature:g} K"):
        for walker in active:
            walker.drift()
        for walker, labels in zip(active, evaluate([w.system for w in active], stress=False), strict=True):
            walker.kick(labels.forces)
        if step % LOOK_EVERY == 0:
            for walker in active:
                walker.look()
                if walker.reason:
                    walker.reason += f" after {step * TIMESTEP / FS / 1000:.1f} ps"
            active = [walker for walker in active if not walker.reason]
            if not active:
                break
    return [walker.reason for walker in walkers]


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
    evaluate = evaluator(model_of(options.model), "float32")
    steps = round(options.ps * 1000 * FS / TIMESTEP)
    names = [system.to_ase().get_chemical_formula() for system in systems]
    results: dict[str, dict[str, str]] = {}
    for label, temperature, crystals in (
        ("300 K", 300.0, systems),
        ("3000 K, 100 GPa", 3000.0, compressed(evaluate, systems, 100.0)),
    ):
        found = walk(evaluate, crystals, temperature, steps)
        pairs = enumerate(zip(names, found, strict=True))
        results[label] = {f"{k} {name}": why or "stable" for k, (name, why) in pairs}
        print(f"{label}: {sum(not why for why in found)} of {len(found)} stable")
        if options.output:
            atomic_write(options.output, json.dumps({"ps": options.ps, **results}, indent=1).encode())


if __name__ == "__main__":
    main()
