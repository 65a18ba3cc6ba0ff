"""`ergodica eos`: equation of state of crystals."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from ergodica.cli.crystals import DEFAULTS, CrystalOptions, Drawing, named, row_of
from ergodica.cli.failures import FAILED
from ergodica.cli.study import Study, studied
from ergodica.properties.options import EosOptions

__all__ = ["eos"]

COLUMNS = ("file", "index", "formula", "V0 / Å³ per atom", "E0 / eV per atom", "B0 / GPa", "B'", "rms / meV per atom")
KEYS = ("v0_A3_per_atom", "e0_eV_per_atom", "bulk_modulus_GPa", "bulk_modulus_derivative", "rms_residual_meV_per_atom")


def eos(
    *files: str,
    points: int = 7,
    span: float = 0.06,
    relax: Literal["shape", "atoms", "none"] = "shape",
    form: Literal["birch-murnaghan", "vinet"] = "birch-murnaghan",
    fmax: float = 1e-3,
    steps: int = 300,
    common: CrystalOptions = DEFAULTS,
) -> int:
    """Equation of state of every crystal in the files; exit code 1 if one has no minimum.

    Parameters
    ----------
    files
        Anything ASE reads, with many frames allowed; - is stdin (extxyz).
    points
        Volumes, at least 5.
    span
        Largest change of the volume to both sides, as a part of it.
    relax
        What is relaxed at each volume: cell shape and atoms, atoms alone, or nothing.
    form
        The equation that is fitted.
    fmax
        Largest force allowed after a relaxation, eV/Å.
    steps
        Steps of a relaxation after which to give up.
    """
    options = EosOptions(points, span, relax, form, fmax, steps, common.precision)
    common.begin()
    items = named(files)
    from ergodica.properties.eos import eos as library_eos

    compute, rows = partial(library_eos, options=options), partial(row_of, KEYS)
    study = Study("equation of state", "Equation of state", compute, _draw, COLUMNS, rows, _alone)
    found, code = studied(common, items, study)
    return code if all(one.found for one in found) else FAILED


def _alone(record: dict[str, Any]) -> tuple[tuple[str, ...], list[Any], str]:
    return COLUMNS, row_of(KEYS, record), ""


def _draw(result: Any, title: str) -> Drawing:
    from ergodica.properties.plots import plot_eos

    return Drawing({"eos": plot_eos(result, title)}, {})
