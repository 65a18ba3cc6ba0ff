"""`ergodica phase-diagram`: which of two polymorphs is stable where."""

from __future__ import annotations

from ergodica.cli.crystals import DEFAULTS, CrystalOptions, Drawing, named, table, write_folder
from ergodica.cli.output import emit, say
from ergodica.cli.phonons import Supercell
from ergodica.cli.predict import atoms_of
from ergodica.cli.session import CompileWatch
from ergodica.errors import InputError
from ergodica.properties.options import QuasiharmonicOptions

__all__ = ["phase_diagram"]


def phase_diagram(  # noqa: PLR0913  one parameter an option
    first: str,
    second: str,
    /,
    *,
    p_max: float = 10.0,
    p_step: float = 0.5,
    t_max: float = 1000.0,
    t_step: float = 20.0,
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
    """Phase diagram of two polymorphs over temperature and pressure, from quasi-harmonic free energies.

    Parameters
    ----------
    first
        File with one polymorph.
    second
        File with the other, of the same composition.
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
        Multiples of the cells as given; by default the conventional cells are repeated up to --length.
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
    items = named([first, second])
    if len(items) != 2:
        raise InputError(f"'{first}' and '{second}' hold {len(items)} structures: give two files with one each.")
    from ergodica.properties.phase_diagram import phase_diagram as library_phase_diagram
    from ergodica.properties.plots import plot_phase_diagram, plot_quasiharmonic

    potential = common.load()
    with CompileWatch(atoms_of(items), common.quiet) as watch:
        found = library_phase_diagram(potential, [item.system for item in items], options)
    for warning in found.warnings:
        say(common, f"warning: {warning}")
    record = found.to_dict()
    if common.output is not None:
        title = f"{found.first.system.name} and {found.second.system.name}, {common.model}"
        figures = {"phase-diagram": plot_phase_diagram(found, title)}
        for one in (found.first, found.second):
            figures[f"quasiharmonic-{one.system.name}"] = plot_quasiharmonic(one, one.system.name)
        write_folder(common, record, {title: Drawing(figures, {})}, [record], "Phase diagram")
    rows = [(f"boundary at {t:g} K", f"{p:.4g} GPa") for t, p in found.boundary]
    emit(common, record, ("", "phase diagram"), table(record) + rows[:: max(len(rows) // 20, 1)])
    say(common, f"{potential.info.name}: {watch.summary()}")
