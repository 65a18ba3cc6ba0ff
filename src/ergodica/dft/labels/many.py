"""Labels of many conformers: in parallel, each on disk as soon as it is known, so that a killed run is repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ergodica._extras import require
from ergodica.datasets.journal import fingerprint
from ergodica.dft.electrons import electrons_of
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.labels.conformer import Conformer, LabelOptions, label_conformer
from ergodica.dft.labels.file import LabelFile
from ergodica.errors import ErgodicaError, InputError
from ergodica.farm import pooled
from ergodica.system import System, as_systems

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["LabelCount", "label_conformers"]


@dataclass(frozen=True)
class LabelCount:
    """What a labelling run did.

    Attributes:
        known: conformers that were in the file already.
        conformers: conformers it labelled.
        labels: labels of those.
        errors: why others failed.
    """

    known: int
    conformers: int
    labels: int
    errors: tuple[str, ...]


def label_conformers(
    structures: System | Atoms | Sequence[System | Atoms],
    path: str | Path,
    options: LabelOptions | None = None,
    workers: int = 0,
    report: Callable[[], None] = lambda: None,
    *,
    overwrite: bool = False,
) -> LabelCount:
    """Label densities of conformers and append them to a file; what it holds already is not computed again.

    Args:
        structures: closed-shell molecules.
        path: the HDF5 file.
        options: how many labels, how far away.
        workers: local processes, each with one thread; 0 computes in this process.
        report: called for every conformer that is known, from the file or new.
        overwrite: replace a file that exists.

    Raises:
        InputError: PySCF is missing, a molecule can't be computed, workers are negative, or the file was made
            with other options.
        WorkFailed: the disk is full.
    """
    require("pyscf", "dft")
    options = options or LabelOptions()
    if workers < 0:
        raise InputError(f"{workers} workers are none: ask for 1 or more, or 0 to label in this process.")
    systems = as_systems(structures)
    for system in systems:
        electrons_of(system)  # bad input is told before anything is computed
        DensityBasis.of(system.numbers)
    wanted = {fingerprint(system): system for system in systems}
    errors, labels, known = [], 0, 0
    with LabelFile(path, options, overwrite, wanted) as file:
        todo = {key: system for key, system in wanted.items() if key not in file.keys}
        known = len(wanted) - len(todo)
        for _ in range(known):
            report()
        for key, found in _computed(todo, partial(_labelled, options), workers):
            if isinstance(found, str):
                errors.append(found)
            else:
                file.append(key, found)
                labels += len(found.densities.coefficients)
            report()
    return LabelCount(known, len(todo) - len(errors), labels, tuple(errors))


def _computed(
    todo: Mapping[str, System], work: Callable[[System], Conformer | str], workers: int
) -> Iterator[tuple[str, Conformer | str]]:
    if workers > 0:
        return pooled(todo, work, workers, lambda: "The process died: out of memory, or a crash of PySCF.")
    return ((key, work(system)) for key, system in todo.items())


def _labelled(options: LabelOptions, system: System) -> Conformer | str:
    """The labels of a conformer, or why there are none; its random potentials depend on nothing but itself."""
    try:
        return label_conformer(system, options, int(fingerprint(system)[:8], 16))
    except ErgodicaError as error:
        return str(error)
    except Exception as error:  # whatever PySCF stumbles over in one molecule costs no other its labels
        return f"{system.name}: {type(error).__name__}: {error}"
