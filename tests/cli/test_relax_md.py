"""`relax` and `md` as commands."""

from __future__ import annotations

import pytest
from ase.io import read

from ergodica.cli.md import parse_time
from ergodica.errors import InputError
from tests.cli.conftest import is_one_sentence


def test_relax_writes_what_it_found(ergodica):
    files = ("{f}/ethanol.xyz", "{f}/silicon.xyz")
    answer = ergodica("relax", *files, "-o", "out.xyz", "--json", "--optimizer", "LBFGS", "--fmax", "5e-3")
    assert answer.code == 0
    ethanol, silicon = answer.json
    assert ethanol["converged"] and ethanol["fmax_eV_per_A"] < 5e-3 and ethanol["steps"] > 0
    assert ethanol["volume_A3"] is None and silicon["volume_A3"] == pytest.approx(5.43**3)
    assert [len(atoms) for atoms in read("out.xyz", ":")] == [9, 8]


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
    done = ergodica("md", "{f}/ethanol.xyz", "--steps", "20", "--json", "--restart")
    assert done.code == 0 and done.json["ns_per_day"] is None and "nothing to do" in done.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--replicas", "2"], "replica"),
        (["--ensemble", "npt"], "not periodic"),
        (["--pressure", "1"], "npt"),
        (["--steps", "1", "--time", "1ps"], "not both"),
        (["--time", "1h"], "duration"),
        (["--timestep", "0"], "positive"),
        (["-o", "run.pdf"], ".traj"),
    ],
)
def test_md_refuses_what_makes_no_sense(ergodica, arguments, hint):
    answer = ergodica("md", "{f}/ethanol.xyz", "--quiet", *arguments)
    assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err


def test_md_wants_one_structure(ergodica, files, tmp_path):
    (tmp_path / "two.xyz").write_text(2 * (files / "ethanol.xyz").read_text())
    answer = ergodica("md", "two.xyz")
    assert answer.code == 2 and is_one_sentence(answer.err) and "2 structures" in answer.err


@pytest.mark.parametrize(("text", "femtoseconds"), [("10ps", 1e4), ("500 fs", 500.0), ("1.5e-3ns", 1500.0)])
def test_durations(text, femtoseconds):
    assert parse_time(text) == pytest.approx(femtoseconds)


@pytest.mark.parametrize("text", ["10", "ps", "1.2.3ps", "-1ps", ""])
def test_wrong_durations(text):
    with pytest.raises(InputError, match="duration"):
        parse_time(text)
