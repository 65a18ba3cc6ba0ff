"""`eos`, `elastic`, `phonons`, `quasiharmonic` and `phase-diagram` as commands."""

from __future__ import annotations

import json
from pathlib import Path

import phonopy
import pytest
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.io import write

from ergodica.errors import WorkFailed
from tests.cli.conftest import is_one_sentence

QUICK = ("--length", "5", "--mesh", "20")
VERBS = ("eos", "elastic", "phonons", "quasiharmonic")


@pytest.fixture
def metals(ergodica):
    """Files in the working folder, and the command with EMT."""
    write("Cu.xyz", bulk("Cu", a=3.6), format="extxyz")
    write("two.xyz", [bulk("Cu"), bulk("Au")], format="extxyz")
    write("fcc.xyz", bulk("Ag"), format="extxyz")
    write("hcp.xyz", bulk("Ag", "hcp", a=2.9), format="extxyz")
    return lambda *words: ergodica(*words, "-m", "emt", model=False)


def test_eos(metals):
    answer = metals("eos", "Cu.xyz", "--json", "-o", "out")
    record = answer.json
    assert answer.code == 0 and record["v0_A3_per_atom"] == pytest.approx(11.565, abs=0.01)
    assert record["bulk_modulus_GPa"] == pytest.approx(134.4, abs=0.5) and len(record["energies_eV"]) == 7
    assert json.loads(Path("out/result.json").read_text()) == record
    assert Path("out/eos.png").stat().st_size > 5000 and b"data:image/png" in Path("out/report.html").read_bytes()
    again = metals("eos", "Cu.xyz", "-o", "out")
    assert again.code == 2 and is_one_sentence(again.err) and "--overwrite" in again.err


def test_structures_of_one_file_name_are_told_apart(metals):
    for folder, symbol in (("one", "Cu"), ("two", "Ag")):
        Path(folder).mkdir()
        write(f"{folder}/POSCAR", bulk(symbol), format="vasp")
    write("Cu.cif", bulk("Cu"))
    answer = metals("eos", "one/POSCAR", "two/POSCAR", "Cu.xyz", "Cu.cif", "--json", "-o", "out")
    assert answer.code == 0 and len(answer.json) == 4
    folders = {path.name for path in Path("out").iterdir() if path.is_dir()}
    here = Path.cwd().name
    assert folders == {"one-POSCAR", "two-POSCAR", f"{here}-Cu", f"{here}-Cu-2"}


def test_frames_and_files_of_like_names_get_folders_of_their_own(metals):
    write("a.xyz", [bulk("Cu"), bulk("Cu", a=3.7)], format="extxyz")
    write("a-1.xyz", bulk("Au"), format="extxyz")
    answer = metals("eos", "a.xyz", "a-1.xyz", "--json", "-o", "out")
    assert answer.code == 0 and len(answer.json) == 3
    assert len([path for path in Path("out").iterdir() if path.is_dir()]) == 3


def test_one_crystal_without_phonons_does_not_take_those_of_the_others_away(metals):
    write("lone.xyz", bulk("Cu", a=20.0), format="extxyz")
    answer = metals("phonons", "Cu.xyz", "lone.xyz", "--no-relax", *QUICK, "--json", "-o", "out")
    assert answer.code == 1 and [record["formula"] for record in answer.json] == ["Cu"]
    assert "no result: lone: all frequencies are zero" in answer.err and Path("out/result.json").exists()
    alone = metals("phonons", "lone.xyz", "--no-relax", *QUICK)
    assert alone.code == 1 and is_one_sentence(alone.err)


def failing_for(symbol, real, error):
    """A calculation that fails for crystals with an element."""

    def compute(potential, systems, options):
        if any(symbol in system.to_ase().symbols for system in systems):
            raise error
        return real(potential, systems, options)

    return compute


def test_one_crystal_that_fails_does_not_take_the_constants_of_the_others_away(metals, monkeypatch):
    from ergodica.properties import elastic

    broken = failing_for("Au", elastic.elastic, WorkFailed("Gold is no crystal."))
    monkeypatch.setattr(elastic, "elastic", broken)
    answer = metals("elastic", "two.xyz", "--json", "-o", "out")
    assert answer.code == 1 and "no result: Gold is no crystal." in answer.err
    (copper,) = answer.json
    assert copper["formula"] == "Cu" and Path("out/two-0/elastic.png").exists() and not Path("out/two-1").exists()


def test_what_was_computed_before_ctrl_c_is_kept(metals, monkeypatch):
    from ergodica.cli import study
    from ergodica.properties import eos

    monkeypatch.setattr(study, "GROUP", 1)
    monkeypatch.setattr(eos, "eos", failing_for("Au", eos.eos, KeyboardInterrupt()))
    answer = metals("eos", "two.xyz", "--json", "-o", "out")
    assert answer.code == 130 and "Interrupted" in answer.err
    assert [record["formula"] for record in answer.json] == ["Cu"]
    assert json.loads(Path("out/result.json").read_text()) == answer.json


