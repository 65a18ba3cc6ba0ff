"""`ergodica phonons`: bands, density of states and thermal functions of crystals."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ergodica.cli.common import Flag
from ergodica.cli.crystals import DEFAULTS, CrystalOptions, Displacements, Drawing, Outcome, finish, named, table
from ergodica.cli.output import emit, say
from ergodica.cli.predict import atoms_of
from ergodica.cli.session import CompileWatch
from ergodica.properties.options import PhononOptions

__all__ = ["phonons"]

COLUMNS = ("file", "index", "formula", "lowest / THz", "highest / THz", "imaginary", "Cv(300 K) / J/mol/K")
KEYS = ("min_frequency_THz", "max_frequency_THz", "imaginary_modes", "heat_capacity_300K_J_per_mol_K")


MOVES = Displacements()


def phonons(
    *files: str,
    no_relax: Flag = False,
    mesh: float = 100.0,
    t_max: float = 1000.0,
    t_step: float = 10.0,
    how: Displacements = MOVES,
    common: CrystalOptions = DEFAULTS,
) -> int:
    """Phonons of every crystal in the files, relaxed first; thermal functions are per mole of primitive cells.

    Splitting of polar modes at Γ (the non-analytical correction) needs Born charges and is left out.

    Parameters
    ----------
    files
        Anything ASE reads, with many frames allowed; - is stdin (extxyz).
    no_relax
        Take atoms and cell as they are, with a warning if they are not at rest.
    mesh
        Length that sets the mesh of q-points, Å: N = mesh · |a*| along each reciprocal vector.
    t_max
        Highest temperature, K.
    t_step
        Step of the temperatures, K.
    """
    options = PhononOptions(
        relax=not no_relax, mesh=mesh, t_max=t_max, t_step=t_step, precision=common.precision, **asdict(how)
    )
    common.begin()
    items = named(files)
    from ergodica.properties.phonons import phonons as library_phonons

    potential, outcome = common.load(), Outcome(common, items)
    with CompileWatch(atoms_of(items), common.quiet) as watch:
        found = library_phonons(potential, [item.system for item in items], options, failed=outcome)
    if options.relax:
        say(common, "Atoms and cell were relaxed first; --no-relax takes them as they are.")
    records = finish(common, outcome.left, found, _draw, "Phonons", len(items) > 1)
    if len(items) > 1:
        rows: list[Any] = [[r[key] for key in ("file", "index", "formula", *KEYS)] for r in records]
        emit(common, records, COLUMNS, rows)
    else:
        rows = [
            *table(records[0]),
            ("frequencies at Γ / THz", " ".join(f"{round(f, 3) + 0.0:.3f}" for f in found[0].gamma.tolist())),
        ]
        emit(common, records[0], ("", records[0]["formula"]), rows)
    say(common, f"{potential.info.name}: {watch.summary()}")
    return outcome.code


def _draw(result: Any, title: str) -> Drawing:
    from ergodica.properties.plots import plot_bands, plot_thermal

    figures = {"bands": plot_bands(result, title), "thermal": plot_thermal(result, title)}
    return Drawing(figures, {"phonopy_params.yaml": result.yaml()})
