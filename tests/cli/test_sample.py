"""`ergodica sample`: what is drawn, what is written, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from rdkit import Chem

from tests.cli.conftest import is_one_sentence
from tests.sampling.conftest import PEPTIDES, chain_xml, four_atoms


@pytest.fixture
def sample(ergodica):
    def call(*arguments):
        return ergodica("sample", *arguments, model=False)

    return call


def test_a_molecule_becomes_an_ensemble_and_a_folder(sample, tmp_path):
    answer = sample("CO", "--n", "200", "--reweight", "mmff94s", "--json", "-o", "out")
    assert answer.code == 0
    found = answer.json
    assert found["ensemble"].startswith("MMFF94s") and found["n"] == 200 and found["temperature_K"] == 300
    assert found["stereo_kept"] == 1 and found["reliable"] and found["ess"] > 100 and found["r_hat"] < 1.05
    assert sum(found["rotors"][0]["populations"].values()) == pytest.approx(1)
    assert sum(one["population"] for one in found["free_energies"]) == pytest.approx(1)
    folder = tmp_path / "out"
    assert json.loads((folder / "result.json").read_text())["ess"] == found["ess"]
    assert (folder / "torsions.png").read_bytes()[:4] == b"\x89PNG"
    assert "MMFF94s in vacuum" in (folder / "report.html").read_text()
    graphs = list(Chem.SDMolSupplier(str(folder / "conformers.sdf"), removeHs=False))
    assert len(graphs) == 200
    with np.load(folder / "ensemble.npz", allow_pickle=False) as arrays:
        assert arrays["positions"].shape == (200, 6, 3) and arrays["weights"].sum() == pytest.approx(1)
        weight = graphs[7].GetDoubleProp("weight")
        assert weight == pytest.approx(arrays["weights"][7])
    again = sample("CO", "--n", "200", "-o", "out")
    assert again.code == 2 and is_one_sentence(again.err)


@pytest.mark.slow
def test_diffusion_draws_independent_conformers_with_weights(sample):
    answer = sample("CCO", "--n", "256", "--method", "diffusion", "--json")
    assert answer.code == 0
    found = answer.json
    assert found["method"] == "diffusion" and found["n"] == 256 and found["exchanged"] == [] and found["folded"] == 0
    assert found["ess"] > 200 and found["pareto_k"] < 0.7 and found["stereo_kept"] == 1
    assert sum(found["weights"]) == pytest.approx(1)
    exchanged = sample("CCO", "--n", "2000", "--json").json
    for one, other in zip(found["rotors"], exchanged["rotors"], strict=True):
        for name, share in one["populations"].items():
            error = np.hypot(one["population_errors"][name], other["population_errors"][name])
            assert abs(share - other["populations"][name]) < 4 * error + 0.01


@pytest.mark.slow
def test_particles_are_drawn_with_even_weights(sample, tmp_path):
    """The mean energy of DW4 is -22.55 kT (Hamiltonian Monte Carlo)."""
    answer = sample("dw4", "--n", "256", "--method", "diffusion", "--json", "-o", "out")
    assert answer.code == 0
    found = answer.json
    assert (
        found["ess"] > 0.8 * 256 and found["pareto_k"] < 0.7 and found["folded"] == 0 and found["energy_calls"] == 256
    )
    assert found["energy_kT"] == pytest.approx(-22.55, abs=0.5)
    assert (tmp_path / "out" / "ensemble.png").read_bytes()[:4] == b"\x89PNG"
    assert "by weight" in (tmp_path / "out" / "report.html").read_text()
    with np.load(tmp_path / "out" / "ensemble.npz", allow_pickle=False) as arrays:
        assert arrays["positions"].shape == (256, 4, 2) and arrays["weights"].sum() == pytest.approx(1)
    for arguments in (
        ("dw4",),
        ("lj13", "--method", "diffusion", "-m", "dw4"),
        ("dw4", "--method", "diffusion", "--n", "0"),
    ):
        answer = sample(*arguments)
        assert answer.code == 2 and is_one_sentence(answer.err)


@pytest.mark.slow
def test_a_pdb_file_with_a_force_field_becomes_an_ensemble(sample, tmp_path):
    (tmp_path / "chain.pdb").write_text(four_atoms().text)
    (tmp_path / "chain.xml").write_text(chain_xml())
    answer = sample("chain.pdb", "-f", "chain.xml", "--n", "100", "--json", "-o", "out")
    assert answer.code == 0
    found = answer.json
    assert found["reliable"] and found["ess"] >= 100 and found["r_hat"] <= 1.05 and found["pareto_k"] is None
    assert found["regions"] == [] and len(found["exchanged"]) == 5
    assert found["thermal"][0]["temperature_K"] == pytest.approx(300)
    assert found["thermal"][0]["energy_eV"] == pytest.approx(found["energy_eV"], abs=4 * found["energy_error_eV"])
    with np.load(tmp_path / "out" / "ensemble.npz", allow_pickle=False) as arrays:
        assert arrays["positions"].shape == (found["n"], 4, 3) and arrays["walker"].max() == 7
    assert (tmp_path / "out" / "structures.pdb").read_text().count("MODEL") == 100
    assert (tmp_path / "out" / "backbone.png").read_bytes()[:4] == b"\x89PNG"
    for arguments, hint in (
        (("chain.pdb",), "needs a force field of its own"),
        (("nowhere.pdb", "-f", "chain.xml"), "no file"),
        (("chain.pdb", "-f", "chain.xml", "--method", "diffusion"), "-f is for replica exchange"),
        (("chain.pdb", "-f", "chain.xml", "--temperature", "-1"), "above 0 K"),
        (("x.safetensors",), "--method diffusion"),
        (("CO", "-f", "amber"), "no force field 'amber'"),
    ):
        answer = sample(*arguments)
        assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err


@pytest.mark.slow
def test_a_shipped_sampler_draws_structures_with_weights(sample, tmp_path):
    answer = sample("alanine-water", "--method", "diffusion", "--n", "128", "--json", "-o", "out")
    assert answer.code == 0
    found = answer.json
    assert found["ess"] > 0.3 * 128 and found["pareto_k"] < 0.7 and found["folded"] == 0
    assert sum(row["population"] for row in found["regions"]) == pytest.approx(1)
    assert {row["residue"] for row in found["regions"]} == {"ALA2A"}
    with np.load(tmp_path / "out" / "ensemble.npz", allow_pickle=False) as arrays:
        assert arrays["positions"].shape == (128, 22, 3) and arrays["weights"].sum() == pytest.approx(1)
    for arguments, hint in (
        (("alanine-water",), "--method diffusion"),
        (("alanine-water", "--method", "diffusion", "--temperature", "310"), "trained at 300 K"),
    ):
        answer = sample(*arguments)
        assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err


def test_the_table_says_what_is_known(sample):
    answer = sample("CO", "--n", "50")
    assert answer.code == 0
    assert "population" in answer.out and "effective" in answer.out + answer.err


def test_no_averages_of_an_ensemble_that_can_not_be_trusted(sample, monkeypatch):
    monkeypatch.setattr("ergodica.sampling.conformers.MIXED", 0.5)
    monkeypatch.setattr("ergodica.sampling.conformers.ROUNDS", 1)
    answer = sample("CO", "--n", "50", "--json")
    assert answer.code == 1
    assert answer.json["reliable"] is False and answer.json["free_energies"] is None
    assert answer.json["rotors"][0]["populations"] is None
    assert "No averages" in sample("CO", "--n", "50").err


def test_open_stereochemistry_is_said(sample):
    answer = sample("CC(F)Cl", "--n", "50")
    assert answer.code == 0 and "not fully given" in answer.out + answer.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["C(C"], "SMILES"),
        (["nowhere.sdf"], "no file"),
        (["CC.O"], "fragments"),
        (["C[CH2]"], "unpaired"),
        (["C1CCCCCCCCCCC1"], "ring of 12"),
        (["C[Se]C"], "no parameters for Se"),
        (["C1CCCCC1"], "single conformer"),
        (["CO", "--temperature", "0"], "above 0 K"),
        (["CO", "--n", "3"], "Between 25"),
        (["CO", "--reweight", "amber"], "amber"),
        (["CO", "--method", "diffusion", "-m", "nowhere.safetensors"], "no sampler"),
        (["CO", "-m", "nowhere.safetensors"], "add --method diffusion"),
        (["CO", "--method", "diffusion", "--temperature", "0"], "above 0 K"),
        (["CO", "--method", "diffusion", "-m", "torsions-mmff94", "--temperature", "200"], "trained between"),
        (["CO", "--precision", "float64"], "in float32"),
        (["dw4", "--method", "diffusion", "--temperature", "900"], "its own energy"),
        (["dw4", "--method", "diffusion", "--reweight", "mmff94"], "its own energy"),
        (["dw4", "--method", "diffusion", "--n", "10"], "At least 25"),
        (["alanine-vacuum", "--method", "diffusion", "--n", "10"], "At least 25"),
        (["alanine-vacuum", "--method", "diffusion", "--reweight", "mmff94"], "--reweight is for"),
        (["alanine-vacuum", "--method", "diffusion", "-m", "hairpin"], "leave -m out"),
        (["alanine-vacuum", "--method", "diffusion", "-f", "field.xml"], "-f is for"),
        (["nowhere.pdb", "--method", "diffusion", "-m", "alanine-vacuum"], "no file"),
        ([str(PEPTIDES / "hairpin.pdb"), "--method", "diffusion", "-m", "alanine-vacuum"], "another molecule"),
    ],
)
def test_bad_input(sample, arguments, hint):
    answer = sample(*arguments, "--json")
    assert answer.code == 2 and answer.out == ""
    assert is_one_sentence(answer.err) and hint in answer.err


@pytest.mark.slow
def test_a_sampler_draws_where_it_is_wished_to(sample, tmp_path):
    wish = ("--toward", "dihedral:4,6,8,14=-80,30")
    answer = sample("alanine-water", "--method", "diffusion", "--n", "128", *wish, "--json", "-o", "out")
    assert answer.code == 0 and answer.json["toward"] == [wish[1]]
    with np.load(tmp_path / "out" / "ensemble.npz", allow_pickle=False) as arrays:
        phi = np.degrees(arrays["backbone/ALA2A"][:, 0])
        assert (np.abs(phi + 80) < 60).mean() > 0.9
        assert np.isfinite(arrays["log_weights"] - arrays["log_restraints"]).all()
    assert "with its restraints" in (tmp_path / "out" / "report.html").read_text()


def test_restraints_without_a_sampler_are_refused(sample, tmp_path):
    (tmp_path / "chain.pdb").write_text(four_atoms().text)
    for arguments, hint in (
        (("CO", "--toward", "gyration=3,1"), "samplers of one molecule"),
        (("chain.pdb", "-f", "chain.xml", "--toward", "gyration=3,1"), "needs --method diffusion"),
        (("hairpin", "--method", "diffusion", "--toward", "gyration=wide"), "can't be read"),
    ):
        answer = sample(*arguments)
        assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err


def test_a_path_that_can_not_be_drawn_is_refused(ergodica, tmp_path):
    (tmp_path / "chain.pdb").write_text(four_atoms().text)
    for arguments, hint in (
        (("chain.pdb", "chain.pdb", "-m", "hairpin"), "has 4 atoms"),
        (("nowhere.pdb", "chain.pdb", "-m", "hairpin"), "nowhere.pdb"),
        (("chain.pdb", "chain.pdb", "-m", "dw4"), "sampler"),
    ):
        answer = ergodica("path", *arguments, model=False)
        assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err


@pytest.mark.slow
def test_a_path_leads_from_one_fold_to_the_other(ergodica, tmp_path):
    folds = (str(PEPTIDES / name) for name in ("hairpin.pdb", "helix.pdb"))
    answer = ergodica("path", *folds, "-m", "hairpin", "--n", "7", "--json", "-o", "out", model=False)
    assert answer.code == 0
    points = answer.json["points"]
    assert points[0]["rmsd_A"][0] < 0.01 and points[-1]["rmsd_A"][1] < 0.01 and len(points) >= 5
    assert answer.json["barrier_kT"] > 5
    assert (tmp_path / "out" / "path.pdb").read_text().count("MODEL") == len(points)
    assert (tmp_path / "out" / "path.png").read_bytes()[:4] == b"\x89PNG"
