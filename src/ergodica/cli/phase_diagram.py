"""`ergodica phase-diagram`: which of two polymorphs is stable where."""

from __future__ import annotations

from dataclasses import asdict

from ergodica.cli.crystals import DEFAULTS, CrystalOptions, Drawing, Expansion, named, table, write_folder
from ergodica.cli.output import emit, say
from ergodica.cli.predict import atoms_of
from ergodica.cli.session import CompileWatch
from ergodica.errors import InputError
from ergodica.properties.options import QuasiharmonicOptions

__all__ = ["phase_diagram"]


EXPANSION = Expansion()


def phase_diagram(
    first: str,
    second: str,
    /,
    *,
    p_max: float = 10.0,
    p_step: float = 0.5,
    t_step: float = 20.0,
    how: Expansion = EXPANSION,
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
    t_step
        Step of the temperatures, K.
    """
    options = QuasiharmonicOptions(p_max=p_max, p_step=p_step, t_step=t_step, precision=common.precision, **asdict(how))
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
        write_folder(common, {title: Drawing(figures, {})}, [record], "Phase diagram", several=False)
    rows = [(f"boundary at {t:g} K", f"{p:.4g} GPa") for t, p in found.boundary]
    emit(common, record, ("", "phase diagram"), table(record) + rows[:: max(len(rows) // 20, 1)])
    say(common, f"{potential.info.name}: {watch.summary()}")
