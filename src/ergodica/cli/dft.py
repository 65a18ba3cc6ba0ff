"""`ergodica dft minimize`, `scan` and `ks`: orbital-free densities of molecules, and Kohn-Sham's beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ergodica._extras import require
from ergodica.cli.common import SHARED, Flag, Shared
from ergodica.cli.failures import DONE, FAILED
from ergodica.cli.inputs import Item, read_items
from ergodica.cli.output import emit, progress, say
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.dft.functionals import Functional
    from ergodica.dft.labels.reference import KohnSham
    from ergodica.dft.run import DensityOptions, OrbitalFree
    from ergodica.system import System

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
    learned, solved = options.load(), _Solved(common, items)
    minima = iter_minimized([item.system for item in items], options, learned)
    with solved.telling("minimising", options.name):
        for number, one in minima:
            solved.add(number, one, _record(items[number], one, wanted, options, learned))
    return solved.code


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
    minima, records = iter_minimized(systems, DensityOptions(functional, force=force)), {}
    try:
        with progress(common) as bar:
            task = bar.add_task("turning", total=points)
            for number, one in minima:
                other = _solve(systems[number]) if reference else None
                records[number] = _scanned(angles[number], one, other)
                bar.advance(task)
    finally:  # what is known stays known when the rest is given up
        _draw(common, [records[number] for number in sorted(records)])
    return (
        DONE
        if all(one["converged"] and one["reference_converged"] in (True, None) for one in records.values())
        else FAILED
    )


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
    solved = _Solved(common, items)
    with solved.telling("solving", "Kohn-Sham"):
        for number, item in enumerate(items):
            one = _solve(item.system)
            solved.add(number, one, {**item.head, "iterations": one.cycles, **_solution(one)})
    return solved.code


@dataclass
class _Solved:
    """Molecules that are solved one after another; written and printed when all are, or when the rest is given up."""

    common: Shared
    items: Sequence[Item]
    found: dict[int, tuple[KohnSham | OrbitalFree, dict[str, Any]]] = field(default_factory=dict)

    @contextmanager
    def telling(self, verb: str, method: str) -> Iterator[None]:
        """Show how many are done while the block adds them, and the results at its end, however it ends."""
        try:
            with progress(self.common) as bar:
                task = bar.add_task(verb, total=len(self.items))
                self._advance = lambda: bar.advance(task)
                yield
        finally:
            if self.found:
                self._finish()
            good = sum(one.converged for one, _ in self.found.values())
            say(self.common, f"{method}: {good} of {len(self.items)} converged")

    def add(self, number: int, one: KohnSham | OrbitalFree, record: dict[str, Any]) -> None:
        """A molecule is solved."""
        self.found[number] = one, record
        self._advance()

    @property
    def code(self) -> int:
        """Whether everything converged, as an exit code."""
        return DONE if all(map(_converged, (record for _, record in self.found.values()))) else FAILED

    def _finish(self) -> None:
        """Write the structures with their energies and forces, and print what was found."""
        done = [self.found[number] for number in sorted(self.found)]
        if self.common.output is not None:
            from ergodica.files import write_structures

            write_structures(self.common.output, [_marked(one) for one, _ in done])
        keys = ("file", "index", "formula", "converged", "iterations", "energy_Ha", "gradient_norm")
        records = [record for _, record in done]
        rows = [[*(one.get(key) for key in keys), (one.get("reference") or {}).get("energy_Ha")] for one in records]
        emit(self.common, records if len(self.items) > 1 else records[0], COLUMNS, rows)


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


def _draw(common: Shared, records: list[dict[str, Any]]) -> None:
    """Picture and table of a scan."""
    if not records:
        return
    if common.output is not None:
        from ergodica.dft.scan import plot_scan

        plot_scan(common.output, records)
    columns = ("angle / degrees", "energy / Ha", "converged", "Kohn-Sham / Ha")
    emit(common, records, columns, [list(record.values())[: len(columns)] for record in records])
