"""`ergodica dft`: orbital-free densities of molecules, and Kohn-Sham's beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ergodica._extras import require
from ergodica.cli.common import SHARED, Flag, Shared
from ergodica.cli.failures import DONE, FAILED
from ergodica.cli.inputs import Item, read_items
from ergodica.cli.output import emit, progress, say
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.dft.labels.reference import KohnSham
    from ergodica.dft.run import OrbitalFree
    from ergodica.system import System

__all__ = ["evaluate", "ks", "labels", "minimize", "scan"]

UNITS = {
    "energy_mae": "_kcal_per_mol", "energy_max": "_kcal_per_mol", "relative_energy_mae": "_kcal_per_mol",
    "mean_predictor_mae": "_kcal_per_mol", "forces_mae": "_kcal_per_mol_A", "forces_rms": "_kcal_per_mol_A",
    "density_l1": "_electrons", "dipole_error": "_D", "dipole_floor": "_D",
}  # fmt: skip
MARKS = ("converged", "extrapolated")
"""What is said in a file of a structure that can't be trusted."""
COLUMNS = ("file", "index", "formula", "converged", "iterations", "energy / Ha", "gradient norm", "Kohn-Sham / Ha")


@Parameter(name="*")
@dataclass(frozen=True)
class Stopping:
    """When a minimisation ends."""

    tolerance: float = 3e-5
    """Norm of the projected gradient at which the density has converged, over the root of the number of electrons,
    Hartree."""

    steps: int = 1000
    """Evaluations of the energy after which to give up."""


@Parameter(name="*")
@dataclass(frozen=True)
class Wanted:
    """What is computed besides energy, forces and moments."""

    reference: Flag = False
    """The Kohn-Sham solution, for comparison; needs pyscf."""

    charges: Flag = False
    """Hirshfeld charges of the atoms."""

    stability: Flag = False
    """The lowest curvature of the energy, which is negative at a saddle."""


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


def minimize(
    *files: str,
    functional: Annotated[str, Parameter(alias="-f")] = "tf+vw/9",
    xc: str | None = None,
    start: Literal["model", "sad", "minao"] | None = None,
    stopping: Stopping = Stopping(),
    force: Flag = False,
    wanted: Wanted = Wanted(),
    common: Shared = SHARED,
) -> int:
    """Minimise the density of every molecule in the files; exit code 1 if one did not converge.

    Parameters
    ----------
    files
        Molecules in anything ASE reads; - is stdin (extxyz).
    functional
        Kinetic functional: tf, vw (exact for two electrons), tf+vw, tf+vw/5, tf+vw/9 or apbe; or the name of a learned
        one that comes with the package, or its file.
    xc
        Exchange and correlation beside a classical functional: pbe (the default), lda or none.
    start
        Density to begin with: superposed PBE atoms (sad), minimal orbitals (minao) or what a learned functional
        expects (model), which is its default.
    force
        Try a learned functional on molecules of a composition it was not trained on.
    """
    common.start(kind="structures")
    items = read_items(files)
    from ergodica.dft.functionals import KINETIC
    from ergodica.dft.minimize import MinimizeOptions
    from ergodica.dft.run import (
        DensityOptions,
        atomic_charges,
        check_system,
        electrons_of,
        minimize_density,
        softest_direction,
    )

    if xc is not None and functional not in KINETIC:
        raise InputError(f"'{functional}' brings its own exchange and correlation: leave --xc out.")
    options = DensityOptions(
        functional, xc or "pbe", start, minimize=MinimizeOptions(stopping.tolerance, stopping.steps), force=force
    )
    if wanted.reference:
        require("pyscf", "dft")
    for item in items:  # bad input is told before anything is computed
        electrons_of(item.system)
        check_system(options, item.system)
    with progress(common) as bar:
        task = bar.add_task("minimising", total=len(items))
        systems = [item.system for item in items]
        found = minimize_density(systems, options, lambda done: bar.update(task, completed=done))
    solved = [_solve(item) if wanted.reference else None for item in items]
    records = [_record(item, one, other) for item, one, other in zip(items, found, solved, strict=True)]
    for record, one in zip(records, found, strict=True):
        if wanted.charges:
            record["charges_e"] = atomic_charges(one)
        if wanted.stability:
            softest = softest_direction(one, options)
            known = softest.residual < abs(softest.relative)
            record["lowest_curvature_Ha"] = float(softest.hartree) if known else None
    _finish(common, records, found)
    lost = sum(not one.converged for one in found)
    say(common, f"{options.name}: {len(found) - lost} of {len(found)} converged")
    return FAILED if lost + _unsolved(common, solved) else DONE


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
    from ergodica.dft.evaluation import evaluate_functional
    from ergodica.dft.labels.file import read_labels
    from ergodica.dft.learned.functional import load_functional, save_functional
    from ergodica.dft.minimize import MinimizeOptions
    from ergodica.dft.run import DensityOptions

    conformers = read_labels(labels)
    if common.output is not None:
        learned, info = load_functional(functional)  # before anything is computed
    options = DensityOptions(functional, start=start, minimize=MinimizeOptions(steps=steps), force=force)
    with progress(common) as bar:
        task = bar.add_task("minimising", total=len(conformers))
        found = evaluate_functional(conformers, options, lambda done: bar.update(task, completed=done))
    record = {f"{key}{UNITS.get(key, '')}": value for key, value in asdict(found).items()}
    if common.output is not None:
        named = {f"test_{key}": value for key, value in record.items()}
        save_functional(common.output, learned, replace(info, errors={**info.errors, **named}))
    emit(common, record, ("", "errors"), list(record.items()))
    return DONE if found.converged == 1 else FAILED


