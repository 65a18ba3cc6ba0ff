"""Labelling: structures and a teacher in, labels out, each one on disk as soon as it is known."""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.datasets.journal import SPIN, Journal, Outcome, fingerprint
from ergodica.datasets.teachers import Teacher
from ergodica.errors import ErgodicaError
from ergodica.farm import farmed, pooled
from ergodica.system import Labels, System, as_systems

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Outcome", "evaluate", "label"]

CalculatorFactory = Callable[[], Any]
"""Makes an ASE calculator; picklable, and hashable by value so that a worker makes it once."""

WINDOW = 256
"""Structures handed to a foreign executor at a time."""

CHUNK = 128
"""Structures that one of Ergodica's own models predicts at a time."""


def label(
    structures: System | Atoms | Sequence[System | Atoms],
    calculator_factory: CalculatorFactory,
    *,
    journal: str | Path | None = None,
    executor: Executor | None = None,
    workers: int = 0,
    retry: bool = False,
    report: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Let a teacher label structures, in any order and process; the answers are in the order given.

    Args:
        structures: what to label; equal structures are computed once.
        calculator_factory: a `Teacher`, or whatever makes an ASE calculator.
        journal: file of results; what it holds already is not computed again, so a killed run is simply repeated.
        executor: where to compute; a worker process that dies ends the call.
        workers: local processes when there is no executor, each with one thread of OpenMP; 0 computes in this process.
            A structure that kills its process is reported as failed.
        retry: compute again what failed earlier.
        report: called with every new outcome.

    Raises:
        InputError: the journal is another teacher's.
        WorkFailed: disk full or folder not writable.
    """
    systems = as_systems(structures)
    book = Journal(journal, calculator_factory)
    keys = [fingerprint(system) for system in systems]
    todo = {key: system for key, system in zip(keys, systems, strict=True) if book.missing(key, retry)}
    for key, outcome in _computed(todo, calculator_factory, executor, workers):
        book.add(key, outcome)
        if report:
            report(outcome)
    return [book.known[key] for key in keys]


def evaluate(calculator_factory: CalculatorFactory, system: System) -> Outcome:
    """Ask the teacher about one structure; whatever goes wrong becomes the outcome's `error`."""
    began = time.perf_counter()
    try:
        labels = _ask(_made(calculator_factory), system)
    except Exception as error:  # a teacher may raise anything
        text = " ".join(str(error).split())[:300]
        return Outcome(None, f"{type(error).__name__}: {text}".rstrip(": "), time.perf_counter() - began)
    return _checked(labels, time.perf_counter() - began)


_THREAD = threading.local()


def _made(calculator_factory: CalculatorFactory) -> Any:
    """The calculator, made once in this thread: it keeps its last structure, so two threads must not share it."""
    if getattr(_THREAD, "factory", None) != calculator_factory:
        _THREAD.calculator, _THREAD.factory = calculator_factory(), calculator_factory
    return _THREAD.calculator


def _ask(calculator: Any, system: System) -> Labels:
    from ase.calculators.calculator import PropertyNotImplementedError

    atoms = system.with_labels(Labels()).to_ase()
    if system.charge:  # in ASE's own place, too: calculators look there, and for changes there alone
        atoms.set_initial_charges(np.full(len(atoms), system.charge / len(atoms)))
    if SPIN & set(system.info) and hasattr(calculator, "reset"):  # which calculators don't see when they compare
        calculator.reset()
    atoms.calc = calculator
    energy = float(atoms.get_potential_energy())
    forces = np.array(atoms.get_forces(apply_constraint=False), float)  # those of fixed atoms are labels like others
    stress = None
    if system.is_bulk:
        with contextlib.suppress(PropertyNotImplementedError, NotImplementedError):
            stress = np.array(atoms.get_stress(voigt=False), float)
    return Labels(energy, forces, stress)


def _checked(labels: Labels, seconds: float) -> Outcome:
    parts = (labels.energy, labels.forces, labels.stress)
    if all(part is None or np.isfinite(part).all() for part in parts):
        return Outcome(labels, "", seconds)
    return Outcome(None, "The answer is not a finite number.", seconds)


def _computed(
    todo: Mapping[str, System], factory: CalculatorFactory, executor: Executor | None, workers: int
) -> Iterator[tuple[str, Outcome]]:
    """Outcomes by key as they come."""
    if isinstance(factory, Teacher) and factory.is_own:
        return _predicted(todo, factory)
    if executor is not None:
        return farmed(executor, todo, partial(evaluate, factory), WINDOW)
    if workers > 0:
        return pooled(todo, partial(evaluate, factory), workers, _lost)
    return _here(todo, factory)


def _here(todo: Mapping[str, System], factory: CalculatorFactory) -> Iterator[tuple[str, Outcome]]:
    for key, system in todo.items():
        with contextlib.redirect_stdout(sys.stderr):  # stdout belongs to --json
            outcome = evaluate(factory, system)
        yield key, outcome


def _lost() -> Outcome:
    return Outcome(None, "The process died: out of memory, or a crash of the teacher.")


def _predicted(todo: Mapping[str, System], teacher: Teacher) -> Iterator[tuple[str, Outcome]]:
    """One of Ergodica's own models, many structures at a time; where a chunk fails, one by one."""
    from ergodica.potentials import load
    from ergodica.prediction import predict

    options = json.loads(teacher.options)
    potential = load(options["model"], **options.get("kwargs", {}))
    precision = options.get("precision", "float32")

    def predicted(systems: Sequence[System]) -> list[Outcome]:
        began = time.perf_counter()
        try:
            found: Any = predict(potential, systems, precision=precision)
        except ErgodicaError as error:
            if len(systems) > 1:
                return [predicted([system])[0] for system in systems]
            return [Outcome(None, str(error), time.perf_counter() - began)]
        seconds = (time.perf_counter() - began) / len(systems)
        return [Outcome(Labels(one.energy, one.forces, one.stress), "", seconds) for one in found]

    # like sizes together, so that few shapes are compiled
    keys = sorted(todo, key=lambda key: len(todo[key]))
    for start in range(0, len(keys), CHUNK):
        chunk = keys[start : start + CHUNK]
        yield from zip(chunk, predicted([todo[key] for key in chunk]), strict=True)
