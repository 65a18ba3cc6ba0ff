"""`ergodica quasiharmonic`: thermal expansion and free energies over temperature and pressure."""

from __future__ import annotations

from typing import Any

from ergodica.cli.crystals import DEFAULTS, CrystalOptions, Drawing, finish, named
from ergodica.cli.output import emit, say
from ergodica.cli.phonons import Supercell
from ergodica.cli.predict import atoms_of
from ergodica.cli.session import CompileWatch
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


def quasiharmonic(  # noqa: PLR0913  one parameter an option
    *files: str,
    p_max: float = 0.0,
    p_step: float = 1.0,
    t_max: float = 1000.0,
    t_step: float = 10.0,
    volumes: int = 7,
    expansion: float = 1.08,
    supercell: Supercell = None,
    length: float = 10.0,
    displacement: float = 0.01,
    mesh: float = 60.0,
    symprec: float = 0.01,
    fmax: float = 1e-3,
    steps: int = 300,
    common: CrystalOptions = DEFAULTS,
) -> None:
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
    t_max
        Highest temperature, K.
    t_step
        Step of the temperatures, K.
    volumes
        Volumes at which phonons are computed, at least 5.
    expansion
        Largest volume, relative to that of the static crystal.
    supercell
        Multiples of the cell as given; by default the conventional cell is repeated up to --length.
    length
        Least distance between opposite faces of the supercell, Å.
    displacement
        How far an atom is moved, Å.
    mesh
        Length that sets the mesh of q-points, Å.
    symprec
        How far atoms may be from their symmetric places, Å.
    fmax
        Largest force allowed after a relaxation, eV/Å.
    steps
        Steps of a relaxation after which to give up.
    """
    options = QuasiharmonicOptions(
        volumes, expansion, p_max, p_step, t_max, t_step, supercell, length, displacement, mesh, symprec, fmax, steps,
        common.precision,
    )  # fmt: skip
    common.begin()
    items = named(files)
    from ergodica.properties.quasiharmonic import quasiharmonic as library_quasiharmonic

    potential = common.load()
    with CompileWatch(atoms_of(items), common.quiet) as watch:
        found = library_quasiharmonic(potential, [item.system for item in items], options)
    records = finish(common, items, found, _draw, "Quasi-harmonic free energies")
    if len(records) > 1:
        emit(common, records, ("file", "index", "formula", *COLUMNS), [row for r in records for row in _rows(r)])
    else:
        emit(common, records[0], COLUMNS, [row[3:] for row in _rows(records[0])], "At zero pressure")
    say(common, f"{potential.info.name}: {watch.summary()}")


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
