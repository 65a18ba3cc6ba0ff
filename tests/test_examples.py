"""What the README and the examples show runs as shown, and every shipped model stands by its card."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from ergodica import load, predict
from ergodica.dft.learned.functional import load_functional, shipped_functionals
from ergodica.dft.learned.training import KIND, FunctionalTraining
from ergodica.potentials import shipped
from ergodica.sampling.samplers.adatoms import training as adatoms
from ergodica.sampling.samplers.analytic import training as analytic
from ergodica.sampling.samplers.molecule import training as one_molecule
from ergodica.sampling.samplers.particles import training as particles
from ergodica.sampling.samplers.torsions import training as torsions
from ergodica.training import read_config
from ergodica.training.options import model_kind, parse_task, read_toml

ROOT = Path(__file__).parents[1]


READ_ME = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_readme_relaxes_a_molecule_and_warns_of_nothing(capsys):
    names: dict = {}
    exec(READ_ME[0], names)
    assert np.linalg.norm(names["predictions"][0].forces, axis=1).max() < 0.02
    assert "Traceback" not in capsys.readouterr().err


def test_readme_computes_properties_of_crystals(capsys):
    exec(READ_ME[1], {})
    *constants, fit, highest = capsys.readouterr().out.splitlines()
    assert len(constants) == 3 and all("C44" in line and line.endswith("True") for line in constants)
    assert fit.startswith("EosFit(") and 7 < float(highest) < 9  # THz, copper


@pytest.mark.slow
def test_demo_writes_one_page(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["demo.py", "-o", str(tmp_path), "--steps", "40"])
    runpy.run_path(str(ROOT / "examples" / "demo.py"), run_name="__main__")
    page = (tmp_path / "tour.html").read_text()
    assert page.count("data:image/png") == 3 and "visnet-rmd17 " in page


def _main(name, *arguments):
    return runpy.run_path(str(ROOT / "examples" / "python" / f"{name}.py"))["main"](*arguments)


def test_script_moves_ethanol_by_ase(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert 0 < _main("ase_dynamics", 20) < 1000
    assert (tmp_path / "ethanol.traj").is_file()


@pytest.mark.slow
def test_script_moves_replicas_by_the_engine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = _main("engine_dynamics", 400, 2)
    assert len(pictures) == 2 and all(one.stat().st_size > 10_000 for one in pictures)


@pytest.mark.slow
def test_script_finds_what_is_known_of_silicon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = _main("crystal")
    assert found["a"] == pytest.approx(5.469, abs=0.01)  # PBE
    assert found["bulk modulus"] == pytest.approx(88.5, abs=5)
    assert (tmp_path / "silicon-bands.png").is_file()


@pytest.mark.slow
def test_script_minimises_the_density_of_water(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = _main("density")
    assert found["energy"] == pytest.approx(-76.334, abs=0.001)
    assert found["O-H"] == pytest.approx(0.970, abs=0.002) and found["charge of O"] < 0
    assert (tmp_path / "water.cube").is_file()


@pytest.mark.slow
def test_script_draws_conformers_by_two_methods_that_agree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (one, its), (other, others) = _main("conformers").values()
    assert abs(one - other) < 4 * np.hypot(its, others)


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "train").glob("*.toml")), ids=lambda p: p.stem)
def test_training_examples_are_valid(path):
    assert read_config(path).info.name.removeprefix("visnet-") == re.sub(r"-part\d", "", path.stem)


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "dft").glob("*.toml")), ids=lambda p: p.stem)
def test_functional_examples_are_valid(path):
    assert model_kind(path) == KIND
    assert parse_task(FunctionalTraining, read_toml(path), str(path)).info.name == path.stem


SAMPLERS = {
    adatoms.KIND: adatoms.AdatomTraining,
    analytic.KIND: analytic.EnergyTraining,
    one_molecule.KIND: one_molecule.InternalTraining,
    particles.KIND: particles.ParticleTraining,
    torsions.KIND: torsions.SamplerTraining,
}


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "sampling").glob("*.toml")), ids=lambda p: p.stem)
def test_sampler_examples_are_valid(path):
    config = parse_task(SAMPLERS[model_kind(path)], read_toml(path), str(path))
    assert (
        config.info.name.startswith(path.stem)
        and config.info.reproduce == f"ergodica train examples/sampling/{path.name}"
    )


@pytest.mark.parametrize("name", shipped_functionals())
def test_shipped_functionals_have_a_complete_card(name):
    _, info = load_functional(name)
    assert info.name == name and info.elements and info.reproduce and info.licence != "unknown"
    assert "test_energy_mae_kcal_per_mol" in info.errors


@pytest.mark.parametrize("name", shipped())
def test_shipped_models_have_a_complete_card(name):
    info = load(name).info
    assert info.name == name and info.elements and info.errors and info.reproduce and info.licence != "unknown"
    assert "test_forces_mae_eV_per_A" in info.errors


def test_shipped_ethanol_has_ethanols_shape():
    (found,) = predict(load("visnet-rmd17-ethanol"), molecule("CH3CH2OH"))
    assert -4211 < found.energy < -4209
    assert np.abs(found.forces.sum(axis=0)).max() < 1e-4
