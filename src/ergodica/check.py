"""Is a potential what physics demands? Symmetries, derivatives, continuity, conservation of energy, dimers.

Each check names the structures it wants computed (`Probe`) and judges the predictions; all structures of a run go
through `predict` together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ergodica.elements import SYMBOLS
from ergodica.errors import ErgodicaError, InputError
from ergodica.potentials.architecture import ModelConfig, Wrapped
from ergodica.potentials.potential import Potential
from ergodica.potentials.sum import SumConfig
from ergodica.prediction import Precision, Prediction, predict
from ergodica.report.checks import Check, Report
from ergodica.report.probes import TURN, default_structures, moved, supercell
from ergodica.system import System, as_systems

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Dimer", "check_model", "dimer_curves"]

NVE_STEPS, NVE_STEP_FS, NVE_KELVIN = 1000, 0.25, 300.0
DISTANCES: Float[np.ndarray, " D"] = np.round(np.arange(0.5, 6.0001, 0.1), 10)
"""Separations of the dimers, Å."""
MOST_PAIRS = 55
"""All pairs of up to ten elements; beyond that, each element with itself."""


@dataclass(frozen=True)
class Limits:
    """What still counts as equal in one precision, and the steps of finite differences that suit it.

    Attributes:
        symmetry: deviation relative to the largest of the compared numbers (at least 1 eV, 1 eV/Å).
        derivative: of forces and stress from finite differences, likewise relative.
        step: displacement, Å, or strain of the finite differences.
        jump_energy: unexplained change of energy across the cut-off, eV.
        jump_force: change of a force across the cut-off, eV/Å.
        across: distance from the cut-off on both sides, Å.
        drift: of the energy in NVE dynamics, meV/atom/ps.
    """

    symmetry: float
    derivative: float
    step: float
    jump_energy: float
    jump_force: float
    across: float
    drift: float


LIMITS: dict[Precision, Limits] = {
    "float64": Limits(1e-9, 1e-6, 1e-4, 1e-8, 1e-3, 1e-6, 2.0),
    "float32": Limits(1e-4, 3e-2, 4e-3, 1e-4, 1e-2, 1e-4, 5.0),
}


@dataclass(frozen=True)
class Probe:
    """A check to be: the structures it wants computed and what it makes of their predictions."""

    systems: Sequence[System]
    judge: Callable[[Sequence[Prediction]], Check]


@dataclass(frozen=True)
class Dimer:
    """Energy of a pair of elements along its distance, relative to the two free atoms.

    Attributes:
        elements: the two symbols.
        energies: eV, at `DISTANCES`.
        minima: number of local minima deeper than 10 meV.
        repulsive_below: the energy falls with distance from the shortest distance up to this one, Å.
    """

    elements: tuple[str, str]
    energies: Float[np.ndarray, " D"]
    minima: int
    repulsive_below: float


def check_model(
    potential: Potential,
    structures: System | Atoms | Sequence[System | Atoms] | None = None,
    precision: Precision = "float64",
    plots: str | Path | None = None,
) -> Report:
    """Put a potential to the test.

    Args:
        potential: the model; it must predict energies.
        structures: what to test on; a small molecule and a small crystal of the model's elements by default.
        precision: of the network; limits follow it.
        plots: file to write the dimer curves to (PNG).

    Raises:
        InputError: the model predicts something else than energies, or does not know an element of the structures.
    """
    if potential.config.head != "energy":
        raise InputError(
            f"Model '{potential.info.name}' predicts '{potential.config.head}': only energies can be checked."
        )
    systems = default_structures(potential.info.elements) if structures is None else as_systems(structures)
    limits = LIMITS[precision]
    probes = [
        *_symmetries(potential, systems, limits),
        *_derivatives(systems, limits),
        _cutoff(potential, systems[0], limits),
    ]
    found = predict(potential, [s for probe in probes for s in probe.systems], precision=precision)
    checks, start = [], 0
    for probe in probes:
        checks.append(probe.judge(found[start : start + len(probe.systems)]))  # type: ignore[arg-type]
        start += len(probe.systems)
    checks.append(_nve(potential, systems[0], precision, limits.drift))
    dimers = dimer_curves(potential, precision)
    if plots is not None:
        _plot(dimers, Path(plots), potential.info.name)
    return Report((*checks, *_dimer_checks(dimers)))


def _symmetries(potential: Potential, systems: Sequence[System], limits: Limits) -> list[Probe]:
    """One probe a symmetry, over all structures."""
    rng = np.random.default_rng(0)
    mirror = TURN @ np.diag([1.0, 1.0, -1.0])
    turn, mirror = (m * sign for m, sign in ((TURN, np.linalg.det(TURN)), (mirror, np.linalg.det(mirror) * -1)))
    orders = [rng.permutation(len(s)) for s in systems]
    images = [rng.integers(-2, 3, (len(s), 3)) * s.pbc for s in systems]
    periodic = [s for s in systems if s.is_bulk]

    def probe(name: str, bases: Sequence[System], others: Sequence[System], expected: Expectation) -> Probe:
        def judge(found: Sequence[Prediction]) -> Check:
            half = len(bases)
            errors = [
                _deviation(potential, system, *expected(k, found[k]), found[half + k]) for k, system in enumerate(bases)
            ]
            advice = f"The energy must not depend on the {name}; check the network (or its precision: try float64)."
            return Check.within(name, max(errors), limits.symmetry, "relative", advice)

        return Probe([*bases, *others], judge)

    same: Expectation = lambda _, plain: (plain.energy, plain.forces)  # noqa: E731
    pairs = list(zip(systems, orders, strict=True))
    probes = [
        probe("rotation", systems, [moved(s, turn) for s in systems], lambda _, p: (p.energy, p.forces @ turn.T)),
        probe("reflection", systems, [moved(s, mirror) for s in systems], lambda _, p: (p.energy, p.forces @ mirror.T)),
        probe("translation", systems, [moved(s, None, rng.normal(size=3) * 9) for s in systems], same),
        probe(
            "permutation",
            systems,
            [_permuted(s, order) for s, order in pairs],
            lambda k, p: (p.energy, p.forces[orders[k]]),
        ),
    ]
    if any(s.pbc.any() for s in systems):
        shifted = [moved(s, None, i @ s.cell) for s, i in zip(systems, images, strict=True)]
        probes.append(probe("choice of image", systems, shifted, same))
    if periodic:
        doubled = [supercell(s) for s in periodic]
        probes.append(probe("supercell", periodic, doubled, lambda _, p: (2 * p.energy, np.tile(p.forces, (2, 1)))))
    return probes


Expectation = Callable[[int, Prediction], tuple[float, Float[np.ndarray, "N 3"]]]
"""From the number of a structure and its prediction: energy and forces of the changed structure."""


def _permuted(system: System, order: np.ndarray) -> System:
    masses = system.own_masses[order] if system.own_masses.size else system.own_masses
    numbers, positions, fixed = system.numbers[order], system.positions[order], system.fixed[order]
    return replace(moved(system), numbers=numbers, positions=positions, fixed=fixed, own_masses=masses)


def _deviation(potential: Potential, system: System, energy: float, forces: np.ndarray, found: Prediction) -> float:
    """Largest relative deviation; reference energies, however large, don't count as size."""
    reference = potential.energy_scale.table()[system.numbers].sum() * (len(found.forces) / len(system))
    size = max(1.0, abs(energy - reference))
    pull = max(1.0, float(np.abs(forces).max()))
    return max(abs(found.energy - energy) / size, float(np.abs(found.forces - forces).max()) / pull)


