"""Molecular dynamics: conservation, temperature, restart, blow-up, interruption."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms
from ase.io import read

from ergodica import load, predict, simulate
from ergodica.checkpoint import read_header
from ergodica.dynamics import engine, md
from ergodica.dynamics.momenta import freedom_of, momenta_at
from ergodica.dynamics.options import MDOptions
from ergodica.errors import InputError, WorkFailed
from ergodica.files import read_atoms, read_structures
from ergodica.potentials import EnergyScale, Potential, ViSNetConfig
from ergodica.potentials.combine import combine
from ergodica.potentials.property import PropertyConfig
from ergodica.properties.frames import read_frames
from ergodica.system import System
from ergodica.units import KB


@pytest.fixture(scope="module")
def potential() -> Potential:
    """Compiles fast, and holds ethanol together."""
    return load("lj", sigma=0.85, epsilon=0.1, cutoff=5.0, onset=4.0)


@pytest.fixture
def ethanol():
    return molecule("CH3CH2OH")


@pytest.mark.parametrize("ensemble", ["nve", "langevin"])
def test_first_velocities_have_exactly_the_temperature(ethanol, ensemble):
    options, system = MDOptions(ensemble=ensemble, temperature=250.0), System.from_ase(ethanol)
    ethanol.set_momenta(momenta_at(system, options, np.random.default_rng(3)))
    assert 2 * ethanol.get_kinetic_energy() / (freedom_of(system, options) * KB) == pytest.approx(250.0)
    rests = np.abs(ethanol.get_momenta().sum(axis=0)).max() < 1e-12
    assert rests == (ensemble == "nve")


def test_lone_atom_can_be_moved():
    assert freedom_of(System([18], [[0, 0, 0]]), MDOptions(ensemble="nve")) == 3


@pytest.mark.parametrize("ensemble", ["nve", "nose-hoover", "csvr"])
def test_conserved_energy_does_not_drift(potential, ethanol, ensemble):
    pace = {} if ensemble == "nve" else {"thermostat_time": 20.0}
    result = simulate(potential, ethanol, ensemble=ensemble, steps=400, timestep=0.1, **pace)
    assert result.energy_drift is not None and abs(result.energy_drift) < 0.5
    assert result.steps == result.done == 400 and result.ns_per_day > 0 and result.trajectory is None


@pytest.mark.parametrize("ensemble", ["langevin", "nose-hoover", "csvr"])
def test_thermostats_hold_the_temperature(potential, ethanol, ensemble):
    result = simulate(potential, ethanol, ensemble=ensemble, steps=2000, temperature=400.0, thermostat_time=10.0)
    assert result.temperature == pytest.approx(400.0, rel=0.12)
    assert (result.energy_drift is None) == (ensemble == "langevin")


def test_npt_follows_the_pressure_and_needs_a_crystal(potential, ethanol):
    silicon = bulk("Si", cubic=True)
    squeezed, free = (simulate(potential, silicon, ensemble="npt", pressure=p, steps=15).system for p in (2.0, 0.0))
    assert squeezed.volume < free.volume
    with pytest.raises(InputError, match="not periodic"):
        simulate(potential, ethanol, ensemble="npt")


def test_collapse_of_the_cell_is_noticed(potential):
    with pytest.raises(WorkFailed, match="blew up"):
        simulate(potential, bulk("Si", cubic=True), ensemble="npt", pressure=-3e3, steps=30, barostat_time=50.0)


@pytest.mark.parametrize("height", [0.0, 30.0])
def test_neighbours_of_a_film_are_kept_whatever_its_third_vector(height):
    """ASE leaves it zero where there is no vacuum; atoms that leave their places must still be seen."""
    argon = load("lj", sigma=3.4, epsilon=0.0104, cutoff=6.5, onset=6.0)
    film = fcc111("Ar", (3, 3, 2), a=5.3)
    film.cell[2], film.pbc = (0.0, 0.0, height), (True, True, False)
    run = simulate(argon, film, steps=400, temperature=150.0, timestep=5.0, ensemble="nve", precision="float64")
    fresh = predict(argon, run.system, precision="float64")[0]
    assert np.abs(run.system.positions - film.positions).max() > 2.0
    assert run.system.labels.energy == pytest.approx(fresh.energy, abs=1e-9)


def test_fixed_atoms_stay_when_the_centre_of_mass_is_to_rest(potential, ethanol):
    held = ethanol.copy()
    held.set_constraint(FixAtoms([0, 1]))
    run = simulate(potential, held, steps=50, ensemble="langevin", fix_com=True)
    np.testing.assert_allclose(run.system.positions[:2], ethanol.positions[:2], atol=1e-5)
    assert np.abs(run.system.positions[2:] - ethanol.positions[2:]).max() > 0.01


@pytest.mark.parametrize("suffix", [".traj", ".h5"])
def test_isotopes_move_with_their_own_masses(potential, tmp_path, suffix):
    heavy = molecule("H2O")
    heavy.set_masses([15.999, 2.014, 2.014])
    system = System.from_ase(heavy)
    np.testing.assert_array_equal(system.to_ase().get_masses(), heavy.get_masses())
    path = tmp_path / f"run{suffix}"
    run = simulate(potential, heavy, steps=4, every=2, temperature=300.0, trajectory=path)
    first = read_atoms(f"{path}@0")[0]
    assert first.get_masses() == pytest.approx(heavy.get_masses())
    assert first.get_kinetic_energy() == pytest.approx(0.5 * freedom_of(system, MDOptions()) * KB * 300, rel=1e-5)
    assert run.system.masses[1] == 2.014
    with pytest.raises(InputError, match="masses must be 3 positive"):
        replace(system, own_masses=np.ones(2))


@pytest.mark.parametrize("suffix", [".traj", ".h5"])
def test_velocities_of_a_file_are_kept_on_request(potential, ethanol, tmp_path, suffix):
    path = tmp_path / f"run{suffix}"
    simulate(potential, ethanol, ensemble="nve", temperature=500.0, steps=30, every=20, trajectory=path)
    middle, end = read_structures(path)[1:]
    rest = simulate(potential, middle, ensemble="nve", steps=10, velocities="keep").system
    np.testing.assert_allclose(rest.positions, end.positions, atol=1e-5)
    np.testing.assert_allclose(rest.momenta, end.momenta, atol=1e-4)
    with pytest.raises(InputError, match="holds no momenta to keep"):
        simulate(potential, ethanol, steps=1, velocities="keep")


def test_a_trajectory_without_velocities_is_not_one_at_rest(potential, ethanol, tmp_path):
    path = tmp_path / "run.h5"
    simulate(potential, ethanol, steps=4, every=2, trajectory=path)
    with h5py.File(path, "a") as file:  # as other programs leave them away
        del file["velocities"]
    assert not any(atoms.has("momenta") for atoms in read_atoms(path))
    frames = read_frames(path)
    assert frames.velocities is None and frames.mobile.all()


def test_a_model_of_something_else_moves_nothing(ethanol):
    visnet = load("visnet-rmd17-ethanol")
    other = replace(visnet, config=PropertyConfig(visnet.config, "bulk_modulus", "GPa"))
    with pytest.raises(InputError, match="predicts 'bulk_modulus': this needs energies"):
        simulate(other, ethanol, steps=1)


def test_same_seed_same_run(potential, ethanol):
    one, two, other = (simulate(potential, ethanol, steps=20, seed=seed).system.positions for seed in (1, 1, 2))
    assert np.array_equal(one, two) and not np.allclose(one, other)


@pytest.mark.parametrize(("suffix", "large"), [(".h5", 800), (".traj", 800), (".extxyz", 0)])
def test_run_that_was_interrupted_is_the_run_to_the_last_bit(potential, ethanol, tmp_path, monkeypatch, suffix, large):
    monkeypatch.setattr(engine, "LARGE", large)  # neighbours listed by the device, or by the host
    options = MDOptions(ensemble="langevin", steps=40, every=7)
    whole = simulate(potential, ethanol, options, trajectory=tmp_path / f"whole{suffix}")
    simulate(potential, ethanol, options, trajectory=tmp_path / f"parts{suffix}", steps=25)
    rest = simulate(potential, ethanol, options, trajectory=tmp_path / f"parts{suffix}", restart=True)
    assert rest.done == 15 and rest.steps == 40
    assert np.array_equal(rest.system.positions, whole.system.positions)
    one, two = (read_structures(tmp_path / f"{name}{suffix}") for name in ("whole", "parts"))
    steps = [system.info["step"] for system in two]
    assert steps == [0, 7, 14, 21, 25, 28, 35, 40]  # 25 is the end of the first call
    assert [s.info["step"] for s in one] == [0, 7, 14, 21, 28, 35, 40]
    assert np.array_equal(one[-1].positions, two[-1].positions) and one[-1].labels.energy == two[-1].labels.energy


SUFFIXES = [".h5", *[pytest.param(suffix, marks=pytest.mark.slow) for suffix in (".traj", ".extxyz")]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_killed_run_goes_on(tmp_path, suffix):
    """Frames that reached the file after the last restart file was written are not there twice."""
    path = tmp_path / f"run{suffix}"
    code = (
        "import os, time; from ase.build import bulk; from ergodica import load, simulate\n"
        "import ergodica.dynamics.md as md; md.SAVE_SECONDS = 0.0\n"
        "argon = load('lj', sigma=3.4, epsilon=0.0104, cutoff=6.5, onset=6.0)\n"
        "def die(step, *_):\n"
        "    if step == 20: md.SAVE_SECONDS = 1e9\n"
        "    if step == 25: time.sleep(0.5); os.kill(os.getpid(), 9)\n"
        f"simulate(argon, bulk('Ar', cubic=True), steps=40, every=5, trajectory={str(path)!r}, report=die)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    argon, crystal = load("lj", sigma=3.4, epsilon=0.0104, cutoff=6.5, onset=6.0), bulk("Ar", cubic=True)
    whole = simulate(argon, crystal, steps=30, every=5)
    rest = simulate(argon, crystal, steps=30, every=5, trajectory=path, restart=True)
    assert rest.done == 10 and np.array_equal(rest.system.positions, whole.system.positions)
    assert [system.info["step"] for system in read_structures(path)] == list(range(0, 31, 5))


@pytest.mark.parametrize("suffix", [".traj", ".h5", ".extxyz"])
def test_frames_after_the_restart_file_are_written_anew(potential, ethanol, tmp_path, suffix):
    path = tmp_path / f"run{suffix}"
    simulate(potential, ethanol, steps=10, every=5, trajectory=path)
    early = (tmp_path / f"run{suffix}.restart").read_bytes()
    simulate(potential, ethanol, steps=30, every=5, trajectory=path, restart=True)
    (tmp_path / f"run{suffix}.restart").write_bytes(early)  # as after `kill -9`
    simulate(potential, ethanol, steps=30, every=10, temperature=900.0, trajectory=path, restart=True)
    frames = read_structures(path)
    assert [frame.info["step"] for frame in frames] == [0, 5, 10, 20, 30]


def test_what_a_kill_costs_does_not_depend_on_how_seldom_frames_are_written(potential, ethanol, tmp_path, monkeypatch):
    monkeypatch.setattr(md, "SAVE_SECONDS", 0.0)
    path, kept = tmp_path / "run.h5.restart", []

    def look(step, *_):
        waited = 0
        while not path.exists() and (waited := waited + 1) < 200:  # it is written by a thread of its own
            time.sleep(0.1)
        kept.append(read_header(path)["step"])

    simulate(potential, ethanol, steps=300, every=300, trajectory=tmp_path / "run.h5", report=look)
    assert len(kept) > 2 and kept[0] < 300 and read_header(path)["step"] == 300


def test_restart_without_a_trajectory_begins(potential, ethanol, tmp_path):
    assert simulate(potential, ethanol, steps=2, trajectory=tmp_path / "new.traj", restart=True).done == 2


def test_restart_refuses_what_does_not_fit(potential, ethanol, tmp_path):
    def again(structure, name, **changes):
        simulate(potential, structure, **{"steps": 2, **changes}, trajectory=tmp_path / name, restart=True)

    simulate(potential, ethanol, steps=1, trajectory=tmp_path / "a.traj")
    with pytest.raises(InputError, match=r"does not fit|other atoms"):
        again(molecule("H2O"), "a.traj")
    with pytest.raises(InputError, match="other atoms"):
        other = ethanol.copy()
        other.numbers[0] = 7
        again(other, "a.traj")
    with pytest.raises(InputError, match="ensemble langevin, not nve"):
        again(ethanol, "a.traj", ensemble="nve")
    with pytest.raises(InputError, match=r"timestep 0\.5, not 0\.25"):
        again(ethanol, "a.traj", timestep=0.25)
    with pytest.raises(InputError, match=r"final_temperature None, not 500\.0"):
        again(ethanol, "a.traj", steps=1, final_temperature=500.0)
    with pytest.raises(InputError, match="another model"):
        simulate(load("lj", sigma=0.9), ethanol, steps=2, trajectory=tmp_path / "a.traj", restart=True)
    with pytest.raises(InputError, match="other fixed atoms"):
        held = ethanol.copy()
        held.set_constraint(FixAtoms([0]))
        again(held, "a.traj")
    with pytest.raises(InputError, match="other masses"):
        heavy = ethanol.copy()
        heavy.set_masses(2 * heavy.get_masses())
        again(heavy, "a.traj")
    (tmp_path / "b.xyz").write_text("nothing")
    with pytest.raises(InputError, match=r"no '.*b.xyz.restart' to go on from"):
        again(ethanol, "b.xyz")
    (tmp_path / "a.traj").write_bytes(b"damaged")
    with pytest.raises(InputError, match="not a readable trajectory"):
        again(ethanol, "a.traj")
    (tmp_path / "a.traj.restart").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"damaged|not a"):
        again(ethanol, "a.traj")


def test_a_ramp_goes_on_as_it_began_or_stays_where_it_ended(potential, ethanol, tmp_path):
    ramp = {"temperature": 300.0, "final_temperature": 600.0, "steps": 4}
    path = tmp_path / "ramp.traj"
    simulate(potential, ethanol, **ramp, trajectory=path)
    with pytest.raises(InputError, match=r"final_temperature 600\.0, not None"):
        simulate(potential, ethanol, steps=8, temperature=300.0, trajectory=path, restart=True)
    assert simulate(potential, ethanol, steps=8, temperature=600.0, trajectory=path, restart=True).done == 4


def test_replicas_are_runs_of_their_own(potential, ethanol, tmp_path):
    result = simulate(potential, ethanol, steps=10, every=5, replicas=3, trajectory=tmp_path / "run.h5")
    assert [path.name for path in result.trajectories] == ["run.0.h5", "run.1.h5", "run.2.h5"]
    ends = [read_structures(path)[-1] for path in result.trajectories]
    for end, system in zip(ends, result.systems, strict=True):
        np.testing.assert_allclose(end.positions, system.positions, atol=1e-6)
    assert not np.allclose(ends[0].positions, ends[1].positions)


def test_structures_of_a_list_move_side_by_side(potential, ethanol):
    result = simulate(potential, [ethanol, molecule("H2O")], steps=3)
    assert [len(system) for system in result.systems] == [9, 3] and result.system is result.systems[0]


def test_extxyz_trajectory(potential, ethanol, tmp_path):
    simulate(potential, ethanol, steps=4, every=2, trajectory=tmp_path / "run.xyz")
    frames = read(tmp_path / "run.xyz", ":")
    assert [atoms.info["step"] for atoms in frames] == [0, 2, 4] and frames[1].get_potential_energy()


def test_blow_up_names_the_step_and_keeps_the_frames(potential, ethanol, tmp_path):
    wild = replace(potential, energy_scale=EnergyScale(scale=1e4))
    with pytest.raises(WorkFailed, match=r"blew up at step \d+ .*holds the frames"):
        simulate(wild, ethanol, steps=200, timestep=2.0, every=1, trajectory=tmp_path / "wild.traj")
    assert len(read(tmp_path / "wild.traj", ":")) >= 1


def test_few_atoms_may_be_hot_by_chance():
    """An atom at 2000 K is above 10,000 K once in 500 samples."""
    lone = bulk("Ar", cubic=True)[:1]
    found = simulate(load("lj"), lone, temperature=2000.0, steps=6000, timestep=1.0, thermostat_time=2.0)
    assert found.steps == 6000


def test_interruption_leaves_a_readable_trajectory(potential, ethanol, tmp_path):
    def stop(step, temperature, energy):
        if step >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(potential, ethanol, steps=50, every=2, trajectory=tmp_path / "cut.traj", report=stop)
    assert [atoms.info["step"] for atoms in read(tmp_path / "cut.traj", ":")] == [0, 2, 4]


@pytest.mark.parametrize(
    "changes",
    [
        {"timestep": 0},
        {"every": 0},
        {"temperature": -1},
        {"replicas": 0},
        {"final_temperature": 300.0, "ensemble": "nve"},
        {"final_pressure": 1.0},
        {"ensemble": "nvx"},
        {"pressure": 1.0},
        {"max_uncertainty": 0.0},
        {"on_uncertain": "collect"},
        {"seed": -1},
        {"velocities": "none"},
        {"velocities": "keep", "replicas": 2, "ensemble": "nve"},
    ],
)
def test_options_that_make_no_sense(changes):
    with pytest.raises(InputError):
        MDOptions(**changes)


def test_options_that_an_ensemble_does_not_look_at():
    changed = {"cell": "triclinic", "compressibility": 3.0, "thermostat_time": 10.0}
    idle = {kind: MDOptions(ensemble=kind, **changed).idle() for kind in ("npt", "csvr", "nve")}
    assert idle == {"npt": [], "csvr": ["cell", "compressibility"], "nve": [*changed]}


def test_misspelt_option_gets_a_suggestion(potential, ethanol):
    with pytest.raises(InputError, match="did you mean 'temperature'"):
        simulate(potential, ethanol, temprature=300)


@pytest.fixture(scope="module")
def ensemble() -> Potential:
    config, scale = ViSNetConfig(hidden=16, layers=2, heads=4, num_rbf=8), EnergyScale(scale=0.1)
    return combine([Potential.create(config, seed=seed, energy_scale=scale) for seed in (0, 1)])


def spread(ensemble, atoms) -> float:
    """Uncertainty of the force on the worst atom, eV/Å."""
    return predict(ensemble, atoms, uncertainty=True)[0].uncertainty.largest_force(np.zeros(len(atoms), bool))


def test_uncertain_model_stops_the_run_and_keeps_the_frames(ensemble, ethanol, tmp_path):
    limit = 1.05 * spread(ensemble, ethanol)
    options = MDOptions(temperature=2000.0, steps=400, every=5, max_uncertainty=limit)
    path = tmp_path / "run.traj"
    with pytest.raises(WorkFailed, match=r"uncertain at step \d+: .* the limit is .*run.uncertain.extxyz"):
        simulate(ensemble, ethanol, options, trajectory=path)
    frames, kept = read(path, ":"), read(tmp_path / "run.uncertain.extxyz", ":")
    assert len(kept) == 1 and kept[0].info["step"] == frames[-1].info["step"] > 0
    assert (
        kept[0].calc is None and kept[0].info["uncertainty_eV_per_A"] > limit
    )  # nobody learns from the model's labels
    assert kept[0].arrays["forces_std"].max() == pytest.approx(kept[0].info["uncertainty_eV_per_A"], rel=1e-6)
    assert spread(ensemble, kept[0]) == pytest.approx(kept[0].info["uncertainty_eV_per_A"], rel=1e-3)
    assert all(spread(ensemble, atoms) <= limit for atoms in frames[:-1])


def test_uncertain_frames_are_collected(ensemble, ethanol, tmp_path):
    options = MDOptions(steps=20, every=5, max_uncertainty=1e-6, on_uncertain="collect")
    result = simulate(ensemble, ethanol, options, trajectory=tmp_path / "run.traj")
    assert result.uncertain == 5 and result.uncertain_frames == [tmp_path / "run.uncertain.extxyz"]
    restart = tmp_path / "run.traj.restart"
    early = restart.read_bytes()
    simulate(ensemble, ethanol, options, trajectory=tmp_path / "run.traj", steps=30, restart=True)
    restart.write_bytes(early)  # as after `kill -9`
    more = simulate(ensemble, ethanol, options, trajectory=tmp_path / "run.traj", steps=30, restart=True)
    assert [atoms.info["step"] for atoms in read(more.uncertain_frames[0], ":")] == [0, 5, 10, 15, 20, 25, 30]
    quiet = simulate(ensemble, ethanol, steps=2, max_uncertainty=1e3, trajectory=tmp_path / "run.traj")
    assert quiet.uncertain == 0 and not quiet.uncertain_frames[0].exists()  # a new run has no old frames
    with pytest.raises(InputError, match="beside a trajectory"):
        simulate(ensemble, ethanol, options)


def test_atoms_that_are_held_may_be_uncertain(ensemble, ethanol):
    """They go nowhere."""
    known = predict(ensemble, ethanol, uncertainty=True)[0].uncertainty.forces
    held = System.from_ase(ethanol)
    held = replace(held, fixed=known > np.median(known))
    limit = 1.2 * np.median(known)
    assert limit < known.max()
    result = simulate(ensemble, held, steps=1, timestep=0.01, temperature=1.0, max_uncertainty=limit)
    assert result.uncertain == 0


def test_limit_for_a_single_model_is_one_sentence(potential, ethanol):
    with pytest.raises(InputError, match="single model and can't say how uncertain"):
        simulate(potential, ethanol, max_uncertainty=0.1)