def test_names_of_files_are_no_mathematics(metals):
    write("a$x_$b@2.xyz", bulk("Cu"), format="extxyz")
    answer = metals("eos", "a$x_$b@2.xyz", "--json", "-o", "out")
    assert answer.code == 0 and Path("out/report.html").exists()


@pytest.mark.parametrize("verb", VERBS)
def test_atoms_that_are_held_are_refused(metals, verb):
    held = bulk("Cu", cubic=True)
    held.set_constraint(FixAtoms([0]))
    write("held.xyz", held, format="extxyz")
    answer = metals(verb, "held.xyz")
    assert answer.code == 2 and is_one_sentence(answer.err) and "constraints" in answer.err


def test_elastic_of_several_answers_in_order(metals):
    answer = metals("elastic", "two.xyz", "--json", "-o", "out")
    copper, gold = answer.json
    assert (copper["formula"], gold["formula"]) == ("Cu", "Au") and copper["stable"] is True
    assert copper["independent_GPa"]["C44"] == pytest.approx(89.9, abs=0.2) and copper["laue_class"] == "m-3m"
    assert Path("out/two-0/elastic.png").exists() and Path("out/two-1/elastic.png").exists()
    shown = metals("elastic", "Cu.xyz")
    assert "C44 / GPa" in shown.out and "Fm-3m (225)" in shown.out


def test_phonons(metals):
    answer = metals("phonons", "Cu.xyz", *QUICK, "--json", "-o", "out")
    record = answer.json
    assert answer.code == 0 and record["imaginary_modes"] is False and "relaxed first" in answer.err
    assert record["max_frequency_THz"] == pytest.approx(8.1, abs=0.3) and len(record["gamma_frequencies_THz"]) == 3
    assert record["bands"][0]["from"] == "Γ" and len(record["thermal"]["temperature_K"]) == 101
    assert {path.name for path in Path("out").iterdir()} == {
        "bands.png", "thermal.png", "phonopy_params.yaml", "report.html", "result.json",
    }  # fmt: skip
    loaded = phonopy.load("out/phonopy_params.yaml", log_level=0)
    assert loaded.run_qpoints([[0, 0.5, 0.5]]).frequencies.max() == pytest.approx(record["max_frequency_THz"], abs=0.05)
    given = metals("phonons", "Cu.xyz", *QUICK, "--supercell", "2", "2", "2", "--json")
    assert given.json["supercell"] == [[2, 0, 0], [0, 2, 0], [0, 0, 2]] and given.json["n_atoms_supercell"] == 8


def test_unrelaxed_structure_is_warned_of(metals):
    write("wide.xyz", bulk("Cu", a=3.8), format="extxyz")
    answer = metals("phonons", "wide.xyz", *QUICK, "--no-relax")
    assert answer.code == 0 and "warning: wide is not relaxed" in answer.err


def test_quasiharmonic(metals):
    answer = metals("quasiharmonic", "Cu.xyz", *QUICK, "--t-max", "400", "--t-step", "50", "-o", "out", "--json")
    record = answer.json
    assert record["zero_pressure"]["thermal_expansion_per_K"][6] == pytest.approx(6.2e-5, rel=0.1)
    assert Path("out/quasiharmonic.png").exists()


@pytest.mark.slow
def test_phase_diagram(metals):
    words = ("--p-max", "20", "--p-step", "5", "--t-max", "300", "--t-step", "100", "--volumes", "5")
    answer = metals("phase-diagram", "fcc.xyz", "hcp.xyz", *QUICK, *words, "-o", "diagram", "--json")
    record = answer.json
    assert record["stable_lowest_temperature_zero_pressure"] == "fcc"
    assert 5 < record["boundary"][0]["pressure_GPa"] < 15
    assert Path("diagram/phase-diagram.png").exists() and Path("diagram/quasiharmonic-hcp.png").exists()


def test_polymorphs_of_two_compositions_are_refused(metals):
    other = metals("phase-diagram", "fcc.xyz", "Cu.xyz")
    assert other.code == 2 and is_one_sentence(other.err) and "composition" in other.err


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_crystal_or_unknown_is_refused(ergodica, verb):
    answer = ergodica(verb, "{f}/ethanol.xyz")
    assert answer.code == 2 and is_one_sentence(answer.err) and "no crystal" in answer.err
    answer = ergodica(verb, "{f}/silicon.xyz", "-m", "emt", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and "Si" in answer.err


def test_options_that_make_no_sense(metals):
    for words in (("eos", "--points", "3"), ("elastic", "--strain", "0.5"), ("phonons", "--length", "0")):
        answer = metals(words[0], "Cu.xyz", *words[1:])
        assert answer.code == 2 and is_one_sentence(answer.err)


def test_crystal_without_a_minimum_fails(metals, monkeypatch):
    monkeypatch.setattr("ergodica.properties.eos.ROUNDS", 2)
    write("gas.xyz", bulk("Cu", a=12.0), format="extxyz")
    answer = metals("eos", "gas.xyz", "--relax", "none", "--json")
    assert answer.code == 1 and answer.json["v0_A3"] is None and "no minimum" in answer.err