def _derivatives(systems: Sequence[System], limits: Limits) -> list[Probe]:
    """Forces and stress against fourth-order central differences along random directions."""
    rng = np.random.default_rng(1)
    ways = [rng.uniform(-1, 1, size=s.positions.shape) for s in systems]
    strains = [(m + m.T) / 2 for m in rng.uniform(-1, 1, (len(systems), 3, 3))]
    steps = limits.step * np.array([1, -1, 2, -2])
    bulk = [k for k, system in enumerate(systems) if system.is_bulk]

    def slope(five: Sequence[Prediction]) -> float:
        near, far = (five[1].energy - five[2].energy), (five[3].energy - five[4].energy)
        return (8 * near - far) / (12 * limits.step)

    def forces(found: Sequence[Prediction]) -> Check:
        errors = []
        for k, way in enumerate(ways):
            five = found[5 * k : 5 * k + 5]
            exact = float((five[0].forces * way).sum())
            errors.append(abs(slope(five) + exact) / max(1.0, float(np.abs(five[0].forces).max())))
        return Check.within("forces", max(errors), limits.derivative, "relative", "Forces are not minus the gradient.")

    def stress(found: Sequence[Prediction]) -> Check:
        errors = []
        for row, k in enumerate(bulk):
            five, volume = found[5 * row : 5 * row + 5], systems[k].volume
            tensor = five[0].stress
            virial = np.zeros((3, 3)) if tensor is None else tensor * volume
            errors.append(abs(slope(five) - (virial * strains[k]).sum()) / max(1.0, float(np.abs(virial).max())))
        return Check.within(
            "stress", max(errors), limits.derivative, "relative", "Stress is not the strain derivative."
        )

    displaced = [t for s, w in zip(systems, ways, strict=True) for t in (s, *(moved(s, None, h * w) for h in steps))]
    strained = [t for k in bulk for t in (systems[k], *(moved(systems[k], np.eye(3) + h * strains[k]) for h in steps))]
    return [Probe(displaced, forces), *([Probe(strained, stress)] if bulk else [])]


