"""Molecular dynamics through ASE's integrators, with restart, drift of the conserved energy and blow-up detection."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.config import check_keys
from ergodica.dynamics.ensembles import Ensemble, make_ensemble, thermalize
from ergodica.dynamics.options import MDOptions
from ergodica.dynamics.trajectory import TrajectoryWriter, last_frame
from ergodica.dynamics.watch import Astray, UncertaintyWatch
from ergodica.errors import ErgodicaError, InputError
from ergodica.system import System, as_system

if TYPE_CHECKING:
    from ase import Atoms

    from ergodica.potentials.potential import Potential

__all__ = ["MDResult", "simulate"]

Report = Callable[[int, float, float], None]


@dataclass(frozen=True)
class MDResult:
    """Outcome of a run.

    Attributes:
        system: the last structure, labelled with the model's energy and forces.
        steps: steps since the beginning of the trajectory.
        done: steps of this call.
        seconds: time they took, compilation not counted.
        timestep: fs.
        temperature: mean over this call's steps, K.
        energy_drift: slope of the conserved energy, meV/atom/ps; None where nothing is conserved or too few steps ran.
        trajectory: its file.
        uncertain: frames of this call that were beyond `max_uncertainty`.
        uncertain_frames: their file; None without a limit or a trajectory.
    """

    system: System
    steps: int
    done: int
    seconds: float
    timestep: float
    temperature: float
    energy_drift: float | None
    trajectory: Path | None
    uncertain: int = 0
    uncertain_frames: Path | None = None

    @property
    def steps_per_s(self) -> float | None:
        """Steps a second; None when nothing was left to do."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def ns_per_day(self) -> float | None:
        """Simulated nanoseconds a day; None when nothing was left to do."""
        rate = self.steps_per_s
        return None if rate is None else rate * self.timestep * 1e-6 * 86400


@dataclass
class _Log:
    """Temperature and conserved energy of every step of this call."""

    temperatures: list[float] = field(default_factory=list)
    conserved: list[float] = field(default_factory=list)

    def drift(self, timestep: float, n_atoms: int) -> float | None:
        """Slope of a straight line through the conserved energy, meV/atom/ps."""
        energies = np.array(self.conserved)
        if len(energies) < 3:
            return None
        times = np.arange(len(energies)) * timestep * 1e-3
        return float(np.polyfit(times, energies - energies[0], 1)[0] * 1e3 / n_atoms)


@dataclass(frozen=True)
class _Frames:
    """Where frames go: to the trajectory, then under the eyes of the watch."""

    writer: TrajectoryWriter
    watch: UncertaintyWatch

    @property
    def path(self) -> Path | None:
        return self.writer.path

    def add(self, atoms: Atoms, step: int) -> None:
        self.writer.write(atoms, step, self.watch.options)
        self.watch.look(atoms, step)


def simulate(
    potential: Potential,
    structure: System | Atoms,
    options: MDOptions | None = None,
    *,
    trajectory: str | Path | None = None,
    restart: bool = False,
    report: Report | None = None,
    **changes: Any,
) -> MDResult:
    """Run molecular dynamics of one structure.

    Args:
        potential: the model.
        structure: where to start, with velocities drawn at the temperature.
        options: ensemble, temperature, length ...
        trajectory: `.traj` or `.extxyz` file to write.
        restart: continue `trajectory` (a `.traj`) from its last frame, if it exists, up to `steps` in all. NVE goes on
            as if never interrupted; thermostats start afresh with new noise.
        report: called after every step with step, temperature in K and potential energy in eV.
        changes: fields of `MDOptions` by name, such as `ensemble="nve", steps=100`.

    Raises:
        InputError: options that do not fit the structure, an unknown element, another system in the trajectory.
        WorkFailed: the run blew up or exceeded `max_uncertainty` (the trajectory up to there is kept), or the disk is
            full.
    """
    check_keys(MDOptions, changes, "simulate")
    options = replace(options or MDOptions(), **changes)
    system = as_system(structure)
    potential.check_elements(system.numbers, system.name)
    if options.ensemble == "npt" and not system.is_bulk:
        raise InputError(f"{system.name} is not periodic in three directions: constant pressure needs a full cell.")
    path = None if trajectory is None else Path(trajectory)
    watch = UncertaintyWatch(potential, options, path, append=restart)
    atoms, start = _start(system, options, path, restart)
    from ergodica.calculators import Calculator

    atoms.calc = Calculator(potential, precision=options.precision)
    log = _Log()
    seconds = 0.0
    if start < options.steps:
        with TrajectoryWriter(path, options.every, append=start > 0) as writer, watch:
            frames = _Frames(writer, watch)
            seconds = _run(atoms, options, start, frames, log, report)
    final = System.from_ase(atoms, system.name)
    return MDResult(
        system=final,
        steps=max(start, options.steps),
        done=max(options.steps - start, 0),
        seconds=seconds,
        timestep=options.timestep,
        temperature=float(np.mean(log.temperatures)) if log.temperatures else float("nan"),
        energy_drift=log.drift(options.timestep, len(atoms)),
        trajectory=path,
        uncertain=watch.found,
        uncertain_frames=watch.path,
    )


