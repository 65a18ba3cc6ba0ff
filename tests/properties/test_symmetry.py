"""Symmetry of elastic tensors: Nye, Physical Properties of Crystals, table 9."""

from __future__ import annotations

import numpy as np
import pytest

from ergodica.errors import InputError
from ergodica.properties.symmetry import ROOT, crystal_symmetry, from_voigt_strain, mandel_rotation, to_voigt
from ergodica.system import System, as_system
from tests.helpers.small import random_rotation
from tests.properties.fakes import crystal_of

EXPECTED = {
    1: ("-1", "triclinic", 21, 6),
    2: ("-1", "triclinic", 21, 6),
    14: ("2/m", "monoclinic", 13, 6),
    62: ("mmm", "orthorhombic", 9, 6),
    88: ("4/m", "tetragonal", 7, 4),
    123: ("4/mmm", "tetragonal", 6, 4),
    148: ("-3", "trigonal", 7, 3),
    162: ("-3m", "trigonal", 6, 3),
    167: ("-3m", "trigonal", 6, 3),
    168: ("6/m", "hexagonal", 5, 3),
    191: ("6/mmm", "hexagonal", 5, 3),
    195: ("m-3", "cubic", 3, 2),
    225: ("m-3m", "cubic", 3, 2),
}
NAMES = {
    "cubic": "C11 C12 C44",
    "hexagonal": "C11 C12 C13 C33 C44",
    "orthorhombic": "C11 C12 C13 C22 C23 C33 C44 C55 C66",
    "monoclinic": "C11 C12 C13 C15 C22 C23 C25 C33 C35 C44 C46 C55 C66",
}


@pytest.mark.parametrize("group", EXPECTED)
@pytest.mark.parametrize("primitive", [True, False])
def test_independent_constants_of_every_laue_class(group, primitive):
    found = crystal_symmetry(as_system(crystal_of(group, primitive)), 0.01)
    laue, system, constants, strains = EXPECTED[group]
    assert (found.laue, found.system, len(found.independent)) == (laue, system, constants)
    assert len(found.strains()) <= strains
    if system in NAMES:
        assert " ".join(found.independent) == NAMES[system]


@pytest.mark.parametrize(("group", "index"), [(167, 3), (162, 4)])
def test_trigonal_classes_differ_in_where_their_twofold_axes_lie(group, index):
    """C14 where a twofold axis lies along a, C15 where it lies across."""
    found = crystal_symmetry(as_system(crystal_of(group)), 0.01)
    assert np.abs(found.basis[:, 0, index]).max() > 0.1 and np.abs(found.basis[:, 0, 7 - index]).max() < 1e-12
    assert found.basis[:, 1, index] == pytest.approx(-found.basis[:, 0, index])
    assert found.basis[:, 5, 5] == pytest.approx((found.basis[:, 0, 0] - found.basis[:, 0, 1]) / 2)


def test_standard_axes_are_those_of_the_conventional_cell():
    plain, turned = (crystal_symmetry(as_system(crystal_of(123, turned=t)), 0.01) for t in (False, True))
    assert plain.axes == pytest.approx(np.eye(3), abs=1e-6)
    c = crystal_of(123, turned=True).cell[2]
    assert np.abs(turned.axes @ c / np.linalg.norm(c)) == pytest.approx([0, 0, 1], abs=1e-6)


def test_mandels_form_turns_tensors_by_orthogonal_matrices():
    rng = np.random.default_rng(0)
    rotation, tensor = random_rotation(rng), rng.normal(size=(3, 3))
    tensor = tensor + tensor.T
    matrix = mandel_rotation(rotation)
    assert matrix @ matrix.T == pytest.approx(np.eye(6))
    assert matrix @ (to_voigt(tensor) * ROOT) == pytest.approx(to_voigt(rotation @ tensor @ rotation.T) * ROOT)


def test_engineering_shear_is_twice_the_tensors():
    assert from_voigt_strain(3, 0.01)[1, 2] == from_voigt_strain(3, 0.01)[2, 1] == 0.005
    assert from_voigt_strain(0, 0.01)[0, 0] == 0.01


def test_atoms_on_one_place_are_refused():
    twins = System([29, 29], np.zeros((2, 3)), np.eye(3) * 3, np.ones(3, bool))
    with pytest.raises(InputError, match="on one place"):
        crystal_symmetry(twins, 0.01)
