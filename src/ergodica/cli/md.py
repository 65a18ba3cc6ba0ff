"""`ergodica md`: molecular dynamics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ergodica.cli.common import DEFAULTS, Common, Flag
from ergodica.cli.inputs import STDIN, formula, read_items
from ergodica.cli.output import emit, progress, say
from ergodica.cli.session import CompileWatch
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.dynamics.options import MDOptions
    from ergodica.system import System

__all__ = ["md", "parse_time"]

UNITS = {"fs": 1.0, "ps": 1e3, "ns": 1e6}


def md(  # noqa: PLR0913  one parameter an option
    file: str,
    /,
    *,
    ensemble: Literal["nve", "langevin", "nose-hoover", "csvr", "npt"] = "langevin",
    temperature: float = 300.0,
    final_temperature: float | None = None,
    pressure: float = 0.0,
    final_pressure: float | None = None,
    cell: Literal["isotropic", "orthorhombic", "triclinic"] = "isotropic",
    cell_axes: Literal["xyz", "xy", "xz", "yz", "x", "y", "z"] = "xyz",
    timestep: float = 0.5,
    steps: int | None = None,
    time: str | None = None,
    every: int = 10,
    replicas: int = 1,
    velocities: Literal["draw", "keep"] = "draw",
    fix_com: Flag = False,
    restart: Flag = False,
    thermostat_time: float = 100.0,
    barostat_time: float = 1000.0,
    compressibility: float = 0.02,
    max_uncertainty: float | None = None,
    on_uncertain: Literal["stop", "collect"] = "stop",
    common: Common = DEFAULTS,
) -> None:
    """Run molecular dynamics; all structures of the file, and replicas of them, side by side on the device.

    Parameters
    ----------
    file
        Anything ASE reads; - is stdin (extxyz). Atoms that the file holds fixed stay where they are.
    ensemble
        Constant energy, constant temperature by one of three thermostats, or constant pressure too.
    temperature
        Of the thermostat and of the first velocities, K.
    final_temperature
        Heat or cool evenly to this temperature, K, reached at the last step.
    pressure
        External pressure for npt, GPa.
    final_pressure
        Squeeze or release evenly to this pressure, GPa, reached at the last step.
    cell
        What the cell may do under npt: keep its shape, change its lengths one by one, or everything.
    cell_axes
        Cartesian directions in which the cell may change.
    timestep
        Time step, fs.
    steps
        Steps in all, counted from the beginning also after --restart; 1000 unless --time is given.
    time
        Length instead of --steps, such as 500fs, 10ps or 1ns.
    every
        Steps between frames of the trajectory (-o; .h5, .traj or .extxyz; its default is FILE.md.traj).
    replicas
        Copies of every structure, run side by side; they are in OUTPUT.0, OUTPUT.1 ...
    velocities
        Draw the first ones at the temperature, or keep those of the file, such as RUN.traj@-1.
    fix_com
        Keep the centre of mass at rest under langevin, too.
    restart
        Go on from OUTPUT's .restart file up to --steps, if there is one; so a killed command can simply be repeated.
    thermostat_time
        Relaxation time of the thermostat, fs.
    barostat_time
        Relaxation time of the volume, fs, of a structure with the compressibility:
    compressibility
        Roughly that of the structure, 1/GPa; sets nothing but the pace of npt. Metals 0.01, water 0.45, liquid argon 2.
    max_uncertainty
        Largest uncertainty of the force on an atom that moves, eV/Å, of an ensemble: its spread or,
        when calibrated, its bound.
    on_uncertain
        Beyond that stop (exit code 1), or go on and collect such frames; they are beside OUTPUT, in .uncertain.extxyz.
    """
    from ergodica.dynamics.options import MDOptions

    options = MDOptions(
        ensemble=ensemble, temperature=temperature, final_temperature=final_temperature, pressure=pressure,
        final_pressure=final_pressure, cell=cell, cell_axes=cell_axes, fix_com=fix_com, timestep=timestep,
        steps=_length(steps, time, timestep), every=every, thermostat_time=thermostat_time,
        barostat_time=barostat_time, compressibility=compressibility, replicas=replicas, velocities=velocities,
        seed=common.seed, precision=common.precision, max_uncertainty=max_uncertainty, on_uncertain=on_uncertain,
    )  # fmt: skip
    if idle := options.idle():
        raise InputError(f"--{idle[0].replace('_', '-')} does nothing under {ensemble}: leave it out.")
    stem = "stdin" if file == STDIN else Path(file).stem
    common = common.with_default_output(Path(f"{stem}.md.traj"))
    common.start(check_output=False)
    systems = [item.system for item in read_items([file])]
    if not restart:
        _claim(options, len(systems), common)
    _run(systems, options, restart, common)


def _claim(options: MDOptions, structures: int, common: Common) -> None:
    """Refuse to write over anything of an older run."""
    from ergodica.dynamics.watch import uncertain_path
    from ergodica.trajectories.writers import paths_of

    for path in paths_of(common.output, structures * options.replicas):
        assert path is not None, "the output has a default"
        common.claim(path)
        if options.max_uncertainty is not None:
            common.claim(uncertain_path(path))


def _run(systems: list[System], options: MDOptions, restart: bool, common: Common) -> None:
    from ergodica.dynamics.md import simulate

    potential = common.load()
    atoms = options.replicas * sum(len(system) for system in systems)
    with CompileWatch(f"{atoms} atoms", common.quiet) as watch, progress(common) as bar:
        task = bar.add_task("starting", total=options.steps)

        def report(step: int, kelvin: float, energy: float) -> None:
            bar.update(task, completed=step, description=f"{kelvin:6.0f} K  {energy:.4f} eV")

        result = simulate(potential, systems, options, trajectory=common.output, restart=restart, report=report)
    if not result.done:
        say(
            common, f"'{result.trajectory}' has {result.steps} steps already: nothing to do, ask for more with --steps."
        )
    many = len(result.systems) > 1
    record = {
        "formula": [formula(one) for one in systems] if len(systems) > 1 else formula(systems[0]),
        "ensemble": options.ensemble,
        "replicas": options.replicas,
        "steps": result.steps,
        "time_ps": result.steps * options.timestep * 1e-3,
        "ns_per_day": result.ns_per_day,
        "steps_per_s": result.steps_per_s,
        "temperature_K": result.temperature,
        "energy_drift_meV_per_atom_per_ps": result.energy_drift,
        "trajectory": result.trajectories if many else result.trajectory,
    }
    if options.max_uncertainty is not None:
        files = result.uncertain_frames
        record |= {"uncertain_frames": result.uncertain, "uncertain_file": files if many else files[0]}
    rows = [(key.replace("_", " "), _shown(value)) for key, value in record.items()]
    emit(common, record, ("", str(_shown(record["formula"]))), rows[1:])
    say(common, f"{potential.info.name}: {watch.summary()}")


def _shown(value: Any) -> Any:
    """A list as its first and last."""
    if not isinstance(value, list):
        return value
    return str(value[0]) if len(value) == 1 else f"{value[0]} ... {value[-1]} ({len(value)})"


def _length(steps: int | None, time: str | None, timestep: float) -> int:
    """Number of steps from --steps or --time."""
    if steps is not None and time is not None:
        raise InputError("Give --steps or --time, not both.")
    if timestep <= 0:
        raise InputError(f"timestep={timestep} must be positive.")
    length = (1000 if steps is None else steps) if time is None else round(parse_time(time) / timestep)
    if length < 1:
        raise InputError(f"There is no step to make: ask for more than {steps if time is None else time}.")
    return length


def parse_time(text: str, option: str = "--time") -> float:
    """A duration such as "10ps", in fs.

    Args:
        text: what was given.
        option: that gave it, for the message.

    Raises:
        InputError: no number, or another unit than fs, ps and ns.
    """
    match = re.fullmatch(r"\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(fs|ps|ns)\s*", text)
    try:
        if match:
            return float(match[1]) * UNITS[match[2]]
    except ValueError:  # such as 1.2.3
        pass
    raise InputError(f"{option} '{text}' is no duration: write a number with fs, ps or ns, such as 10ps.")
