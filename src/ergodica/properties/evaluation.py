"""One way to ask for energies, forces and stresses, whatever gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from ergodica.errors import ErgodicaError, InputError, WorkFailed
from ergodica.prediction import Precision, predict
from ergodica.system import Labels, System

if TYPE_CHECKING:
    from ase.calculators.calculator import BaseCalculator

    from ergodica.neighbors import Capacity
    from ergodica.potentials.potential import Potential

__all__ = ["Evaluate", "Model", "evaluator", "require_crystals"]

Model = Any
"""A `Potential`, or an ASE calculator."""


class Evaluate(Protocol):
    """Energies, forces and (where asked for and defined) stresses of structures, in the order given."""

    def __call__(self, systems: Sequence[System], stress: bool = True) -> list[Labels]:
        """Evaluate all structures."""


def evaluator(model: Model, precision: Precision = "float64") -> Evaluate:
    """How to evaluate structures with this model.

    Args:
        model: a `Potential`, which gets all structures of a call in common batches, or an ASE calculator, which gets
            them one by one.
        precision: of the network; calculators have their own.

    Raises:
        InputError: it is neither, or a potential that does not predict energies.
    """
    from ergodica.calculators import Calculator
    from ergodica.potentials.potential import Potential

    if isinstance(model, Calculator):
        model = model.potential
    if isinstance(model, Potential):
        model.require_energies()
        return _batched(model, precision)
    if hasattr(model, "get_property") or hasattr(model, "get_potential_energy"):
        return _one_by_one(model)
    raise InputError(f"{type(model).__name__} is no model: give an Ergodica potential or an ASE calculator.")


def _batched(potential: Potential, precision: Precision) -> Evaluate:
    shapes: list[Capacity] = []

    def evaluate(systems: Sequence[System], stress: bool = True) -> list[Labels]:
        found: list[Any] = predict(potential, systems, precision=precision, shapes=shapes)
        return [Labels(one.energy, one.forces, one.stress) for one in found]

    return evaluate


def _one_by_one(calculator: BaseCalculator) -> Evaluate:
    from ase.calculators.calculator import PropertyNotImplementedError

    def one(system: System, stress: bool) -> Labels:
        bare = System(system.numbers, system.positions, system.cell, system.pbc, system.charge, info=system.info)
        atoms = bare.to_ase()
        atoms.calc = calculator
        energy, forces = float(atoms.get_potential_energy()), atoms.get_forces()
        try:
            tensor = atoms.get_stress(voigt=False) if stress and system.is_bulk else None
        except PropertyNotImplementedError:
            tensor = None
        labels = Labels(energy, forces, tensor)
        for label in ("energy", "forces", "stress"):
            labels.value(label, system.name)  # which is finite
        return labels

    def evaluate(systems: Sequence[System], stress: bool = True) -> list[Labels]:
        found = []
        for system in systems:
            try:
                found.append(one(system, stress))
            except ErgodicaError:
                raise
            except Exception as error:  # calculators raise whatever they like
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                raise WorkFailed(f"{system.name}: {type(calculator).__name__} failed ({reason}).") from error
        return found

    return evaluate


def require_crystals(systems: Sequence[System], what: str) -> None:
    """Raise `InputError` for the first structure that is not periodic in three directions, or whose atoms are held.

    Args:
        systems: the structures.
        what: what was to be computed, for the message: "elastic constants".
    """
    for system in systems:
        if not system.is_bulk:
            raise InputError(
                f"{system.name} is no crystal ({int(system.pbc.sum())} of 3 directions are periodic), so it has no "
                f"{what}: give a structure with a full cell."
            )
        if system.fixed.any():
            raise InputError(
                f"{system.name}: {int(system.fixed.sum())} of its atoms are held in place, but {what} are of a crystal "
                "whose atoms are free: take the constraints out (selective dynamics, move_mask, FixAtoms)."
            )
