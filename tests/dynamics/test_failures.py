"""Runs that end badly: what is told, what is kept, and that they can go on."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from ergodica import load, simulate
from ergodica.dynamics import md
from ergodica.dynamics.engine import Engine
from ergodica.dynamics.momenta import momenta_at
from ergodica.dynamics.options import MDOptions
from ergodica.dynamics.restart import restart_path
from ergodica.errors import WorkFailed
from ergodica.files import read_structures
from ergodica.potentials import EnergyScale
from ergodica.system import Labels, System
from ergodica.trajectories.frame import Frame
from ergodica.trajectories.writers import open_trajectory

ARGON = load("lj", sigma=3.4, epsilon=0.0104, cutoff=6.5, onset=6.0)
COLD = MDOptions(ensemble="nve", temperature=40.0, timestep=2.0, precision="float64")


def argon(repeat=1):
    return System.from_ase(bulk("Ar", "fcc", a=5.3, cubic=True).repeat(repeat))


def frame(step):
    """A frame that costs no dynamics."""
    labels = Labels(energy=float(step), forces=np.zeros((4, 3)), stress=np.zeros((3, 3)))
    return Frame(replace(argon(), labels=labels, momenta=np.zeros((4, 3))), step, 0.5 * step)


@contextmanager
def full_disk(suffix, monkeypatch):
    """No file may grow beyond 30 kB; HDF5, which would crash the process, is told so before it tries."""
    if suffix == ".h5":

        def full(*_, **__):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "TemporaryFile", full)
            yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ase leaves its file open
@pytest.mark.parametrize("suffix", [".h5", ".traj", ".extxyz"])
def test_full_disk_keeps_the_frames_and_the_run_goes_on(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"run{suffix}"
    writer = open_trajectory(path)
    for step in range(10):
        writer.write(frame(step))
    mark = writer.mark()
    with full_disk(suffix, monkeypatch):
        with pytest.raises(WorkFailed, match=r"Could not write '.*run.*free space"):
            for step in range(10, 2000):
                writer.write(frame(step))
                writer.mark()
        try:
            writer.close()
        except WorkFailed:
            pass  # said once more
    steps = [system.info["step"] for system in read_structures(path)]
    assert len(steps) >= 10 and steps == list(range(len(steps)))
    writer = open_trajectory(path, mark)
    for step in range(10, 2 * len(steps)):
        writer.write(frame(step))
    writer.close()
    assert [system.info["step"] for system in read_structures(path)] == list(range(2 * len(steps)))


def test_interruption_before_a_frame_was_written_loses_nothing(tmp_path, monkeypatch):
    path, check = tmp_path / "run.extxyz", md._check

    def interrupted(engine, *rest):
        if int(engine.motion.step) == 10:
            raise KeyboardInterrupt
        check(engine, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(md, "_check", interrupted)
        with pytest.raises(KeyboardInterrupt):
            simulate(ARGON, argon(), COLD, steps=20, every=5, trajectory=path)
    simulate(ARGON, argon(), COLD, steps=20, every=5, trajectory=path, restart=True)
    assert [system.info["step"] for system in read_structures(path)] == [0, 5, 10, 15, 20]


def test_a_model_without_finite_numbers_ends_the_run_at_that_step():
    moved = Engine(replace(ARGON, energy_scale=EnergyScale(scale=np.inf)), [argon()], COLD)
    with pytest.raises(WorkFailed, match="in step 1:"):
        moved.advance(50)
    assert np.isfinite(moved.current()[0].positions).all() and int(moved.motion.step) == 0


@pytest.mark.slow
def test_a_cell_smaller_than_the_cutoff_moves_as_its_supercell_does():
    small, large = argon(1), argon(2)
    momenta = momenta_at(small, COLD, np.random.default_rng(0))
    runs = []
    for system, start in ((small, momenta), (large, np.tile(momenta, (8, 1)))):
        runs.append(Engine(ARGON, [system], COLD, momenta=start))
        runs[-1].advance(100)
    moved = [run.current()[0].positions - run.systems[0].positions for run in runs]
    np.testing.assert_allclose(moved[1], np.tile(moved[0], (8, 1)), atol=1e-9)
    assert np.abs(moved[0]).max() > 0.05


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(tmp_path):
    (tmp_path / "Cu.extxyz").write_text("")
    from ase.io import write

    write(tmp_path / "Cu.extxyz", bulk("Cu", cubic=True).repeat(2))
    command = [sys.executable, "-m", "ergodica", "md", "Cu.extxyz", "-m", "emt", "--every", "5", "-o", "run.h5",
               "--restart", "--quiet", "--steps"]  # fmt: skip
    process = subprocess.Popen([*command, "1000000"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not restart_path(tmp_path / "run.h5").exists():
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130 and told.count("\n") == 1 and "complete up to that point" in told
    steps = [system.info["step"] for system in read_structures(tmp_path / "run.h5")]
    assert steps == list(range(0, 5 * len(steps), 5))
    more = subprocess.run([*command, str(steps[-1] + 10)], cwd=tmp_path, check=False)
    assert more.returncode == 0
    steps = [*steps, steps[-1] + 5, steps[-1] + 10]
    assert [system.info["step"] for system in read_structures(tmp_path / "run.h5")] == steps
