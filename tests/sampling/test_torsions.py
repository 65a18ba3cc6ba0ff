"""Torsion space: angles and positions belong together, and the energy is that of the whole force field."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rdkit.Chem import rdMolTransforms

from ergodica.errors import InputError
from ergodica.sampling.coordinates.torsions import rigid_energy, rigid_rotors
from ergodica.sampling.energies.mmff94 import mmff94
from ergodica.sampling.molecules import read_molecule

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def drawn():
    """Lactic acid, its rotors, and geometries at random angles."""
    molecule = read_molecule("C[C@H](O)C(=O)O")
    with jax.enable_x64(True):
        torsions = rigid_rotors(molecule)
        angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (20, len(molecule.rotors)))
        return molecule, torsions, angles, np.asarray(jax.jit(torsions.positions)(jnp.asarray(angles)))


def test_angles_of_positions_are_the_angles_asked_for(drawn):
    _, torsions, angles, positions = drawn
    np.testing.assert_allclose(torsions.angles_of(jnp.asarray(positions)), angles, atol=1e-9)


def test_angles_are_those_of_rdkit(drawn):
    molecule, _, angles, positions = drawn
    conformer = molecule.graph.GetConformer()
    before = conformer.GetPositions()
    for row, geometry in zip(angles, positions, strict=True):
        conformer.SetPositions(geometry)
        theirs = [rdMolTransforms.GetDihedralRad(conformer, *rotor.atoms) for rotor in molecule.rotors]
        np.testing.assert_allclose(theirs, row, atol=1e-6)
    conformer.SetPositions(before)


def test_bonds_angles_and_stereochemistry_stay(drawn):
    molecule, _, _, positions = drawn
    assert molecule.stereo_kept(positions).all()
    bonds = np.array([(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.graph.GetBonds()])
    one, other = bonds.T
    lengths = np.linalg.norm(positions[:, one] - positions[:, other], axis=-1)
    expected = np.linalg.norm(molecule.positions[one] - molecule.positions[other], axis=-1)
    np.testing.assert_allclose(lengths, np.broadcast_to(expected, lengths.shape), atol=1e-10)


def test_the_energy_is_that_of_the_whole_force_field(drawn):
    molecule, _, angles, positions = drawn
    rigid = rigid_energy(molecule, dtype=np.float64)
    whole = jax.jit(mmff94(molecule))(jnp.asarray(positions))
    np.testing.assert_allclose(jax.jit(rigid)(jnp.asarray(angles)), whole, atol=1e-10)


@pytest.mark.parametrize("smiles", ["CC(O)C#CC1CC1", "c1ccccc1C#Cc1ccccc1", "CC(C)(C)C#CC1CO1"])
def test_turns_about_triple_bonds_have_the_energy_of_the_whole_force_field(smiles):
    """Atoms in the row lie on the axis: torsions that end on them stay, though their other ends move."""
    molecule = read_molecule(smiles)
    torsions = rigid_rotors(molecule)
    angles = jnp.asarray(np.random.default_rng(0).uniform(-np.pi, np.pi, (5, len(molecule.rotors))))
    whole = jax.jit(mmff94(molecule))(torsions.positions(angles))
    # the row is not quite straight in a real geometry
    np.testing.assert_allclose(jax.jit(rigid_energy(molecule, dtype=np.float64))(angles), whole, atol=1e-3)


def test_the_energy_has_the_period_of_a_turn_and_the_fold_of_its_rotor():
    energy = jax.jit(rigid_energy(read_molecule("CC"), dtype=np.float64))
    angles = jnp.asarray(np.random.default_rng(1).uniform(-np.pi, np.pi, (4, 1)))
    turns = 2 * jnp.pi * jnp.array([0, 1, 1 / 3, 1 / 2])
    still, whole, third, half = energy(angles + turns[:, None, None])
    np.testing.assert_allclose(whole, still, atol=1e-9)
    np.testing.assert_allclose(third, still, atol=1e-4)  # as symmetric as the reference geometry is
    assert np.abs(half - still).min() > 1e-3


def test_a_molecule_without_rotors_has_one_conformer():
    with pytest.raises(InputError, match="single conformer"):
        rigid_energy(read_molecule("C1CCCCC1"))