def _start(system: System, options: MDOptions, path: Path | None, restart: bool) -> tuple[Atoms, int]:
    """Atoms with velocities, and the step they stand at."""
    if restart and path is None:
        raise InputError("A restart continues a trajectory: say which.")
    if restart and path is not None and path.exists():
        atoms, step = last_frame(path)
        if not np.array_equal(atoms.numbers, system.numbers):
            raise InputError(f"'{path}' holds other atoms than {system.name}: it belongs to another run.")
        return atoms, step
    atoms = system.to_ase()
    thermalize(atoms, options)
    return atoms, 0


def _run(atoms: Atoms, options: MDOptions, start: int, frames: _Frames, log: _Log, report: Report | None) -> float:
    """Advance to the last step; returns the seconds it took once compiled."""
    atoms.get_forces()  # compiles, outside the clock
    if options.ensemble == "npt":
        atoms.get_stress()
    ensemble = make_ensemble(atoms, options, start)
    if start == 0:
        frames.add(atoms, 0)
    _record(ensemble, log)
    volume = atoms.cell.volume
    began = time.perf_counter()
    for step in range(start + 1, options.steps + 1):
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # it shows in the temperature
                ensemble.dynamics.step()
        except ErgodicaError as error:  # the model refused what the atoms had become
            raise _blown(step, str(error), frames.path) from error
        _record(ensemble, log)
        _check_temperature(log.temperatures[-1], options, step, frames.path)
        if options.ensemble == "npt":
            _check_volume(atoms.cell.volume / volume, step, frames.path)
        if step % options.every == 0 or step == options.steps:
            frames.add(atoms, step)
        if report:
            report(step, log.temperatures[-1], atoms.get_potential_energy())
    return time.perf_counter() - began


def _record(ensemble: Ensemble, log: _Log) -> None:
    log.temperatures.append(ensemble.temperature())
    conserved = ensemble.conserved()
    if conserved is not None:
        log.conserved.append(conserved)


def _check_volume(ratio: float, step: int, path: Path | None) -> None:
    """Raise `Astray` once the cell collapses or evaporates, before its neighbours fill the memory."""
    if not 0.25 <= ratio <= 4.0:
        raise _blown(step, f"the volume became {ratio:.3g} times that of the start", path)


def _check_temperature(temperature: float, options: MDOptions, step: int, path: Path | None) -> None:
    """Raise `Astray` once the atoms fly apart; hot starts from unrelaxed structures are let pass."""
    limit = max(min(max(20 * options.temperature, 3000.0), 10000.0), 3 * options.temperature)
    if not temperature <= limit:
        raise _blown(step, f"the temperature reached {temperature:.0f} K", path)


def _blown(step: int, why: str, path: Path | None) -> Astray:
    kept = f" '{path}' holds the frames until then;" if path else ""
    return Astray(
        f"The dynamics blew up at step {step} ({why.rstrip('.')});{kept} use a shorter time step, relax first, or use "
        "another model."
    )
