"""`neb` as a command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from ase.io import read, write

from tests.cli.conftest import is_one_sentence


@pytest.fixture
def ends():
    """An atom above and below a triangle that is held."""
    edge = 3.82
    triangle = [[0, 0, 0], [edge, 0, 0], [edge / 2, edge * np.sqrt(0.75), 0]]
    for name, side in (("up.traj", 1), ("down.traj", -1)):
        centre = [edge / 2, edge * np.sqrt(1 / 12), side * edge * np.sqrt(2 / 3)]
        atoms = Atoms("Ar4", [*triangle, centre])
        atoms.set_constraint(FixAtoms([0, 1, 2]))
        write(name, atoms)
    return "up.traj", "down.traj"


def test_a_folder_gets_images_numbers_picture_and_page(ergodica, ends):
    options = ("--images", "3", "--relax-ends", "--json", "-o", "path")
    answer = ergodica("neb", *ends, "-m", "lj", *options, model=False)
    assert answer.code == 0
    record = answer.json
    assert record["converged"] and record["climbed"] and record["n_images"] == 5 and record["saddle_image"] == 2
    assert record["barrier_eV"] == pytest.approx(record["reverse_barrier_eV"], abs=1e-4)
    assert record["barrier_eV"] > 1 and record["path_length_A"] == pytest.approx(6.24, abs=0.01)
    images = read("path/path.extxyz", ":")
    np.testing.assert_allclose([atoms.get_potential_energy() for atoms in images], record["energies_eV"], atol=1e-6)
    np.testing.assert_allclose(images[2].positions[:3], images[0].positions[:3], atol=1e-6)
    assert Path("path/path.png").stat().st_size > 10_000 and "<img" in Path("path/report.html").read_text()
    again = ergodica("neb", *ends, "-m", "lj", "-o", "path", model=False)
    assert again.code == 2 and "--overwrite" in again.err
    short = ergodica("neb", "path/path.extxyz", "-m", "lj", "--steps", "0", "--fmax", "1e-9", "--json", model=False)
    assert short.code == 1 and short.json["converged"] is False and short.json["n_images"] == 5


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["up.traj"], "two files"),
        (["up.traj", "{f}/ethanol.xyz"], "4 and 9 atoms"),
        (["up.traj", "down.traj", "--images", "0"], "at least one"),
        (["up.traj", "down.traj", "--spring", "-1"], "spring"),
        (["up.traj", "up.traj"], "same structure"),
        (["up.traj", "nowhere.traj"], "nowhere.traj"),
        ([], "structure file"),
    ],
)
def test_bad_input(ergodica, ends, arguments, hint):
    answer = ergodica("neb", *arguments, "-m", "lj", "--quiet", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err
