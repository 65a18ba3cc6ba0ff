"""Many structures relaxed side by side: every step of all of them is one call of the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ergodica.dynamics.descent import STRESS_PER_FORCE
from ergodica.dynamics.relax import Relaxed
from ergodica.dynamics.symmetry import no_symmetry
from ergodica.errors import InputError
from ergodica.properties.evaluation import Evaluate
from ergodica.system import Labels, System
from ergodica.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["STRESS_PER_FORCE", "at_rest", "relax_together"]

Cell = Literal["fixed", "shape", "free"]

RESTLESS_FORCE, RESTLESS_STRESS = 0.01, 0.5
"""A structure that is not to be relaxed gets a warning above these, eV/Å and GPa."""
LONGEST_STEP = 0.1
"""Å; a lone atom's cell then changes by no more than a tenth in a step."""


def relax_together(
    evaluate: Evaluate,
    systems: Sequence[System],
    *,
    cell: Cell = "fixed",
    fmax: float = 1e-3,
    steps: int = 300,
    symprec: float | None = None,
    stress: bool = False,
) -> list[Relaxed]:
    """Relax structures by BFGS (ASE's, with its filter for cells), all in step.

    Args:
        evaluate: from `evaluator`.
        systems: the structures.
        cell: "fixed"; "shape": at constant volume; "free": to zero stress.
        fmax: largest force allowed at the end, eV/Å; stresses must come below `STRESS_PER_FORCE` times as much.
        steps: steps after which to give up.
        symprec: keep the symmetry found within this distance, Å; needs spglib.
        stress: label the results with the stress also where the cell is fixed.

    Raises:
        InputError: the cell is to be relaxed and the model gives no stress.
    """
    walkers = [_Walker(system, cell, symprec) for system in systems]
    stress = stress or cell != "fixed"
    active = list(walkers)
    for step in range(steps + 1):
        for walker, labels in zip(active, evaluate([w.system() for w in active], stress), strict=True):
            walker.accept(labels)
        active = [walker for walker in active if not walker.converged(fmax)]
        if step == steps:
            break
        active = [walker for walker in active if walker.step()]
        if not active:
            break
    return [walker.result(fmax) for walker in walkers]


class _Walker:
    """One structure on its way down; the optimiser takes what `accept` was given for forces and stress."""

    def __init__(self, system: System, cell: Cell, symprec: float | None) -> None:
        self._start, self._cell = system, cell
        self.atoms = replace(system, labels=Labels()).to_ase()
        if symprec is not None:
            _keep_symmetry(self.atoms, symprec, system.name)
        self._optimizer: Any = None
        self._steps = 0
        self._labels = Labels()

    def system(self) -> System:
        return replace(self._start, positions=self.atoms.positions, cell=self.atoms.cell.array, labels=Labels())

    def accept(self, labels: Labels) -> None:
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.stress import full_3x3_to_voigt_6_stress

        results: dict[str, Any] = {"energy": labels.energy, "forces": labels.forces}
        if self._cell != "fixed":
            if labels.stress is None:
                raise InputError(f"{self._start.name}: the model gives no stress, so the cell can't be relaxed.")
            results["stress"] = full_3x3_to_voigt_6_stress(labels.stress)
        self._labels = labels
        self.atoms.calc = SinglePointCalculator(self.atoms, **results)

    def step(self) -> bool:
        """Move on; False when there is no way on, which must not stop the others."""
        from ase.filters import FrechetCellFilter
        from ase.optimize import BFGS

        if self._optimizer is None:
            free = {"fixed": None, "shape": {"constant_volume": True}, "free": {}}[self._cell]
            target: Any = self.atoms if free is None else FrechetCellFilter(self.atoms, **free)
            self._optimizer = BFGS(target, logfile=None, maxstep=LONGEST_STEP)
        try:
            self._optimizer.step()
        except (ArithmeticError, RuntimeError, ValueError, np.linalg.LinAlgError):
            return False
        self._steps += 1
        return True

    def converged(self, fmax: float) -> bool:
        if not self._fmax() <= fmax:
            return False
        if self._cell == "fixed":
            return True
        stress = self.atoms.get_stress(voigt=False)
        if self._cell == "shape":
            stress = stress - np.eye(3) * np.trace(stress) / 3
        return float(np.abs(stress).max()) <= STRESS_PER_FORCE * fmax

    def _fmax(self) -> float:
        return float(np.linalg.norm(self.atoms.get_forces(), axis=1).max())

    def result(self, fmax: float) -> Relaxed:
        system = self.system().with_labels(self._labels)
        return Relaxed(system, self.converged(fmax), self._steps, self._fmax())


def _keep_symmetry(atoms: Atoms, symprec: float, name: str) -> None:
    """Put atoms and cell exactly where their symmetry wants them, and keep it."""
    from ase.constraints import FixSymmetry
    from ase.spacegroup.symmetrize import refine_symmetry

    from ergodica._extras import require

    require("spglib", "phonons")
    try:
        refine_symmetry(atoms, symprec)
        atoms.set_constraint([*atoms.constraints, FixSymmetry(atoms, symprec=symprec)])
    except Exception as error:  # spglib's own errors, or its None seen through ASE, by version
        raise no_symmetry(name, symprec) from error


def at_rest(
    evaluate: Evaluate, systems: Sequence[System], relax: bool, fmax: float, steps: int, symprec: float
) -> list[tuple[System, list[str]]]:
    """The structures with the model's labels, relaxed where asked for, each with warnings if it is not at rest."""
    if relax:
        found = relax_together(evaluate, systems, cell="free", fmax=fmax, steps=steps, symprec=symprec)
        return [(one.system, [] if one.converged else [_unfinished(one)]) for one in found]
    labelled = [system.with_labels(labels) for system, labels in zip(systems, evaluate(systems), strict=True)]
    return [(system, _restless(system)) for system in labelled]


def _unfinished(one: Relaxed) -> str:
    return (
        f"The relaxation of {one.system.name} did not converge in {one.steps} steps (largest force {one.fmax:.2g} "
        "eV/Å): raise --steps, or look at the structure."
    )


def _restless(system: System) -> list[str]:
    labels = system.labels
    force = 0.0 if labels.forces is None else float(np.linalg.norm(labels.forces, axis=1).max())
    stress = 0.0 if labels.stress is None else float(np.abs(labels.stress).max()) * EV_PER_A3_IN_GPA
    if force <= RESTLESS_FORCE and stress <= RESTLESS_STRESS:
        return []
    return [
        f"{system.name} is not relaxed (largest force {force:.2g} eV/Å, largest stress {stress:.2g} GPa), so what "
        "follows is not that of the model's own crystal: relax it first."
    ]
