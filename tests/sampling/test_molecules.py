"""Molecules are read as chemists mean them, and what can't be sampled is refused with a reason."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from ergodica.errors import InputError
from ergodica.sampling.molecules import read_molecule, sdf_bytes

ROTORS = {
    "CC": [3],
    "CCO": [3, 1],
    "CC#CC": [3],  # one turn about the whole straight row
    "CC(C)(C)C": [3, 3, 3, 3],
    "c1ccccc1C": [3],  # the larger fold of its two ends
    "c1ccccc1c1ccccc1": [2],
    "C1CCCCC1": [],
    "C=C": [],
    "CC#N": [],
    "CC(=O)NC": [3, 1, 3],
    "OCCO": [1, 1, 1],
    "CCN": [3, 1],  # two hydrogens upon a pyramid
    "NC=O": [2],  # two in a plane
    "c1ccccc1[N+](=O)[O-]": [2],
    "CCC[N+](=O)[O-]": [3, 1, 2],  # two oxygens that are drawn differently
    "CCC(=O)[O-]": [3, 2],
    "CCS(=O)(=O)[O-]": [3, 3],
}


@pytest.mark.parametrize("smiles", ROTORS)
def test_rotors_and_their_symmetry(smiles):
    molecule = read_molecule(smiles)
    assert sorted(rotor.symmetry for rotor in molecule.rotors) == sorted(ROTORS[smiles])
    for rotor in molecule.rotors:
        first, left, right, last = rotor.atoms
        assert last in rotor.moved and not {first, left, right} & set(rotor.moved)


@pytest.mark.parametrize("smiles", ["CC1CC2CCC1C2", "OC1CN2CCC1CC2", "CN1C2CCC1CC(O)C2"])
def test_cages_get_the_stereochemistry_that_exists(smiles):
    molecule = read_molecule(smiles)
    assert molecule.stereo_kept(molecule.positions[None]).all()


@pytest.mark.parametrize("seed", [-2, 2**31 - 1, 3_000_000_000])
def test_any_seed_is_one(seed):
    one, two = (read_molecule("CCO", seed=seed).positions for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_the_angle_of_a_rotor_is_between_heavy_atoms_where_there_are_any():
    molecule = read_molecule("CCCO")
    marked = [[int(molecule.numbers[atom]) for atom in rotor.atoms] for rotor in molecule.rotors]
    assert [6, 6, 6, 8] in marked or [8, 6, 6, 6] in marked


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "empty SMILES"),
        ("C(C", "neither a SMILES"),
        ("CC(C)(C)(C)C", "valence"),
        ("CC.O", "2 fragments"),
        ("C[CH2]", "unpaired"),
        ("C1CCCCCCCCCCC1", "ring of 12"),
        ("nowhere.sdf", "no file"),
    ],
)
def test_what_can_not_be_sampled(text, hint):
    with pytest.raises(InputError, match=hint):
        read_molecule(text)


@pytest.mark.parametrize("content", ["", "not a molecule", "ethanol\n  RDKit\n\n  9  8  0"])
def test_damaged_files(tmp_path, content):
    (tmp_path / "bad.sdf").write_text(content)
    with pytest.raises(InputError, match="no molecule that RDKit can read"):
        read_molecule(tmp_path / "bad.sdf")


def test_open_stereochemistry_is_settled_and_said():
    molecule = read_molecule("CC(O)C(=O)O")
    assert "not fully given" in molecule.notes[0] and "@" in molecule.smiles
    assert len(molecule.centres) == 1
    assert read_molecule("C[C@H](O)C(=O)O").notes == ()


@pytest.mark.parametrize("smiles", ["C[C@H](O)C(=O)O", "C[C@@H](O)C(=O)O", r"C/C=C\CC", "C/C=C/CC"])
def test_stereochemistry_is_as_asked_for_and_a_mirror_image_is_not(smiles):
    molecule = read_molecule(smiles)
    assert molecule.smiles == Chem.CanonSmiles(smiles)
    mirrored = molecule.positions * [1, 1, -1]
    assert molecule.stereo_kept(np.stack([molecule.positions, mirrored])).tolist() == [True, "@" not in smiles]


def test_a_double_bond_turned_round_is_noticed():
    one, other = read_molecule("F/C=C/F"), read_molecule(r"F/C=C\F")
    assert not one.stereo_kept(other.positions[None])[0]


def test_a_file_keeps_its_geometry_and_comes_back(tmp_path):
    molecule = read_molecule("C[C@H](O)C(=O)O")
    moved = molecule.positions + 1.0
    (tmp_path / "two.sdf").write_bytes(sdf_bytes(molecule, np.stack([moved, molecule.positions]), weight=[0.25, 0.75]))
    again = read_molecule(tmp_path / "two.sdf")
    assert again.smiles == molecule.smiles and again.name == molecule.name
    np.testing.assert_allclose(again.positions, moved, atol=1e-4)
    weights = [graph.GetDoubleProp("weight") for graph in Chem.SDMolSupplier(str(tmp_path / "two.sdf"))]
    assert weights == [0.25, 0.75]


def test_a_file_without_hydrogens_keeps_its_geometry_too(tmp_path):
    molecule = read_molecule("OC[C@H](F)CCO")
    (tmp_path / "bare.sdf").write_text(Chem.MolToMolBlock(Chem.RemoveHs(molecule.graph)))
    again = read_molecule(tmp_path / "bare.sdf")
    heavy = molecule.numbers > 1
    assert len(again.numbers) == len(molecule.numbers) and again.smiles == molecule.smiles
    np.testing.assert_allclose(again.positions[: heavy.sum()], molecule.positions[heavy], atol=1e-3)


def test_a_flat_file_gets_hydrogens_and_a_geometry(tmp_path):
    (tmp_path / "flat.mol").write_text(Chem.MolToMolBlock(Chem.MolFromSmiles("CCO")))
    molecule = read_molecule(tmp_path / "flat.mol")
    assert len(molecule.numbers) == 9 and np.ptp(molecule.positions, axis=0).min() > 0.5


def test_the_geometry_is_that_of_the_seed():
    one, same = (read_molecule("CCCCO", seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.positions, same.positions)