def _cutoff(potential: Potential, system: System, limits: Limits) -> Probe:
    """An atom is put in front of the outermost one, just inside and just outside the spheres of interaction."""
    outermost = int(system.positions[:, 0].argmax())
    parts, ends = _parts(potential.config), []
    radii = {part.cutoff for part in parts} | {getattr(part, "threebody_cutoff", part.cutoff) for part in parts}
    for radius, sign in product(sorted(radii), (-1, 1)):
        place = system.positions[outermost] + [radius + sign * limits.across, 0, 0]
        positions = np.concatenate([system.positions, place[None]])
        ends.append(System(np.append(system.numbers, system.numbers[0]), positions, name="crossing the cut-off"))

    def judge(found: Sequence[Prediction]) -> Check:
        energies, forces = [], []
        for inside, outside in zip(found[::2], found[1::2], strict=True):
            work = (inside.forces[-1, 0] + outside.forces[-1, 0]) * limits.across
            energies.append(abs(outside.energy - inside.energy + work))
            forces.append(float(np.abs(outside.forces - inside.forces).max()))
        energy, force = max(energies), max(forces)
        passed = energy <= limits.jump_energy and force <= limits.jump_force
        figure = (
            f"energy {energy:.1e} eV (limit {limits.jump_energy:.0e}), "
            f"force {force:.1e} eV/Å (limit {limits.jump_force:.0e})"
        )
        published = not all(getattr(part, "smooth", True) for part in parts)
        remedy = "retrain with smooth = true" if published else "take a longer cut-off, if the model lets you choose it"
        advice = f"The energy jumps when an atom crosses the cut-off, so dynamics will drift: {remedy}."
        return Check("cut-off", bool(passed), figure, "" if passed else advice)

    return Probe(ends, judge)


def _parts(config: ModelConfig) -> list[ModelConfig]:
    """The networks and terms that a model is made of, each with a cut-off of its own."""
    if isinstance(config, SumConfig):
        return [*_parts(config.model), *config.terms]
    return _parts(config.inner) if isinstance(config, Wrapped) else [config]


def _nve(potential: Potential, system: System, precision: Precision, limit: float) -> Check:
    """Drift of the total energy in a short run of velocity Verlet."""
    from ase import units
    from ase.md.verlet import VelocityVerlet

    from ergodica.calculators import Calculator

    atoms = system.to_ase()
    atoms.calc = Calculator(potential, precision=precision)
    masses = atoms.get_masses()[:, None]
    momenta = np.random.default_rng(0).normal(size=(len(atoms), 3)) * np.sqrt(masses * units.kB * NVE_KELVIN)
    atoms.set_momenta(momenta - masses / masses.sum() * momenta.sum(axis=0))
    energies: list[float] = []
    dynamics = VelocityVerlet(atoms, NVE_STEP_FS * units.fs)
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
    advice = "Energy is not conserved: shorten the time step, use float64, or mend the checks above first."
    try:
        dynamics.run(NVE_STEPS)
    except ErgodicaError as error:
        return Check("energy drift", False, f"the run broke off at step {len(energies)}: {error}", advice)
    quarter = len(energies) // 4
    change = float(np.mean(energies[-quarter:]) - np.mean(energies[:quarter]))  # the ends averaged over many vibrations
    picoseconds = 0.75 * NVE_STEPS * NVE_STEP_FS * 1e-3
    return Check.within("energy drift", abs(change) * 1e3 / len(atoms) / picoseconds, limit, "meV/atom/ps", advice)


