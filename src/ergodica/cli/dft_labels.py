"""`ergodica dft labels` and `evaluate`: what functionals learn from, and how far off they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ergodica.cli.common import SHARED, Flag, Shared
from ergodica.cli.failures import DONE, FAILED
from ergodica.cli.inputs import read_items
from ergodica.cli.output import emit, gathered, progress, say

if TYPE_CHECKING:
    from ergodica.dft.labels.conformer import Conformer
    from ergodica.dft.run import OrbitalFree

__all__ = ["evaluate", "labels"]

UNITS = {
    "energy_mae": "_kcal_per_mol", "energy_max": "_kcal_per_mol", "relative_energy_mae": "_kcal_per_mol",
    "mean_predictor_mae": "_kcal_per_mol", "forces_mae": "_kcal_per_mol_A", "forces_rms": "_kcal_per_mol_A",
    "density_l1": "_electrons", "dipole_error": "_D", "dipole_floor": "_D",
}  # fmt: skip


@Parameter(name="*")
@dataclass(frozen=True)
class Fitting:
    """From orbitals to densities in the basis."""

    fit: Literal["stacked", "coulomb", "coulomb+external", "overlap"] = "stacked"
    """How densities are fitted."""

    keep: Literal["electrons", "dipole"] = "dipole"
    """What fitted densities have exactly: the number of electrons, or that and the dipole moment."""

    curvature: bool = True
    """Label second derivatives of the ground state, too; they make the file ten times as large."""


def labels(
    *files: str,
    count: int = 20,
    weakest: float = 0.005,
    strongest: float = 0.1,
    mixing: float = 0.4,
    fitting: Fitting = Fitting(),
    grid_level: int = 2,
    workers: int = 1,
    common: Shared = SHARED,
) -> int:
    """Label densities for training; needs pyscf. Every molecule is on disk at once; a killed command is repeated.

    Parameters
    ----------
    files
        Molecules in anything ASE reads; - is stdin (extxyz).
    count
        Densities of a molecule beside its ground state, each from one diagonalisation.
    weakest
        Least standard deviation of the random potentials' coefficients, Hartree; they grow geometrically.
    strongest
        The largest.
    mixing
        Largest share of the potential of superposed atoms in every second one.
    grid_level
        Of PySCF's grid.
    workers
        Local processes, each with one thread; 0 computes in this one.
    """
    common = common.with_default_output(Path("labels.h5"))
    assert common.output is not None
    common.start(check_output=False)
    items = read_items(files)
    from ergodica.dft.labels.conformer import LabelOptions
    from ergodica.dft.labels.many import label_conformers

    options = LabelOptions(
        count, weakest, strongest, mixing, fitting.fit, grid_level, common.seed, fitting.keep, fitting.curvature
    )
    with progress(common) as bar:
        task = bar.add_task("labelling", total=len(items))
        found = label_conformers(
            [item.system for item in items],
            common.output,
            options,
            workers,
            lambda: bar.advance(task),
            overwrite=common.overwrite,
        )
    for error in found.errors:
        say(common, error)
    record = {"path": str(common.output), **asdict(found)}
    emit(common, record, ("", "labels"), [(key, str(value)) for key, value in record.items()])
    return FAILED if found.errors else DONE


def evaluate(
    labels: Path,
    /,
    *,
    functional: Annotated[str, Parameter(alias="-f")],
    start: Literal["model", "sad", "minao"] | None = None,
    steps: int = 1000,
    force: Flag = False,
    common: Shared = SHARED,
) -> int:
    """Errors of a functional on labelled molecules after minimisation; exit code 1 if one did not converge.

    With -o a copy of the functional is written that has these errors on its card.

    Parameters
    ----------
    labels
        File written by 'ergodica dft labels'.
    functional
        A classical functional, or the name or file of a learned one.
    start
        Density to begin with.
    steps
        Evaluations of the energy after which to give up.
    force
        Try molecules of compositions that the functional was not trained on.
    """
    common.start()
    from ergodica.dft.labels.file import read_labels
    from ergodica.dft.learned.functional import load_functional, save_functional
    from ergodica.dft.minimize import MinimizeOptions
    from ergodica.dft.run import DensityOptions, iter_minimized

    conformers = read_labels(labels, second=False)
    if common.output is not None:
        learned, info = load_functional(functional)  # before anything is computed
    options = DensityOptions(functional, start=start, minimize=MinimizeOptions(steps=steps), force=force)
    minima = iter_minimized([one.system for one in conformers], options)
    record = gathered(common, "minimising", len(conformers), minima, partial(_tell, common, conformers))
    if common.output is not None:
        named = {f"test_{key}": value for key, value in record.items()}
        save_functional(common.output, learned, replace(info, errors={**info.errors, **named}))
    return DONE if record["converged"] == 1 else FAILED


def _tell(common: Shared, conformers: Sequence[Conformer], done: Sequence[tuple[int, OrbitalFree]]) -> dict[str, Any]:
    """Print the errors of what was minimised, and name what did not converge."""
    from ergodica.dft.evaluation import functional_errors

    for _, one in done:
        if not one.converged:
            say(common, f"{one.system.name}: not converged, and left out of the errors")
    errors = functional_errors([conformers[number] for number, _ in done], [one for _, one in done])
    record = {f"{key}{UNITS.get(key, '')}": value for key, value in asdict(errors).items()}
    emit(common, record, ("", "errors"), list(record.items()))
    return record
