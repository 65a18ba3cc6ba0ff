"""`ergodica dft minimize`, `scan` and `ks`: orbital-free densities of molecules, and Kohn-Sham's beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ergodica._extras import require
from ergodica.cli.common import SHARED, Flag, Shared
from ergodica.cli.failures import DONE, FAILED
from ergodica.cli.inputs import Item, read_items
from ergodica.cli.output import emit, gathered, say
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.dft.functionals import Functional
    from ergodica.dft.labels.reference import KohnSham
    from ergodica.dft.run import DensityOptions, OrbitalFree
    from ergodica.system import System

    _Solved = tuple[KohnSham | OrbitalFree, dict[str, Any]]

__all__ = ["ks", "minimize", "scan"]

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
    from ergodica.dft.run import DensityOptions, iter_minimized

    if xc is not None and functional not in KINETIC:
        raise InputError(f"'{functional}' brings its own exchange and correlation: leave --xc out.")
    options = DensityOptions(
        functional, xc or "pbe", start, minimize=MinimizeOptions(stopping.tolerance, stopping.steps), force=force
    )
    if wanted.reference:
        require("pyscf", "dft")
    learned = options.load()
    minima = iter_minimized([item.system for item in items], options, learned)
    results = ((number, (one, _record(items[number], one, wanted, options, learned))) for number, one in minima)
    return gathered(common, "minimising", len(items), results, partial(_finish, common, len(items), options.name))


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
    from ergodica.dft.run import DensityOptions, iter_minimized
    from ergodica.dft.scan import turned

    if len(items) > 1:
        raise InputError(f"'{file}' holds {len(items)} structures and a scan is of one: say which, as in '{file}@0'.")
    angles, systems = turned(items[0].system, dihedral, points)
    if reference:
        require("pyscf", "dft")
    minima = iter_minimized(systems, DensityOptions(functional, force=force))
    results = (
        (number, _scanned(angles[number], one, _solve(systems[number]) if reference else None))
        for number, one in minima
    )
    return gathered(common, "turning", points, results, partial(_draw, common))


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
    solved = ((number, _solve(item.system)) for number, item in enumerate(items))
    results = (
        (number, (one, {**items[number].head, "iterations": one.cycles, **_solution(one)})) for number, one in solved
    )
    return gathered(common, "solving", len(items), results, partial(_finish, common, len(items), "Kohn-Sham"))


def _finish(common: Shared, total: int, method: str, done: Sequence[tuple[int, _Solved]]) -> int:
    """Write the structures with their energies and forces, print what was found; whether all converged, as a code."""
    if common.output is not None:
        from ergodica.files import write_structures

        write_structures(common.output, [_marked(one) for _, (one, _) in done])
    keys = ("file", "index", "formula", "converged", "iterations", "energy_Ha", "gradient_norm")
    records = [record for _, (_, record) in done]
    rows = [[*(one.get(key) for key in keys), (one.get("reference") or {}).get("energy_Ha")] for one in records]
    emit(common, records if total > 1 else records[0], COLUMNS, rows)
    say(common, f"{method}: {sum(one['converged'] for one in records)} of {total} converged")
    return DONE if all(map(_converged, records)) else FAILED


def _converged(record: dict[str, Any]) -> bool:
    """A molecule, and its Kohn-Sham solution where there is one."""
    return bool(record["converged"] and (record.get("reference") or record)["converged"])


def _solve(system: System) -> KohnSham:
    from ergodica.dft.labels.reference import kohn_sham

    return kohn_sham(system)


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


def _record(
    item: Item, one: OrbitalFree, wanted: Wanted, options: DensityOptions, functional: Functional
) -> dict[str, Any]:
    """What is found of a molecule, and what is wanted beside."""
    from ergodica.dft.run import atomic_charges, softest_direction

    record = {
        **item.head,
        **_solution(one),
        "quadrupole_D_A": one.quadrupole,
        "iterations": one.iterations,
        "electron_count_error": one.electron_count_error,
        "gradient_norm": one.gradient_norm,
        "extrapolated": one.extrapolated,
        "reference": None,
    }
    if wanted.reference:
        other = _solve(item.system)
        record["reference"] = _solution(other) | {"density_error_electrons": other.density_error(one.coefficients)}
    if wanted.charges:
        record["charges_e"] = atomic_charges(one)
    if wanted.stability:
        softest = softest_direction(one, options, functional)
        known = softest.residual < abs(softest.relative)
        record["lowest_curvature_Ha"] = float(softest.hartree) if known else None
    return record


def _scanned(angle: float, one: OrbitalFree, other: KohnSham | None) -> dict[str, Any]:
    return {
        "angle_degrees": angle,
        "energy_Ha": one.energy,
        "converged": one.converged,
        "reference_Ha": None if other is None else other.energy,
        "reference_converged": None if other is None else other.converged,
        "extrapolated": one.extrapolated,
    }


def _draw(common: Shared, done: Sequence[tuple[int, dict[str, Any]]]) -> int:
    """Picture and table of a scan; whether everything converged, as an exit code."""
    records = [record for _, record in done]
    if common.output is not None:
        from ergodica.dft.scan import plot_scan

        plot_scan(common.output, records)
    columns = ("angle / degrees", "energy / Ha", "converged", "Kohn-Sham / Ha")
    emit(common, records, columns, [list(record.values())[: len(columns)] for record in records])
    good = all(one["converged"] and one["reference_converged"] in (True, None) for one in records)
    return DONE if good else FAILED
