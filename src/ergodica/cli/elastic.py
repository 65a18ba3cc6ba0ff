"""`ergodica elastic`: elastic constants and moduli of crystals."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from ergodica.cli.common import Flag
from ergodica.cli.crystals import DEFAULTS, CrystalOptions, Drawing, finish, named, table
from ergodica.cli.output import emit, say
from ergodica.cli.predict import atoms_of
from ergodica.cli.session import CompileWatch
from ergodica.properties.options import ElasticOptions

__all__ = ["elastic"]

COLUMNS = ("file", "index", "formula", "space group", "K / GPa", "G / GPa", "E / GPa", "ν", "stable")
KEYS = ("space_group", "bulk_modulus_GPa", "shear_modulus_GPa", "young_modulus_GPa", "poisson_ratio", "stable")


def elastic(
    *files: str,
    strain: Annotated[tuple[float, ...], Parameter(negative="")] = (0.005, 0.01),
    clamped: Flag = False,
    no_relax: Flag = False,
    symprec: float = 0.01,
    fmax: float = 1e-3,
    steps: int = 300,
    common: CrystalOptions = DEFAULTS,
) -> None:
    """Elastic constants of every crystal in the files, in the axes of its conventional cell (x ∥ a, z ∥ c*).

    Parameters
    ----------
    files
        Anything ASE reads, with many frames allowed; - is stdin (extxyz).
    strain
        Amplitude, taken with both signs; several as --strain 0.005 --strain 0.01.
    clamped
        Do not relax the atoms of the strained cells.
    no_relax
        Take atoms and cell as they are, with a warning if they are not at rest.
    symprec
        How far atoms may be from their symmetric places, Å.
    fmax
        Largest force allowed after a relaxation, eV/Å.
    steps
        Steps of a relaxation after which to give up.
    """
    options = ElasticOptions(strain, not no_relax, clamped, symprec, fmax, steps, common.precision)
    common.begin()
    items = named(files)
    from ergodica.properties.elastic import elastic as library_elastic

    potential = common.load()
    with CompileWatch(atoms_of(items), common.quiet) as watch:
        found = library_elastic(potential, [item.system for item in items], options)
    records = finish(common, items, found, _draw, "Elastic constants")
    if len(records) > 1:
        rows: list[Any] = [[r[key] for key in ("file", "index", "formula", *KEYS)] for r in records]
        emit(common, records, COLUMNS, rows)
    else:
        constants = [(name, value) for name, value in records[0]["independent_GPa"].items()]
        rows = [(f"{name} / GPa", f"{value:.2f}") for name, value in constants] + table(records[0])
        emit(common, records[0], ("", records[0]["formula"]), rows)
    say(common, f"{potential.info.name}: {watch.summary()}")


def _draw(result: Any, title: str) -> Drawing:
    from ergodica.properties.plots import plot_elastic

    return Drawing({"elastic": plot_elastic(result, title)}, {})
