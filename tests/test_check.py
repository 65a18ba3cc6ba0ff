"""`check_model` passes a sound network and fails one that jumps at the cut-off."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.io import write

from ergodica import check as checking
from ergodica.check import check_model, dimer_curves
from ergodica.cli import main
from ergodica.errors import InputError
from ergodica.potentials import add, load
from ergodica.potentials.modelfile import save_model
from ergodica.potentials.potential import EnergyScale, Potential
from ergodica.report.probes import default_structures
from tests.helpers.small import small_potential


def model(elements: tuple[str, ...] = ("H", "O"), **options) -> Potential:
    """A small potential with a card."""
    potential = small_potential(3, layers=1, **options)
    return replace(potential, info=replace(potential.info, name="small", elements=elements))


@pytest.fixture(autouse=True)
def short_dynamics(monkeypatch):
    monkeypatch.setattr(checking, "NVE_STEPS", 40)


def test_sound_network_passes_and_is_plotted(tmp_path):
    report = check_model(model(), plots=tmp_path / "dimers.png")
    failed = {check.name: check.figure for check in report.checks if check.required and not check.passed}
    assert failed.keys() <= {"energy drift"}  # 40 steps are too few for a drift
    assert {"rotation", "supercell", "forces", "stress", "cut-off"} <= {check.name for check in report.checks}
    assert (tmp_path / "dimers.png").read_bytes().startswith(b"\x89PNG")


def test_jump_at_the_cutoff_fails(tmp_path, capsys):
    save_model(tmp_path / "jump.safetensors", model(smooth=False))
    assert main(["check", str(tmp_path / "jump.safetensors"), "--json"]) == 1
    captured = capsys.readouterr()
    answer = {check["name"]: check for check in json.loads(captured.out)["checks"]}
    assert not answer["cut-off"]["passed"] and "smooth = true" in answer["cut-off"]["advice"]
    assert answer["rotation"]["passed"] and answer["forces"]["passed"]


@pytest.mark.slow
def test_a_longer_term_does_not_hide_the_jump():
    single = model(smooth=False)
    in_ev = replace(single, energy_scale=EnergyScale())
    report = {check.name: check for check in check_model(add(in_ev, load("d3"))).checks}
    assert not report["cut-off"].passed and "smooth = true" in report["cut-off"].advice


@pytest.mark.parametrize("elements", [("H", "C", "O"), ("Si",), ("Li", "N"), ()])
def test_default_structures_are_of_the_models_elements(elements):
    from ergodica.elements import symbols_of

    molecule, crystal = default_structures(elements)
    assert set(symbols_of(molecule.numbers)) <= set(elements or ("H", "C", "O"))
    assert not molecule.pbc.any() and crystal.is_bulk
    distances = np.linalg.norm(molecule.positions[:, None] - molecule.positions[None], axis=-1)
    assert distances[np.triu_indices(len(molecule), 1)].min() > 0.7


def test_many_elements_give_homonuclear_dimers_only():
    elements = ("H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na")
    dimers = dimer_curves(model(elements), "float32")
    assert [dimer.elements for dimer in dimers] == [(one, one) for one in elements]


def test_dimer_figures():
    r = checking.DISTANCES
    wall = checking._dimer(("H", "H"), np.exp(-r) * 10)
    assert wall.minima == 0 and wall.repulsive_below == r[-1]
    well = checking._dimer(("H", "H"), (1 - np.exp(-2 * (r - 1.5))) ** 2 - 1)
    assert well.minima == 1 and abs(well.repulsive_below - 1.5) < 1e-9
    waves = checking._dimer(("H", "H"), np.cos(2 * np.pi * r / 1.5))
    assert waves.minima == 4
    hole = checking._dimer(("H", "H"), -np.exp(-r))
    assert hole.minima == 0 and hole.repulsive_below == r[0]


def test_precision_format_of_the_picture_and_masses_are_heeded(tmp_path, capsys):
    path, picture, crystal = (str(tmp_path / name) for name in ("small.safetensors", "dimers.pdf", "heavy.xyz"))
    save_model(path, model())
    atoms = default_structures(("H", "O"))[1].to_ase()
    atoms.set_masses([3.0] * len(atoms))
    write(crystal, atoms, format="extxyz")
    main(["check", path, "--precision", "float32", "-o", picture, "--structure", crystal, "--json"])
    answer = {check["name"]: check["figure"] for check in json.loads(capsys.readouterr().out)["checks"]}
    assert "limit 1e-04" in answer["rotation"] and "supercell" in answer
    assert Path(picture).read_bytes().startswith(b"%PDF")


def test_only_energies_can_be_checked():
    with pytest.raises(InputError, match="predicts 'dipole'"):
        check_model(small_potential(head="dipole"))
