"""`predict` and `evaluate`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.io import read, write

from ergodica import load, predict
from ergodica.errors import InputError
from ergodica.files import read_structures
from ergodica.prediction import Prediction
from ergodica.system import Labels
from ergodica.training.metrics import errors
from tests.cli.conftest import is_one_sentence, stopped


def test_json_is_a_list_with_the_contract_keys(ergodica, files):
    answer = ergodica("predict", "{f}/ethanol.xyz", "{f}/silicon.xyz", "--json")
    assert answer.code == 0
    ethanol, silicon = answer.json
    expected = predict(load(files / "tiny.safetensors"), [read(files / "ethanol.xyz"), read(files / "silicon.xyz")])
    for record, one, n in ((ethanol, expected[0], 9), (silicon, expected[1], 8)):
        assert record["index"] == 0 and record["n_atoms"] == n
        assert record["energy_eV"] == pytest.approx(one.energy)
        assert np.shape(record["forces_eV_per_A"]) == (n, 3)
        assert sum(record["energies_eV"]) == pytest.approx(one.energy)
    assert ethanol["formula"] == "C2H6O" and ethanol["stress_eV_per_A3"] is None
    assert np.shape(silicon["stress_eV_per_A3"]) == (3, 3)
    assert "compilation" in answer.err


def test_one_structure_is_a_list_too_and_quiet_is_quiet(ergodica):
    answer = ergodica("predict", "{f}/ethanol.xyz", "--json", "--quiet")
    assert len(answer.json) == 1 and answer.err == ""


def test_table_for_people(ergodica):
    answer = ergodica("predict", "{f}/ethanol.xyz")
    assert answer.code == 0 and "C2H6O" in answer.out and "energy / eV" in answer.out


def test_stdin(ergodica, files, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO((files / "ethanol.xyz").read_text()))
    assert ergodica("predict", "-", "--json").json[0]["file"] == "-"


def test_precision(ergodica):
    single, double = (
        ergodica("predict", "{f}/ethanol.xyz", "--json", "--precision", p).json[0] for p in ("float32", "float64")
    )
    assert single["energy_eV"] != double["energy_eV"]
    assert single["energy_eV"] == pytest.approx(double["energy_eV"], abs=1e-5)


def test_output_holds_the_labels_and_is_not_overwritten(ergodica):
    both = "{f}/ethanol.xyz", "{f}/silicon.xyz"
    first = ergodica("predict", *both, "-o", "out.xyz", "--json")
    written = read("out.xyz", 1)
    assert written.get_potential_energy() == pytest.approx(first.json[1]["energy_eV"])
    assert written.get_stress(voigt=False) == pytest.approx(np.array(first.json[1]["stress_eV_per_A3"]))
    again = ergodica("predict", *both, "-o", "out.xyz")
    assert again.code == 2 and is_one_sentence(again.err) and "--overwrite" in again.err
    assert ergodica("predict", *both, "-o", "out.xyz", "--overwrite").code == 0


@pytest.mark.parametrize("name", ["out.cif", "out.pdb", "POSCAR"])
def test_files_that_hold_no_labels_are_refused_before_the_work(ergodica, name):
    answer = ergodica("predict", "{f}/ethanol.xyz", "-o", name)
    assert answer.code == 2 and "no energies and forces" in answer.err and not Path(name).exists()


def test_what_was_predicted_before_ctrl_c_is_kept(ergodica, monkeypatch):
    from ergodica import prediction

    monkeypatch.setattr(prediction, "iter_predictions", stopped(prediction.iter_predictions, 1))
    answer = ergodica("predict", "{f}/silicon.xyz", "{f}/ethanol.xyz", "--json", "-o", "out.xyz")
    assert answer.code == 130 and "Interrupted" in answer.err
    (known,) = answer.json
    assert read("out.xyz").get_potential_energy() == pytest.approx(known["energy_eV"])


def test_evaluate_own_predictions_without_error(ergodica):
    ergodica("predict", "{f}/ethanol.xyz", "{f}/silicon.xyz", "-o", "labelled.xyz")
    answer = ergodica("evaluate", "labelled.xyz", "--json", "-o", "parity.png")
    numbers = answer.json
    assert answer.code == 0 and numbers["n_structures"] == 2
    for key in (
        "energy_mae_eV",
        "energy_mae_eV_per_atom",
        "energy_rmse_eV",
        "forces_mae_eV_per_A",
        "forces_rmse_eV_per_A",
    ):
        assert numbers[key] == pytest.approx(0, abs=1e-6)
    assert numbers["stress_mean_norm_error_GPa"] == pytest.approx(0, abs=1e-5)
    assert set(numbers["per_element"]) == {"H", "C", "O", "Si"}
    with open("parity.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"


def test_evaluate_without_labels(ergodica):
    answer = ergodica("evaluate", "{f}/ethanol.xyz")
    assert answer.code == 2 and is_one_sentence(answer.err) and "no energy" in answer.err


def test_evaluate_with_some_labels_lost(ergodica, files):
    ergodica("predict", "{f}/ethanol.xyz", "-o", "labelled.xyz")
    write("mixed.xyz", [read("labelled.xyz"), read(files / "ethanol.xyz")], format="extxyz")
    answer = ergodica("evaluate", "mixed.xyz")
    assert answer.code == 2 and is_one_sentence(answer.err) and "frame 1" in answer.err


def test_evaluate_takes_other_label_names(ergodica, files):
    atoms = read(files / "ethanol.xyz")
    atoms.info["REF_energy"] = 1.0
    write("ref.xyz", atoms, format="extxyz")
    answer = ergodica("evaluate", "ref.xyz", "--energy-key", "REF_energy", "--json")
    assert answer.json["energy_mae_eV"] > 0.5 and answer.json["forces_mae_eV_per_A"] is None


def test_metrics_are_what_their_names_say(files):
    (system,) = read_structures(files / "silicon.xyz")
    shift = np.zeros((8, 3))
    shift[0] = 3.0, 0.0, 4.0
    one = Prediction(1.0, np.full(8, 1 / 8), shift, np.eye(3))
    numbers = errors([one], [system.with_labels(Labels(9.0, np.zeros((8, 3)), np.zeros((3, 3))))])
    assert numbers["energy_mae_eV"] == pytest.approx(8.0) and numbers["energy_rmse_eV_per_atom"] == pytest.approx(1.0)
    assert numbers["forces_mae_eV_per_A"] == pytest.approx(7 / 24)
    assert numbers["forces_mean_norm_error_eV_per_A"] == pytest.approx(5 / 8)
    assert numbers["stress_mean_norm_error_GPa"] == pytest.approx(160.21766 * 3**0.5, rel=1e-5)
    assert numbers["per_element"]["Si"] == pytest.approx(7 / 24)


def test_metrics_of_nothing():
    with pytest.raises(InputError, match="nothing to evaluate"):
        errors([], [])
