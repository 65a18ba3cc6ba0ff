"""`ergodica quasiharmonic`: thermal expansion and free energies over temperature and pressure."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from ergodica.cli.crystals import DEFAULTS, CrystalOptions, Drawing, Expansion, named
from ergodica.cli.study import Study, studied
from ergodica.properties.options import QuasiharmonicOptions

__all__ = ["quasiharmonic"]

COLUMNS = ("T / K", "V / Å³ per atom", "α / 10⁻⁶/K", "K / GPa", "Cp / J/mol/K per atom", "G / eV per atom")
KEYS = (
    "volume_A3_per_atom",
    "thermal_expansion_per_K",
    "bulk_modulus_GPa",
    "heat_capacity_p_J_per_mol_K_per_atom",
    "gibbs_eV_per_atom",
)


EXPANSION = Expansion()


def quasiharmonic(
    *files: str,
    p_max: float = 0.0,
    p_step: float = 1.0,
    t_step: float = 10.0,
    how: Expansion = EXPANSION,
    common: CrystalOptions = DEFAULTS,
) -> int:
    """Thermal expansion, bulk modulus, heat capacity and G(T, P) of every crystal in the files.

    Phonons are computed at several volumes (quasi-harmonic approximation), atoms and cell shape relaxed at each.

    Parameters
    ----------
    files
        Anything ASE reads, with many frames allowed; - is stdin (extxyz).
    p_max
        Highest pressure, GPa.
    p_step
        Step of the pressures, GPa.
    t_step
        Step of the temperatures, K.
    """
    options = QuasiharmonicOptions(p_max=p_max, p_step=p_step, t_step=t_step, precision=common.precision, **asdict(how))
    common.begin()
    items = named(files)
    from ergodica.properties.quasiharmonic import quasiharmonic as library_quasiharmonic

    compute, columns = partial(library_quasiharmonic, options=options), ("file", "index", "formula", *COLUMNS)
    what = "quasi-harmonic free energies"
    return studied(common, items, Study(what, what.capitalize(), compute, _draw, columns, _rows, _alone))[1]


def _alone(record: dict[str, Any]) -> tuple[tuple[str, ...], list[Any], str]:
    return COLUMNS, [row[3:] for row in _rows(record)], "At zero pressure"


def _rows(record: dict[str, Any]) -> list[list[Any]]:
    """A dozen temperatures of one structure at zero pressure."""
    kelvin, zero = record["temperature_K"], record["zero_pressure"]
    chosen = range(0, len(kelvin), max(len(kelvin) // 10, 1))
    factors = {"thermal_expansion_per_K": 1e6}
    head = [record[key] for key in ("file", "index", "formula")]
    return [[*head, kelvin[k], *(zero[key][k] * factors.get(key, 1.0) for key in KEYS)] for k in chosen]


def _draw(result: Any, title: str) -> Drawing:
    from ergodica.properties.plots import plot_quasiharmonic

    return Drawing({"quasiharmonic": plot_quasiharmonic(result, title)}, {})