def dimer_curves(potential: Potential, precision: Precision = "float64") -> list[Dimer]:
    """Energy over distance for the pairs of the model's elements."""
    elements = potential.info.elements or ("H", "C", "O")
    pairs = list(combinations_with_replacement(elements, 2))
    if len(pairs) > MOST_PAIRS:
        pairs = [(one, one) for one in elements]
    numbers = [np.array([SYMBOLS.index(a), SYMBOLS.index(b)]) for a, b in pairs]
    systems = [System(z, np.array([[0, 0, 0], [r, 0, 0]]), name="dimer") for z in numbers for r in DISTANCES]
    apart = [System(z, np.array([[0, 0, 0], [2 * potential.cutoff, 0, 0]]), name="free atoms") for z in numbers]
    energies = [p.energy for p in predict(potential, systems + apart, precision=precision)]  # type: ignore[union-attr]
    curves = np.array(energies[: len(systems)]).reshape(len(pairs), -1) - np.array(energies[len(systems) :])[:, None]
    return [_dimer(pair, curve) for pair, curve in zip(pairs, curves, strict=True)]


def _dimer(pair: tuple[str, str], curve: Float[np.ndarray, " D"]) -> Dimer:
    rising = np.flatnonzero(np.diff(curve) > 0)
    inner = curve[1:-1]
    lower = np.minimum(np.maximum.accumulate(curve)[:-2], np.maximum.accumulate(curve[::-1])[::-1][2:]) - inner
    minima = int(((inner < curve[:-2]) & (inner <= curve[2:]) & (lower > 0.01)).sum())
    return Dimer(pair, curve, minima, float(DISTANCES[rising[0]] if rising.size else DISTANCES[-1]))


def _dimer_checks(dimers: Sequence[Dimer]) -> list[Check]:
    """Warnings, not failures: a model of molecules near equilibrium has never seen two atoms collide."""
    from ase.data import covalent_radii

    def name(dimer: Dimer) -> str:
        return "-".join(dimer.elements)

    def closest(dimer: Dimer) -> float:
        return 0.6 * sum(covalent_radii[SYMBOLS.index(symbol)] for symbol in dimer.elements)

    soft = [name(d) for d in dimers if d.repulsive_below < max(closest(d), DISTANCES[1])]
    wavy = [name(d) for d in dimers if d.minima > 1]
    total = len(dimers)
    return [
        Check(
            "repulsion",
            not soft,
            f"{total - len(soft)} of {total} pairs repel below 0.6 bond lengths"
            + (f"; not {' '.join(soft)}" if soft else ""),
            "Atoms may fuse in hot or compressed systems: stay near the training data." if soft else "",
            required=False,
        ),
        Check(
            "dimer minima",
            not wavy,
            f"{total - len(wavy)} of {total} pairs have at most one minimum"
            + (f"; not {' '.join(wavy)}" if wavy else ""),
            "Free pairs may be bound at wrong distances: do not use the model for gases of atoms." if wavy else "",
            required=False,
        ),
    ]


def _plot(dimers: Sequence[Dimer], path: Path, title: str) -> None:
    """One small panel a pair."""
    from matplotlib.figure import Figure

    from ergodica.pictures import write_picture

    columns = min(len(dimers), 4)
    rows = -(-len(dimers) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.4 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels[len(dimers) :]:
        panel.set_axis_off()
    for panel, dimer in zip(panels, dimers, strict=False):
        panel.axhline(0, color="0.8", linewidth=0.8)
        panel.plot(DISTANCES, dimer.energies)
        low = min(float(dimer.energies.min()), -0.1)
        panel.set_ylim(1.2 * low, -3 * low)  # the well, not the wall
        panel.set_title("–".join(dimer.elements))
    figure.supxlabel("distance / Å")
    figure.supylabel("energy / eV")
    figure.suptitle(f"Dimers of {title}")
    write_picture(path, figure)
