"""Relaxation of atoms and cells, through ASE's optimisers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.config import check_keys
from ergodica.dynamics.options import RelaxOptions
from ergodica.errors import ErgodicaError, InputError, WorkFailed
from ergodica.system import Labels, System, as_systems
from ergodica.units import GPA

if TYPE_CHECKING:
    from ase import Atoms

    from ergodica.potentials.potential import Potential

__all__ = ["Relaxed", "iter_relaxed", "relax"]

Structure = Any
Report = Callable[[int, float], None]


@dataclass(frozen=True)
class Relaxed:
    """A relaxed structure.

    Attributes:
        system: the structure, its labels the model's energy, forces and stress.
        converged: whether forces (and stress, with the cell) came below the limit.
        steps: steps taken.
        fmax: largest force on an atom, eV/Å.
    """

    system: System
    converged: bool
    steps: int
    fmax: float


def relax(
    potential: Potential,
    structures: System | Atoms | Sequence[System | Atoms],
    options: RelaxOptions | None = None,
    **changes: Any,
) -> list[Relaxed]:
    """Relax structures one after the other.

    Args:
        potential: the model.
        structures: one or many.
        options: how.
        changes: fields of `RelaxOptions` by name, such as `cell=True, fmax=1e-3`.

    Returns:
        the relaxed structures in the order given; one that did not converge says so.

    Raises:
        InputError: an element the model does not know, or `cell` for a structure that is not fully periodic.
    """
    return list(iter_relaxed(potential, as_systems(structures), options, **changes))


def iter_relaxed(
    potential: Potential,
    systems: Sequence[System],
    options: RelaxOptions | None = None,
    report: Report | None = None,
    **changes: Any,
) -> Iterator[Relaxed]:
    """Like `relax`, one result at a time; `report` is called with step and largest force, eV/Å."""
    check_keys(RelaxOptions, changes, "relax")
    options = replace(options or RelaxOptions(), **changes)
    for system in systems:  # all are looked at before the first is worked on
        potential.check_elements(system.numbers, system.name)
        if options.cell and not system.is_bulk:
            raise InputError(f"{system.name} is not periodic in three directions: its cell can't be relaxed.")
    from ergodica.calculators import Calculator

    calculator = Calculator(potential, precision=options.precision)
    for system in systems:
        yield _relax_one(calculator, system, options, report)


def _relax_one(calculator: Any, system: System, options: RelaxOptions, report: Report | None) -> Relaxed:
    from ase.filters import FrechetCellFilter

    atoms = system.to_ase()
    atoms.calc = calculator
    target = FrechetCellFilter(atoms, scalar_pressure=options.pressure * GPA) if options.cell else atoms
    optimizer = _optimizer(options.optimizer)(target, logfile=None)
    converged = False
    try:
        for state in optimizer.irun(fmax=options.fmax, steps=options.steps):
            converged = bool(state)
            if report:
                report(optimizer.nsteps, _largest(atoms.get_forces()))
    except ErgodicaError as error:
        if optimizer.nsteps == 0:
            raise  # the structure itself is at fault
        raise WorkFailed(f"The relaxation of {system.name} went astray at step {optimizer.nsteps}: {error}") from error
    forces = atoms.get_forces()
    labels = Labels(atoms.get_potential_energy(), forces, atoms.get_stress(voigt=False) if system.is_bulk else None)
    relaxed = replace(system, positions=atoms.positions, cell=atoms.cell.array, labels=labels)
    return Relaxed(relaxed, converged, int(optimizer.nsteps), _largest(forces))


def _largest(forces: np.ndarray) -> float:
    return float(np.linalg.norm(forces, axis=1).max())


def _optimizer(name: str) -> Any:
    from ase import optimize

    known = {"FIRE": optimize.FIRE, "LBFGS": optimize.LBFGS, "BFGS": optimize.BFGS}
    if name.upper() not in known:
        raise InputError(f"There is no optimizer '{name}': choose one of {', '.join(known)}.")
    return known[name.upper()]
