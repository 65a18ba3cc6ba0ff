"""The teacher: any ASE calculator, asked structure by structure, its answers on disk as soon as they are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ergodica.active.options import TeacherOptions
from ergodica.errors import InputError
from ergodica.files import atomic_write, read_structures, write_structures
from ergodica.system import Labels, System

__all__ = ["Labeller", "label", "labeller_of"]

Labeller = Callable[[Sequence[System], Path], list[System]]
"""Structures, and a folder to keep the answers in → those that could be labelled, with their labels."""


def labeller_of(options: TeacherOptions) -> Labeller:
    """The labeller of an ASE calculator.

    Raises:
        InputError: there is no such calculator, or it does not take the keyword arguments.
    """
    cls = _class_of(options.calculator)
    try:
        calculator = cls(**options.kwargs)
    except Exception as error:  # a calculator may raise anything
        raise InputError(f"[teacher] '{options.calculator}' can't be made with these kwargs ({error}).") from error
    return lambda structures, folder: label(structures, calculator, folder)


def _class_of(name: str) -> Any:
    from ase.calculators.calculator import get_calculator_class

    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute) if attribute else get_calculator_class(name)
    except (ImportError, AttributeError, KeyError, ValueError) as error:
        raise InputError(
            f"[teacher] calculator '{name}' can't be imported: give a name ASE knows, such as 'emt', or "
            f"'package.module:Class' ({error})."
        ) from error


def label(structures: Sequence[System], calculator: Any, folder: Path) -> list[System]:
    """Ask an ASE calculator for energy, forces and, of crystals, stress.

    Args:
        structures: what to label.
        calculator: the teacher.
        folder: where each answer is kept; what is there already is not asked again.

    Returns:
        the structures that the teacher could label, in their order; why it failed on the others is in the folder.

    Raises:
        WorkFailed: disk full or folder not writable.
    """
    labelled = []
    for index, system in enumerate(structures):
        answer, refusal = folder / f"{index:04d}.extxyz", folder / f"{index:04d}.failed.txt"
        if not answer.exists() and not refusal.exists():
            try:
                known = _ask(calculator, system)
            except Exception as error:  # a calculator may raise anything
                atomic_write(refusal, f"{type(error).__name__}: {error}\n".encode())
                continue
            write_structures(answer, system.with_labels(known))
        if answer.exists():
            labelled += read_structures(answer)
    return labelled


def _ask(calculator: Any, system: System) -> Labels:
    from ase.calculators.calculator import PropertyNotImplementedError

    atoms = system.with_labels(Labels()).to_ase()
    atoms.calc = calculator
    energy, forces = float(atoms.get_potential_energy()), np.array(atoms.get_forces(), float)
    stress = None
    if system.is_bulk:
        try:
            stress = np.array(atoms.get_stress(voigt=False), float)
        except (PropertyNotImplementedError, NotImplementedError):
            pass
    if not np.isfinite(energy) or not np.isfinite(forces).all():
        raise ValueError("the answer is not a finite number")
    return Labels(energy, forces, stress)
