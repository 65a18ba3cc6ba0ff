"""`ergodica generate`, `label`, `select` and `split`: the whole turn of the flywheel, and bad input."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import read, write

from ergodica.files import read_structures
from tests.cli.conftest import is_one_sentence

TINY = ("--elements", "Al", "Cu", "--prototypes", "fcc", "l1_2", "b2", "--limit", "6")
SPRINGS = "tests.helpers.teachers:Springs"


def test_a_turn_of_the_flywheel(ergodica, tmp_path):
    made = ergodica("generate", *TINY, "--seed", "1", "--json", model=False)
    assert made.code == 0 and made.json["n_structures"] == sum(made.json["by_kind"].values()) >= 6
    chosen = ergodica("select", "structures.extxyz", "-n", "5", "--json", model=False)
    assert chosen.code == 0 and len(chosen.json) == 5
    labelled = ergodica(
        "label", "chosen.extxyz", "-t", "emt", "--workers", "0", "-o", "labelled.npz", "--json", model=False
    )
    assert labelled.code == 0 and labelled.json["n_kept"] == 5 and labelled.json["teacher"].startswith("emt 3.")
    systems = read_structures("labelled.npz", needs=("energy", "forces"))
    assert [system.labels.level_of_theory for system in systems] == ["effective medium theory"] * 5
    assert all(system.labels.stress is not None for system in systems) and "kind" in systems[0].info
    split = ergodica("split", "labelled.npz", "--by", "structure", "--fractions", "0.6", "0.4", "--json", model=False)
    assert split.code == 0 and [part["n_structures"] for part in split.json] == [3, 2]
    assert len(read_structures("labelled.train.npz", needs=("energy",))) == 3
    kinds = ergodica("split", "labelled.npz", "--by", "kind", "--each", "--json", model=False)
    assert kinds.code == 0 and sum(part["n_structures"] for part in kinds.json) == 5
    assert all({s.info["kind"] for s in read_structures(part["output"])} == {part["name"]} for part in kinds.json)


def test_repeating_a_command_computes_nothing_again(ergodica, tmp_path):
    write("water.xyz", [molecule("H2O"), molecule("CH4"), bulk("Fe")])
    words = (
        "label",
        "water.xyz",
        "--teacher",
        SPRINGS,
        "--kwargs",
        json.dumps({"log": "log"}),
        "--workers",
        "0",
        "--json",
    )
    first = ergodica(*words, model=False)
    assert first.code == 0 and (first.json["n_labelled"], first.json["n_failed"]) == (2, 1)
    (lost,) = [json.loads(line) for line in (tmp_path / "labelled.left-out.jsonl").read_text().splitlines()]
    assert lost == {"file": "water.xyz", "index": 2, "formula": "Fe", "reason": "NotImplementedError: No iron, please."}
    again = ergodica(*words, model=False)
    assert again.code == 0 and again.json["n_labelled"] == 2
    assert (tmp_path / "log").read_text().split() == ["H2O", "CH4", "Fe"]
    assert ergodica(*words, "--overwrite", model=False).code == 0
    assert len((tmp_path / "log").read_text().split()) == 6
    (water, methane) = read("labelled.extxyz", ":")
    assert water.info["teacher"] == SPRINGS and len(methane) == 5
    np.testing.assert_allclose(water.get_forces(), -water.positions, atol=1e-7)


def test_structures_of_an_earlier_call_are_not_lost(ergodica, tmp_path):
    write("cu.xyz", [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)])
    words = "-t", "emt", "--workers", "0", "-o", "out.extxyz"
    assert ergodica("label", "cu.xyz@0:2", *words, model=False).code == 0
    other = ergodica("label", "cu.xyz@2", *words, model=False)
    assert other.code == 2 and is_one_sentence(other.err) and len(read_structures("out.extxyz")) == 2
    assert ergodica("label", "cu.xyz", *words, model=False).code == 0 and len(read_structures("out.extxyz")) == 3


def test_generate_notices_that_the_users_structures_changed(ergodica, tmp_path):
    words = "generate", "--structures", "own.xyz", "--elements", "Cu", "--json"
    write("own.xyz", [bulk("Cu", a=a) for a in (3.5, 3.6)])
    first = ergodica(*words, model=False)
    assert first.code == 0 and ergodica(*words, model=False).json == first.json
    write("own.xyz", [bulk("Cu", a=a) for a in (3.5, 3.6, 3.7)])
    grown = ergodica(*words, model=False)
    assert grown.code == 2 and "another recipe" in grown.err


def test_two_teachers(ergodica, tmp_path):
    rng = np.random.default_rng(0)
    waters = [molecule("H2O") for _ in range(6)]
    for scale, water in enumerate(waters):
        water.positions += rng.normal(size=(3, 3)) * 0.2 * scale
    write("water.xyz", waters)
    words = ("label", "water.xyz", "-t", SPRINGS, "--agree", SPRINGS, "--workers", "0", "--json")
    other = ("--agree-kwargs", json.dumps({"stiffness": 1.2, "shifts": {"H": 1.0}}))
    loose = ("--tolerance-relative", "0", "--tolerance-energy", "10", "--tolerance-forces")
    found = ergodica(*words, *other, *loose, "0.25", model=False)
    assert found.code == 0 and 0 < found.json["n_kept"] < 6
    kept = read("labelled.extxyz", ":")
    assert all(0.2 * np.linalg.norm(one.get_forces(), axis=1).max() <= 0.25 for one in kept)
    assert kept[0].info["second_teacher"] == SPRINGS
    assert (
        found.json["picture"] == "labelled.agreement.png" and (tmp_path / "labelled.agreement.png").stat().st_size > 1e4
    )
    reasons = {json.loads(line)["reason"] for line in (tmp_path / "labelled.left-out.jsonl").read_text().splitlines()}
    assert reasons == {"the teachers disagree"}
    none = ergodica(*words, *other, *loose, "0", "--quiet", model=False)
    assert none.code == 1 and is_one_sentence(none.err) and "agree on no structure" in none.err


def test_select_by_the_disagreement_of_models(ergodica, files, tmp_path):
    write("two.xyz", [molecule("H2O"), molecule("H2O"), molecule("NH3")])
    tiny = str(files / "tiny.safetensors")
    one = ergodica("select", "two.xyz", "-m", tiny, model=False)
    assert one.code == 2 and is_one_sentence(one.err) and "two or more" in one.err
    two = ergodica("select", "two.xyz", "-m", tiny, "-m", tiny, "-n", "3", "--json", model=False)
    assert two.code == 0 and [record["disagreement_forces_eV_per_A"] for record in two.json] == [0, 0]
    assert {record["formula"] for record in two.json} == {"H2O", "H3N"}


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("label", "{f}/ethanol.xyz", "--teacher", "gpt"), "no teacher 'gpt'"),
        (("label", "{f}/ethanol.xyz"), "--teacher"),
        (("label", "{f}/ethanol.xyz", "-t", "emt", "--kwargs", "{"), "not JSON"),
        (("label", "nowhere.xyz", "-t", "emt"), "nowhere.xyz"),
        (("label", "-t", "emt"), "at least one"),
        (("label", "{f}/ethanol.xyz", "-t", "emt", "-o", "out.cif"), "no energies and forces"),
        (("label", "{f}/ethanol.xyz", "-t", "emt", "--workers", "-2"), "--workers"),
        (("label", "{f}/ethanol.xyz", "-t", "emt", "--tolerance-forces", "0.1"), "second teacher"),
        (("label", "{f}/ethanol.xyz", "-t", "lj", "--kwargs", '{"nonsense": 3}'), "nonsense"),
        (("generate", "--kwargs", "{}"), "--teacher"),
        (("label", "{f}/ethanol.xyz", "-t", "emt", "--agree", "emt", "--tolerance-forces", "-1"), "negative"),
        (("generate", "--elements", "Xx"), "'Xx'"),
        (("generate", "--prototypes", "fct"), "no prototype 'fct'"),
        (("generate", "--structures", "nowhere.xyz"), "nowhere.xyz"),
        (("generate", "none.toml"), "none.toml"),
        (("generate", "-o", "a.cif", *TINY), "extxyz"),
        (("select", "{f}/ethanol.xyz", "--floor", "0.1"), "two or more models"),
        (("select", "{f}/ethanol.xyz", "-n", "0"), "at least 1"),
        (("split", "{f}/ethanol.xyz"), "1 groups by composition, too few"),
        (("split", "{f}/ethanol.xyz", "--fractions", "0.5", "0.6"), "add up to 1"),
        (("split", "{f}/ethanol.xyz", "--names", "a"), "2 fractions"),
        (("split",), "at least one"),
    ],
)
def test_bad_input(ergodica, words, hint):
    answer = ergodica(*words, "--json", model=False)
    assert answer.code == 2 and answer.out == ""
    assert is_one_sentence(answer.err) and hint in answer.err


def test_a_missing_teacher_tells_how_to_install_it(ergodica, monkeypatch):
    monkeypatch.setitem(sys.modules, "chgnet", None)
    answer = ergodica("label", "{f}/ethanol.xyz", "-t", "chgnet", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and "pip install chgnet" in answer.err


WRITERS = {
    "generate": TINY,
    "label": ("{f}/silicon.xyz", "-t", SPRINGS, "--workers", "0"),
    "select": ("{f}/silicon.xyz",),
}


@pytest.mark.parametrize("verb", WRITERS)
def test_an_output_that_can_not_be_written_is_one_sentence(ergodica, verb):
    answer = ergodica(verb, *WRITERS[verb], "-o", "/proc/nowhere/out.extxyz", model=False)
    assert answer.code == 1 and is_one_sentence(answer.err) and "Could not write" in answer.err


def test_an_output_that_exists_is_left_alone(ergodica, tmp_path):
    (tmp_path / "labelled.extxyz").write_text("mine")
    answer = ergodica("label", "{f}/silicon.xyz", "-t", SPRINGS, model=False)
    assert answer.code == 2 and "exists" in answer.err
    assert (tmp_path / "labelled.extxyz").read_text() == "mine"


@pytest.mark.parametrize("verb", ["generate", "label", "select", "split"])
def test_help_imports_nothing_heavy(verb):
    code = "import sys; from ergodica.cli import main; main(sys.argv[1:]); print('MODULES', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, verb, "--help"], capture_output=True, text=True, check=True)
    help_text, _, modules = done.stdout.partition("MODULES")
    assert not {"jax", "numpy", "ase"} & set(modules.split()) and help_text.startswith("Example: ")
