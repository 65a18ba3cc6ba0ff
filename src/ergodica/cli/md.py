"""`ergodica md`: molecular dynamics of one structure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ergodica.cli.common import DEFAULTS, Common, Flag
from ergodica.cli.inputs import STDIN, formula, single_item
from ergodica.cli.output import emit, progress, say
from ergodica.cli.session import CompileWatch
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.dynamics.options import MDOptions

__all__ = ["md", "parse_time"]

UNITS = {"fs": 1.0, "ps": 1e3, "ns": 1e6}


def md(  # noqa: PLR0913  one parameter an option
    file: str,
    /,
    *,
    ensemble: Literal["nve", "langevin", "nose-hoover", "csvr", "npt"] = "langevin",
    temperature: float = 300.0,
    pressure: float = 0.0,
    timestep: float = 0.5,
    steps: int | None = None,
    time: str | None = None,
    every: int = 10,
    replicas: int = 1,
    restart: Flag = False,
    thermostat_time: float = 100.0,
    barostat_time: float = 1000.0,
    max_uncertainty: float | None = None,
    on_uncertain: Literal["stop", "collect"] = "stop",
    common: Common = DEFAULTS,
) -> None:
    """Run molecular dynamics of one structure.

    Parameters
    ----------
    file
        Anything ASE reads, with one structure; - is stdin (extxyz).
    ensemble
        Constant energy, constant temperature by one of three thermostats, or constant pressure too.
    temperature
        Of the thermostat and of the first velocities, K.
    pressure
        External pressure for npt, GPa.
    timestep
        Time step, fs.
    steps
        Steps in all, counted from the beginning also after --restart; 1000 unless --time is given.
    time
        Length instead of --steps, such as 500fs, 10ps or 1ns.
    every
        Steps between frames of the trajectory (-o; its default is FILE.md.traj).
    replicas
        Copies run side by side.
    restart
        Continue the trajectory up to --steps, if it exists; so a killed command can simply be repeated.
    thermostat_time
        Relaxation time of the thermostat, fs.
    barostat_time
        Relaxation time of the barostat, fs.
    max_uncertainty
        Largest uncertainty of the force on an atom, eV/Å, of an ensemble: its spread or, when calibrated, its bound.
    on_uncertain
        Beyond that stop (exit code 1), or go on and collect such frames; they are beside OUTPUT, in .uncertain.extxyz.
    """
    from ergodica.dynamics.options import MDOptions
    from ergodica.dynamics.watch import uncertain_path

    options = MDOptions(
        ensemble=ensemble, temperature=temperature, pressure=pressure, timestep=timestep,
        steps=_length(steps, time, timestep), every=every, thermostat_time=thermostat_time,
        barostat_time=barostat_time, replicas=replicas, seed=common.seed, precision=common.precision,
        max_uncertainty=max_uncertainty, on_uncertain=on_uncertain,
    )  # fmt: skip
    stem = "stdin" if file == STDIN else Path(file).stem
    default = Path(f"{stem}.md.traj")
    common = common.with_default_output(default)
    common.start(check_output=not restart)
    if max_uncertainty is not None and not restart:
        common.claim(uncertain_path(common.output or default))
    _run(single_item(file).system, options, restart, common)


def _run(system: Any, options: MDOptions, restart: bool, common: Common) -> None:
    from ergodica.dynamics.md import simulate

    potential = common.load()
    with CompileWatch(f"{len(system)} atoms", common.quiet) as watch, progress(common) as bar:
        task = bar.add_task("starting", total=options.steps)

        def report(step: int, kelvin: float, energy: float) -> None:
            bar.update(task, completed=step, description=f"{kelvin:6.0f} K  {energy:.4f} eV")

        result = simulate(potential, system, options, trajectory=common.output, restart=restart, report=report)
    if not result.done:
        say(
            common, f"'{result.trajectory}' has {result.steps} steps already: nothing to do, ask for more with --steps."
        )
    record = {
        "formula": formula(system),
        "ensemble": options.ensemble,
        "steps": result.steps,
        "time_ps": result.steps * options.timestep * 1e-3,
        "ns_per_day": result.ns_per_day,
        "steps_per_s": result.steps_per_s,
        "temperature_K": result.temperature,
        "energy_drift_meV_per_atom_per_ps": result.energy_drift,
        "trajectory": result.trajectory,
    }
    if options.max_uncertainty is not None:
        record |= {"uncertain_frames": result.uncertain, "uncertain_file": result.uncertain_frames}
    emit(common, record, ("", formula(system)), [(key.replace("_", " "), value) for key, value in record.items()][1:])
    say(common, f"{potential.info.name}: {watch.summary()}")


def _length(steps: int | None, time: str | None, timestep: float) -> int:
    """Number of steps from --steps or --time."""
    if steps is not None and time is not None:
        raise InputError("Give --steps or --time, not both.")
    if time is None:
        return 1000 if steps is None else steps
    if timestep <= 0:
        raise InputError(f"timestep={timestep} must be positive.")
    return round(parse_time(time) / timestep)


def parse_time(text: str) -> float:
    """A duration such as "10ps", in fs.

    Raises:
        InputError: no number, or another unit than fs, ps and ns.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(fs|ps|ns)\s*", text)
    try:
        if match:
            return float(match[1]) * UNITS[match[2]]
    except ValueError:  # such as 1.2.3
        pass
    raise InputError(f"--time '{text}' is no duration: write a number with fs, ps or ns, such as 10ps.")
