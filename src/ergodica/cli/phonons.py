"""`ergodica phonons`: bands, density of states and thermal functions of crystals."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from ergodica.cli.common import Flag
from ergodica.cli.crystals import DEFAULTS, CrystalOptions, Displacements, Drawing, named, row_of, table
from ergodica.cli.output import say
from ergodica.cli.study import Study, studied
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

    compute = partial(library_phonons, options=options)
    study = Study("phonons", "Phonons", compute, _draw, COLUMNS, partial(row_of, KEYS), _alone)
    _, code = studied(common, items, study)
    if options.relax:
        say(common, "Atoms and cell were relaxed first; --no-relax takes them as they are.")
    return code


def _alone(record: dict[str, Any]) -> tuple[tuple[str, str], list[Any], str]:
    frequencies = " ".join(f"{round(f, 3) + 0.0:.3f}" for f in record["gamma_frequencies_THz"].tolist())
    return ("", record["formula"]), [*table(record), ("frequencies at Γ / THz", frequencies)], ""


def _draw(result: Any, title: str) -> Drawing:
    from ergodica.properties.plots import plot_bands, plot_thermal

    figures = {"bands": plot_bands(result, title), "thermal": plot_thermal(result, title)}
    return Drawing(figures, {"phonopy_params.yaml": result.yaml()})