def scan(
    file: str,
    /,
    *,
    dihedral: tuple[int, int, int, int],
    points: int = 13,
    functional: Annotated[str, Parameter(alias="-f")],
    force: Flag = False,
    reference: Flag = False,
    common: Shared = SHARED,
) -> int:
    """Turn a dihedral by a full circle, everything else rigid, and minimise the density at every angle.

    Parameters
    ----------
    file
        One molecule in anything ASE reads.
    dihedral
        Four atoms, counted from 0; the last and all that hangs on it turn about the two in the middle.
    points
        Angles from 0 to 360 degrees.
    functional
        A classical functional, or the name or file of a learned one.
    force
        Try a learned functional on a molecule of a composition it was not trained on.
    reference
        Solve the Kohn-Sham equations beside it; needs pyscf.
    """
    common.start(kind="picture")
    items = read_items([file])
    from ergodica.dft.run import DensityOptions, minimize_density
    from ergodica.dft.scan import turned

    if len(items) > 1:
        raise InputError(f"'{file}' holds {len(items)} structures and a scan is of one: say which, as in '{file}@0'.")
    angles, systems = turned(items[0].system, dihedral, points)
    if reference:
        require("pyscf", "dft")
    found = minimize_density(systems, DensityOptions(functional, force=force))
    others = [_solve(Item(file, 0, system)) if reference else None for system in systems]
    records = [
        {
            "angle_degrees": angle,
            "energy_Ha": one.energy,
            "converged": one.converged,
            "reference_Ha": None if other is None else other.energy,
            "reference_converged": None if other is None else other.converged,
        }
        for angle, one, other in zip(angles, found, others, strict=True)
    ]
    if common.output is not None:
        from ergodica.dft.scan import plot_scan

        plot_scan(common.output, records)
    columns = ("angle / degrees", "energy / Ha", "converged", "Kohn-Sham / Ha")
    emit(common, records, columns, [list(record.values())[: len(columns)] for record in records])
    return FAILED if _unsolved(common, others) or not all(one.converged for one in found) else DONE


def ks(*files: str, common: Shared = SHARED) -> int:
    """Solve the Kohn-Sham equations (PBE/6-31G(2df,p)) of every molecule; exit code 1 if one did not converge.

    Parameters
    ----------
    files
        Molecules in anything ASE reads; - is stdin (extxyz).
    """
    common.start(kind="structures")
    items = read_items(files)
    from ergodica.dft.electrons import electrons_of

    for item in items:  # bad input is told before anything is computed
        electrons_of(item.system)
    solved = []
    with progress(common) as bar:
        task = bar.add_task("Kohn-Sham", total=len(items))
        for item in items:
            solved.append(_solve(item))
            bar.advance(task)
    records = [
        {**item.head, "iterations": one.cycles, **_solution(one)} for item, one in zip(items, solved, strict=True)
    ]
    _finish(common, records, solved)
    return DONE if all(one.converged for one in solved) else FAILED


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


def _solve(item: Item) -> KohnSham:
    from ergodica.dft.labels.reference import kohn_sham

    return kohn_sham(item.system)


def _unsolved(common: Shared, solved: Sequence[KohnSham | None]) -> int:
    """How many Kohn-Sham solutions did not converge; says so."""
    count = sum(one is not None and not one.converged for one in solved)
    if count:
        say(common, f"Kohn-Sham: {count} of {len(solved)} did not converge")
    return count


def _marked(one: KohnSham | OrbitalFree) -> System:
    """The structure for a file: without labels if its density did not converge, and saying what can't be trusted."""
    from ergodica.system import Labels

    info = {key: value for key, value in one.system.info.items() if key not in MARKS}  # an earlier run's
    if getattr(one, "extrapolated", False):
        info["extrapolated"] = True
    if one.converged:
        return replace(one.system, info=info)
    return replace(one.system, info=info | {"converged": False}, labels=Labels())


def _solution(one: KohnSham | OrbitalFree) -> dict[str, Any]:
    return {
        "energy_Ha": one.energy,
        "terms_Ha": one.terms,
        "converged": one.converged,
        "forces_eV_per_A": one.system.labels.forces,
        "dipole_D": one.dipole,
    }


def _record(item: Item, one: OrbitalFree, other: KohnSham | None) -> dict[str, Any]:
    return {
        **item.head,
        **_solution(one),
        "quadrupole_D_A": one.quadrupole,
        "iterations": one.iterations,
        "electron_count_error": one.electron_count_error,
        "gradient_norm": one.gradient_norm,
        "extrapolated": one.extrapolated,
        "reference": None
        if other is None
        else _solution(other) | {"density_error_electrons": other.density_error(one.coefficients)},
    }


def _finish(common: Shared, records: Sequence[dict[str, Any]], found: Sequence[KohnSham | OrbitalFree]) -> None:
    """Write the structures with their energies and forces, and print what was found."""
    if common.output is not None:
        from ergodica.files import write_structures

        write_structures(common.output, [_marked(one) for one in found])
    keys = ("file", "index", "formula", "converged", "iterations", "energy_Ha", "gradient_norm")
    rows = [[*(one.get(key) for key in keys), (one.get("reference") or {}).get("energy_Ha")] for one in records]
    emit(common, list(records) if len(records) > 1 else records[0], COLUMNS, rows)
