"""`relax` and `md` as commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import read, write

from ergodica.cli.md import parse_time
from ergodica.errors import InputError
from tests.cli.conftest import is_one_sentence, stopped


def test_relax_writes_what_it_found(ergodica):
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=1)
    write("cluster.xyz", Atoms("Cu4", [[0, 0, 0], [2.6, 0, 0], [1.3, 2.3, 0], [1.3, 0.8, 2.1]]))
    write("crystal.xyz", crystal, format="extxyz")
    arguments = ("-o", "out.xyz", "--json", "--optimizer", "LBFGS", "--fmax", "5e-3", "-m", "emt")
    answer = ergodica("relax", "cluster.xyz", "crystal.xyz", *arguments, model=False)
    assert answer.code == 0
    cluster, copper = answer.json
    assert cluster["converged"] and cluster["fmax_eV_per_A"] < 5e-3 and cluster["steps"] > 0
    assert cluster["volume_A3"] is None and copper["volume_A3"] == pytest.approx(3.61**3)
    assert [len(atoms) for atoms in read("out.xyz", ":")] == [4, 4]


def test_what_was_at_rest_before_ctrl_c_is_kept(ergodica, monkeypatch):
    from ergodica.dynamics import relax

    write("copper.xyz", [bulk("Cu", cubic=True, a=a) for a in (3.6, 3.7, 3.8)], format="extxyz")
    monkeypatch.setattr(relax, "iter_relaxed", stopped(relax.iter_relaxed, 2))
    answer = ergodica("relax", "copper.xyz", "-m", "emt", "--json", "-o", "out.xyz", model=False)
    assert answer.code == 130 and "Interrupted" in answer.err
    assert [one["index"] for one in answer.json] == [0, 1]
    assert [atoms.get_potential_energy() for atoms in read("out.xyz", ":")] == pytest.approx(
        [one["energy_eV"] for one in answer.json]
    )


def test_relax_of_one_structure_answers_with_one_object_and_fails_when_it_does(ergodica):
    answer = ergodica("relax", "{f}/ethanol.xyz", "--steps", "1", "--fmax", "1e-5", "--json")
    assert answer.code == 1 and answer.json["converged"] is False and answer.json["steps"] == 1


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [(["--cell"], "not periodic"), (["--pressure", "1"], "--cell"), (["--fmax", "-1"], "fmax")],
)
def test_relax_refuses_what_makes_no_sense(ergodica, arguments, hint):
    answer = ergodica("relax", "{f}/ethanol.xyz", *arguments)
    assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err


def test_md_json_and_restart(ergodica):
    first = ergodica("md", "{f}/ethanol.xyz", "--ensemble", "nve", "--steps", "12", "--every", "5", "--json")
    assert first.code == 0
    record = first.json
    assert record["steps"] == 12 and record["trajectory"] == "ethanol.md.traj"
    assert record["ns_per_day"] == pytest.approx(record["steps_per_s"] * 0.5e-6 * 86400)
    assert isinstance(record["energy_drift_meV_per_atom_per_ps"], float) and record["temperature_K"] > 0
    assert [atoms.info["step"] for atoms in read("ethanol.md.traj", ":")] == [0, 5, 10, 12]
    again = ergodica("md", "{f}/ethanol.xyz", "--steps", "12")
    assert again.code == 2 and "--overwrite" in again.err
    more = ergodica(
        "md", "{f}/ethanol.xyz", "--ensemble", "nve", "--time", "10fs", "--every", "5", "--json", "--restart"
    )
    assert more.json["steps"] == 20
    assert [atoms.info["step"] for atoms in read("ethanol.md.traj", ":")] == [0, 5, 10, 12, 15, 20]
    done = ergodica("md", "{f}/ethanol.xyz", "--ensemble", "nve", "--steps", "20", "--json", "--restart")
    assert done.code == 0 and done.json["ns_per_day"] is None and "nothing to do" in done.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--replicas", "0"], "replica"),
        (["--ensemble", "npt"], "not periodic"),
        (["--pressure", "1"], "npt"),
        (["--steps", "1", "--time", "1ps"], "not both"),
        (["--time", "1h"], "duration"),
        (["--timestep", "0"], "positive"),
        (["-o", "run.pdf"], ".traj"),
        (["--cell", "triclinic"], "--cell does nothing under langevin"),
        (["--ensemble", "nve", "--thermostat-time", "5"], "--thermostat-time does nothing under nve"),
        (["--seed", "-1"], "seed=-1 not negative"),
        (["--steps", "0"], "no step to make"),
    ],
)
def test_md_refuses_what_makes_no_sense(ergodica, arguments, hint):
    answer = ergodica("md", "{f}/ethanol.xyz", "--quiet", *arguments)
    assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err


@pytest.mark.slow
def test_md_of_several_structures(ergodica, files, tmp_path):
    (tmp_path / "two.xyz").write_text(2 * (files / "ethanol.xyz").read_text())
    answer = ergodica("md", "two.xyz", "--steps", "4", "--json", "-o", "run.h5")
    assert answer.code == 0 and answer.json["trajectory"] == ["run.0.h5", "run.1.h5"]
    assert ergodica("evaluate", "run.0.h5", "--json").json["n_structures"] == 2
    again = ergodica("md", "two.xyz", "--steps", "4", "-o", "run.h5")
    assert again.code == 2 and "run.0.h5" in again.err


@pytest.mark.parametrize(("text", "femtoseconds"), [("10ps", 1e4), ("500 fs", 500.0), ("1.5e-3ns", 1500.0)])
def test_durations(text, femtoseconds):
    assert parse_time(text) == pytest.approx(femtoseconds)


@pytest.mark.parametrize("text", ["10", "ps", "1.2.3ps", "-1ps", ""])
def test_wrong_durations(text):
    with pytest.raises(InputError, match="duration"):
        parse_time(text)


@pytest.mark.parametrize("name", ["run.h5", "run.traj"])
def test_analyze_tells_what_a_run_was_like(ergodica, name):
    pytest.importorskip("matplotlib")
    write("Cu.xyz", bulk("Cu", cubic=True).repeat(2))
    run = ("md", "Cu.xyz", "-m", "emt", "--temperature", "600", "--timestep", "4", "--steps", "200", "--every", "4")
    assert ergodica(*run, "-o", name, "--quiet", model=False).code == 0
    answer = ergodica("analyze", name, "--skip", "80fs", "-o", "run.png", "--json", model=False)
    assert answer.code == 0 and Path("run.png").stat().st_size > 10_000
    found = answer.json
    assert found["n_frames"] == 46 and found["interval_fs"] == 16.0
    assert abs(found["temperature_K"] - 600) < 150 and found["pressure_GPa"] > 0
    assert abs(found["radial_distribution"]["total"]["first_peak_A"] - 2.55) < 0.15
    assert found["vibrations"]["degrees_of_freedom"] == 96
    again = ergodica("analyze", name, "--skip", "1000", model=False)
    assert again.code == 2 and is_one_sentence(again.err)


@pytest.mark.slow
def test_md_that_fails_says_so_and_keeps_what_there_is(ergodica):
    crystal = bulk("Cu", cubic=True)
    write("good.xyz", crystal)
    crystal.positions[1] = crystal.positions[0] + [0.1, 0, 0]
    write("overlapping.xyz", crystal)
    run = ("--steps", "60", "--every", "1", "-m", "emt", "--quiet")
    for name, more in (("overlapping.xyz", ()), ("good.xyz", ("--timestep", "200"))):
        answer = ergodica("md", name, *run, *more, "-o", f"{name}.traj", model=False)
        assert answer.code == 1 and is_one_sentence(answer.err) and "blew up at step" in answer.err
        assert f"'{name}.traj' holds the frames" in answer.err and len(read(f"{name}.traj", ":")) >= 1
    assert ergodica("md", "good.xyz", *run, "-o", "run.h5", model=False).code == 0
    write("other.xyz", bulk("Ag", cubic=True))
    answer = ergodica("md", "other.xyz", *run, "-o", "run.h5", "--restart", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and "other atoms" in answer.err
