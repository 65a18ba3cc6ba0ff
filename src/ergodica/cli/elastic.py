"""`ergodica elastic`: elastic constants and moduli of crystals."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter

from ergodica.cli.common import Flag
from ergodica.cli.crystals import DEFAULTS, CrystalOptions, Drawing, named, row_of, table
from ergodica.cli.study import Study, studied
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
) -> int:
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

    compute, rows = partial(library_elastic, options=options), partial(row_of, KEYS)
    study = Study("elastic constants", "Elastic constants", compute, _draw, COLUMNS, rows, _alone)
    return studied(common, items, study)[1]


def _alone(record: dict[str, Any]) -> tuple[tuple[str, str], list[Any], str]:
    constants = [(f"{name} / GPa", f"{value:.2f}") for name, value in record["independent_GPa"].items()]
    return ("", record["formula"]), constants + table(record), ""


def _draw(result: Any, title: str) -> Drawing:
    from ergodica.properties.plots import plot_elastic

    return Drawing({"elastic": plot_elastic(result, title)}, {})
