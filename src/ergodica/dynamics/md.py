"""Molecular dynamics: the engine, its trajectories and its restart file, and an eye on what goes wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ergodica.config import check_keys
from ergodica.dynamics.engine import Engine, Stretch
from ergodica.dynamics.momenta import freedom_of
from ergodica.dynamics.motion import Motion
from ergodica.dynamics.options import MDOptions
from ergodica.dynamics.restart import load_run, restart_path, save_run
from ergodica.dynamics.watch import Astray, UncertaintyWatch
from ergodica.errors import InputError, WorkFailed
from ergodica.system import System, as_systems
from ergodica.trajectories.writers import TrajectoryWriter, open_trajectory, paths_of

if TYPE_CHECKING:
    from ase import Atoms

    from ergodica.potentials.potential import Potential

__all__ = ["MDResult", "simulate"]

Report = Callable[[int, float, float], None]

SAVE_SECONDS = 2.0
"""Computing time between restart files: what a `kill -9` loses at most."""
NEVER = 1e-12
"""Probability of a kinetic energy that is not believed to be chance."""
GLANCE = 64
"""Steps between looks at temperature and volume, and between reports."""


@dataclass(frozen=True)
class MDResult:
    """Outcome of a run.

    Attributes:
        systems: the last structures, labelled with the model's energies and forces; replicas of one side by side.
        steps: steps since the beginning of the trajectory.
        done: steps of this call.
        seconds: time they took, compilation not counted.
        timestep: fs.
        temperature: mean over this call's steps and structures, K.
        energy_drift: slope of the conserved energy, meV/atom/ps; None where nothing is conserved or too few steps ran.
        trajectories: their files, one for each structure.
        uncertain: frames of this call that were beyond `max_uncertainty`.
        uncertain_frames: their files; empty without a limit or a trajectory.
    """

    systems: Sequence[System]
    steps: int
    done: int
    seconds: float
    timestep: float
    temperature: float
    energy_drift: float | None
    trajectories: Sequence[Path]
    uncertain: int = 0
    uncertain_frames: Sequence[Path] = ()

    @property
    def system(self) -> System:
        """The last structure of the first replica."""
        return self.systems[0]

    @property
    def trajectory(self) -> Path | None:
        """The file of the first structure."""
        return self.trajectories[0] if self.trajectories else None

    @property
    def steps_per_s(self) -> float | None:
        """Steps a second; None when nothing was left to do."""
        return self.done / self.seconds if self.done and self.seconds > 0 else None

    @property
    def ns_per_day(self) -> float | None:
        """Simulated nanoseconds a day of each structure; None when nothing was left to do."""
        rate = self.steps_per_s
        return None if rate is None else rate * self.timestep * 1e-6 * 86400


@dataclass
class _Log:
    """Sums over steps: the mean temperature, and the straight line through the conserved energy of each structure."""

    steps: int = 0
    kelvin: float = 0.0
    line: Float[np.ndarray, "5 B"] | None = None

    def add(self, stretch: Stretch) -> None:
        """Take a stretch in."""
        count, structures = stretch.conserved.shape
        times = self.steps + np.arange(count, dtype=float)[:, None] * np.ones(structures)
        energies = stretch.conserved.astype(float)
        ones = np.ones_like(times)
        moments = (ones, times, energies, times * times, times * energies)
        sums = np.stack([part.sum(axis=0) for part in moments])
        self.line = sums if self.line is None else self.line + sums
        self.kelvin += float(stretch.temperature.astype(float).mean(axis=1).sum())
        self.steps += count

    @property
    def temperature(self) -> float:
        """Mean, K."""
        return self.kelvin / self.steps if self.steps else float("nan")

    def drift(self, timestep: float, sizes: Sequence[int]) -> float | None:
        """Mean slope, meV/atom/ps."""
        if self.steps < 3 or self.line is None:
            return None
        n, t, e, tt, te = self.line
        slopes = (n * te - t * e) / (n * tt - t * t)
        return float(np.mean(slopes / np.array(sizes)) * 1e6 / timestep)


@dataclass
class _Files:
    """Where frames go: written by a thread of their own while the device computes on."""

    engine: Engine
    writers: Sequence[TrajectoryWriter]
    watches: Sequence[UncertaintyWatch]
    restart: Path | None
    first: Path | None
    pool: ThreadPoolExecutor
    pending: list[Future[None]] = field(default_factory=list)
    last: int = -1  # step of the last frame
    saved: float = field(default_factory=time.perf_counter)

    def add(self, motion: Motion) -> None:
        """A frame of every structure; judged, where that is wished."""
        self._submit(self._write, motion)
        self.last = int(motion.step)
        if self.watches:
            for watch, frame in zip(self.watches, self.engine.frames(motion), strict=True):
                watch.look(frame)

    def save(self, now: bool = False) -> None:
        """The restart file, if it is time."""
        if self.restart is not None and (now or time.perf_counter() - self.saved > SAVE_SECONDS):
            self._submit(self._save, self.engine.state())
            self.saved = time.perf_counter()

    def finish(self) -> None:
        """Wait for the thread."""
        for future in self.pending:
            future.result()
        self.pending.clear()

    def _submit(self, work: Callable[[Any], None], what: Any) -> None:
        while self.pending and (self.pending[0].done() or len(self.pending) > 8):  # no faster than the disk
            self.pending.pop(0).result()
        self.pending.append(self.pool.submit(work, what))

    def _write(self, motion: Motion) -> None:
        for writer, frame in zip(self.writers, self.engine.frames(motion), strict=True):
            writer.write(frame)

    def _save(self, state: dict[str, Any]) -> None:
        assert self.restart is not None
        save_run(self.restart, self.engine, state, [writer.mark() for writer in self.writers])


def simulate(
    potential: Potential,
    structures: System | Atoms | Sequence[System | Atoms],
    options: MDOptions | None = None,
    *,
    trajectory: str | Path | None = None,
    restart: bool = False,
    report: Report | None = None,
    **changes: Any,
) -> MDResult:
    """Run molecular dynamics of structures side by side, on the device.

    Args:
        potential: the model.
        structures: where to start, with velocities drawn at the temperature; atoms that are fixed stay.
        options: ensemble, temperature, length, replicas ...
        trajectory: `.h5`, `.traj` or `.extxyz` file to write; `run.0.h5`, `run.1.h5` ... for several structures or
            replicas. Beside it a `.restart` file keeps the state of the run.
        restart: go on where the restart file stands, if there is one, up to `steps` in all. With the same options a
            run that was interrupted and one that was not are the same, to the last bit.
        report: called now and then with step, temperature in K and potential energy in eV (of all structures).
        changes: fields of `MDOptions` by name, such as `ensemble="nve", steps=100`.

    Raises:
        InputError: options that do not fit the structure, an unknown element, the restart file of another run.
        WorkFailed: the run blew up or exceeded `max_uncertainty` (the trajectory up to there is kept), or the disk is
            full.
    """
    check_keys(MDOptions, changes, "simulate")
    options = replace(options or MDOptions(), **changes)
    systems = [system for system in as_systems(structures) for _ in range(options.replicas)]
    base = None if trajectory is None else Path(trajectory)
    paths = paths_of(base, len(systems))
    engine = Engine(potential, systems, options)
    marks = _begin(engine, base, paths, restart)
    start, log = int(engine.motion.step), _Log()
    watches = [UncertaintyWatch(potential, options, path, start) for path in paths]
    seconds = 0.0
    if start < options.steps:
        with ExitStack() as stack:
            judges = [stack.enter_context(watch) for watch in watches if watch.limit is not None]
            writers = [open_trajectory(path, mark) for path, mark in zip(paths, marks, strict=True)]
            for writer in writers:
                stack.callback(writer.close)
            pool = stack.enter_context(ThreadPoolExecutor(1, "ergodica-trajectory"))
            files = _Files(engine, writers, judges, None if base is None else restart_path(base), paths[0], pool)
            seconds = _run(engine, files, log, report)
    drifts = options.ensemble in ("nve", "nose-hoover", "csvr") and options.final_temperature is None
    return MDResult(
        systems=[frame.system for frame in engine.frames(engine.motion)],
        steps=max(start, options.steps),
        done=max(options.steps - start, 0),
        seconds=seconds,
        timestep=options.timestep,
        temperature=log.temperature,
        energy_drift=log.drift(options.timestep, [len(s) for s in systems]) if drifts else None,
        trajectories=[path for path in paths if path is not None],
        uncertain=sum(watch.found for watch in watches),
        uncertain_frames=[watch.path for watch in watches if watch.path is not None],
    )


def _begin(engine: Engine, base: Path | None, paths: Sequence[Path | None], restart: bool) -> list[int | None]:
    """The marks of the trajectories, after the engine was taken to where the run stood."""
    fresh: list[int | None] = [None] * len(paths)
    if base is None:
        if restart:
            raise InputError("A restart continues a trajectory: say which.")
        return fresh
    state = restart_path(base)
    if restart and state.exists():
        return list(load_run(state, engine))
    if restart and any(path.exists() for path in paths if path is not None):
        raise InputError(f"There is no '{state}' to go on from: begin anew with --overwrite.")
    state.unlink(missing_ok=True)
    return fresh


def _run(engine: Engine, files: _Files, log: _Log, report: Report | None) -> float:
    """Advance to the last step; returns the seconds it took once compiled."""
    options, every = engine.options, engine.options.every
    engine.compile()
    first = int(engine.motion.step)
    if first == 0:
        files.add(engine.motion)
        files.save(now=True)
    limits = _Limits(_hottest(engine), _volumes(engine))
    began = time.perf_counter()
    try:
        while (step := int(engine.motion.step)) < options.steps:
            stop = min(every - step % every, GLANCE, options.steps - step)
            stretch = _advanced(engine, stop, files)
            log.add(stretch)
            _check(engine, stretch, limits, files)
            step += stop
            if step % every == 0 or step == options.steps:
                files.add(engine.motion)
            files.save(now=step == options.steps)
            if report:
                report(step, float(stretch.temperature[-1].mean()), engine.energy())
    except KeyboardInterrupt:  # the motion is that of a whole block, whose frame may not have been written yet
        if (step := int(engine.motion.step)) % every == 0 and step > max(files.last, first):
            files.add(engine.motion)
        files.save(now=True)
        raise
    finally:
        files.finish()
    return time.perf_counter() - began


def _advanced(engine: Engine, steps: int, files: _Files) -> Stretch:
    try:
        return engine.advance(steps)
    except WorkFailed as error:
        raise _blown(int(engine.motion.step) + 1, str(error), files) from error


class _Limits(NamedTuple):
    """What no sound run exceeds: temperatures, K, and volumes of the start to compare with, Å³ [B]."""

    temperature: Float[np.ndarray, " B"]
    volumes: Float[np.ndarray, " B"]


def _hottest(engine: Engine) -> Float[np.ndarray, " B"]:
    """Temperatures that mean a blow-up: hot starts from unrelaxed structures pass, and what few atoms do by chance."""
    from scipy.special import chdtri

    options = engine.options
    warm = max(options.temperature, options.final_temperature or 0.0)
    freedom = np.array([freedom_of(system, options) for system in engine.systems])
    by_chance = chdtri(freedom, NEVER) / freedom * warm
    return np.maximum(max(min(max(20 * warm, 3000.0), 10000.0), 3 * warm), by_chance)


def _check(engine: Engine, stretch: Stretch, limits: _Limits, files: _Files) -> None:
    """Raise `Astray` once atoms fly apart, or a cell collapses or evaporates, before its neighbours fill the memory."""
    hot = np.flatnonzero(~(stretch.temperature <= limits.temperature).all(axis=1))
    first = int(engine.motion.step) - len(stretch.temperature) + 1
    if hot.size:
        kelvin = float(stretch.temperature[hot[0]].max())
        raise _blown(first + int(hot[0]), f"the temperature reached {kelvin:.0f} K", files)
    if engine.options.ensemble == "npt":
        ratio = _volumes(engine) / limits.volumes
        if not (np.all(ratio >= 0.25) and np.all(ratio <= 4.0)):
            worst = float(ratio[np.argmax(np.abs(np.log(np.maximum(ratio, 1e-9))))])
            raise _blown(int(engine.motion.step), f"the volume became {worst:.3g} times that of the start", files)


def _volumes(engine: Engine) -> np.ndarray:
    return np.abs(np.linalg.det(np.asarray(engine.motion.cell, np.float64)))


def _blown(step: int, why: str, files: _Files) -> Astray:
    kept = "" if files.first is None else f" '{files.first}' holds the frames until then;"
    return Astray(
        f"The dynamics blew up at step {step} ({why.rstrip('.')});{kept} use a shorter time step, relax first, or use "
        "another model."
    )
