"""`ergodica density`: what is found, what is written, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.io.cube import read_cube

from ergodica.units import BOHR
from tests.cli.conftest import is_one_sentence


@pytest.fixture
def density(ergodica, tmp_path):
    slab = fcc111("Cu", (3, 3, 3), vacuum=8.0)
    slab.info.clear()  # extxyz can't hold what ASE keeps of its sites
    slab.write(tmp_path / "slab.xyz")
    bulk("Cu", cubic=True).write(tmp_path / "bulk.xyz")

    def call(*arguments):
        return ergodica("density", *arguments, model=False)

    return call


def test_a_slab_becomes_a_map_and_a_folder(density, tmp_path):
    answer = density("slab.xyz", "--species", "N", "--json", "-o", "out")
    assert answer.code == 0
    found = answer.json
    assert found["normalisation"] == 1 and found["normalisation_error"] < 0.01 and found["reliable"]
    assert len(found["sites"]) == 18 and sum(site["population"] for site in found["sites"]) == pytest.approx(1)
    assert all(1.2 < site["position_A"][2] < 1.6 for site in found["sites"])
    folder = tmp_path / "out"
    assert json.loads((folder / "result.json").read_text())["species"] == "N"
    assert (folder / "density.png").read_bytes()[:4] == b"\x89PNG" and "mathematics" in (
        folder / "report.html"
    ).read_text()
    with np.load(folder / "ensemble.npz", allow_pickle=False) as arrays:
        assert arrays["points"].shape[:3] == arrays["log_density"].shape
        lowest, shape = arrays["energies"].min(), arrays["log_density"].shape
    assert found["sites"][0]["energy_eV"] == pytest.approx(lowest, abs=0.02)
    with open(folder / "density.cube") as file:
        cube = read_cube(file)
    assert cube["data"].shape == shape
    volume = cube["atoms"].cell.volume / cube["data"].size / BOHR**3
    assert volume * cube["data"].sum() == pytest.approx(1, abs=0.05)
    again = density("slab.xyz", "-o", "out")
    assert again.code == 2 and is_one_sentence(again.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("slab.xyz", "--species", "Xx"), "'Xx' is no element"),
        (("bulk.xyz",), "of vacuum above the slab"),
        (("slab.xyz", "--species", "S"), "has no S"),
        (("slab.xyz", "--temperature", "0"), "above 0 K"),
        (("slab.xyz", "--temperature", "nan"), "above 0 K"),
        (("slab.xyz", "--heights", "1.0", "1.3"), "highest points"),
        (("slab.xyz", "--spacing", "0"), "positive spacings"),
        (("slab.xyz", "--step", "0"), "positive spacings"),
        (("slab.xyz", "--method", "diffusion", "--n", "7"), "At least 25"),
        (("slab.xyz", "--method", "diffusion", "-m", "nowhere"), "There is no sampler 'nowhere'"),
        (("nothing.xyz",), "nothing.xyz"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(density, arguments, message):
    answer = density(*arguments)
    assert answer.code == 2 and message in answer.err and is_one_sentence(answer.err)
