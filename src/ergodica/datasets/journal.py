"""The book of a labelling run: what a teacher said of each structure, on disk line by line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ergodica.datasets.teachers import Teacher
from ergodica.errors import InputError
from ergodica.files import append_line, atomic_write, read_lines
from ergodica.system import Labels, System

__all__ = ["SPIN", "Journal", "Outcome", "fingerprint"]


SPIN = {"spin", "multiplicity", "uhf", "magmom"}
"""What calculators look up in `Atoms.info` beside the charge."""


@dataclass(frozen=True)
class Outcome:
    """What a teacher said of one structure.

    Attributes:
        labels: energy, forces and stress; None when it failed.
        error: why it failed.
        seconds: time it took.
    """

    labels: Labels | None
    error: str = ""
    seconds: float = 0.0


def fingerprint(system: System) -> str:
    """A name for what a teacher is asked: elements, coordinates, cell, charge and spin, to the last digit."""
    digest = hashlib.sha1(usedforsecurity=False)
    for array in (system.numbers, system.positions, system.cell, system.pbc, np.float64(system.charge)):
        digest.update(np.ascontiguousarray(array).tobytes())
    for key in sorted(SPIN & set(system.info)):
        digest.update(f"{key}={system.info[key]!r}".encode())
    return digest.hexdigest()


class Journal:
    """Results by fingerprint: in memory, and line by line in a file.

    Args:
        path: the file; None keeps nothing.
        factory: the teacher, which a file must belong to.

    Raises:
        InputError: the file is another teacher's.
    """

    def __init__(self, path: str | Path | None, factory: Callable[[], Any]) -> None:
        self.path = None if path is None else Path(path)
        self.known: dict[str, Outcome] = {}
        self.source = {}
        if isinstance(factory, Teacher):
            self.source = {"teacher": factory.signature, "level_of_theory": factory.level_of_theory}
        if self.path is None:
            return
        head = json.dumps({**self.source, "options": getattr(factory, "options", "")})
        lines = read_lines(self.path)
        if lines and lines[0] != head:
            raise InputError(
                f"'{self.path}' holds labels of another teacher ({lines[0][:200]}): "
                "give another output or add --overwrite."
            )
        entries = [(line, _parsed(line)) for line in lines[1:]]
        good = [line for line, entry in entries if entry]  # the last may be torn by a kill
        if not lines or len(good) + 1 < len(lines):
            atomic_write(self.path, "".join(f"{line}\n" for line in [head, *good]).encode())
        self.known = {entry["key"]: self._outcome(entry) for _, entry in entries if entry}

    def missing(self, key: str, retry: bool) -> bool:
        """Whether the structure is still to be computed."""
        return key not in self.known or (retry and self.known[key].labels is None)

    def add(self, key: str, outcome: Outcome) -> None:
        """Take an outcome down."""
        entry: dict[str, Any] = {"key": key, "seconds": round(outcome.seconds, 4)}
        if outcome.labels is None:
            entry["error"] = outcome.error
        else:
            labels = outcome.labels
            entry["energy_eV"] = labels.energy
            entry["forces_eV_per_A"] = None if labels.forces is None else labels.forces.tolist()
            entry["stress_eV_per_A3"] = None if labels.stress is None else labels.stress.tolist()
        if self.path is not None:
            append_line(self.path, json.dumps(entry))
        self.known[key] = self._outcome(entry)

    def _outcome(self, entry: Mapping[str, Any]) -> Outcome:
        if "error" in entry:
            return Outcome(None, entry["error"], entry["seconds"])
        forces, stress = entry["forces_eV_per_A"], entry["stress_eV_per_A3"]
        labels = Labels(
            energy=entry["energy_eV"],
            forces=None if forces is None else np.array(forces, float),
            stress=None if stress is None else np.array(stress, float),
            **self.source,
        )
        return Outcome(labels, "", entry["seconds"])


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        return entry if isinstance(entry, dict) and {"key", "seconds"} <= set(entry) else None
    except ValueError:
        return None
