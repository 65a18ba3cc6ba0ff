"""AMBER force fields equal OpenMM; what its files can't say is refused."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.errors import InputError
from ergodica.sampling.energies.by_kind import energy_from_tree, energy_kind
from ergodica.sampling.energies.openmm_xml import read_openmm
from ergodica.sampling.energies.terms import dihedral
from ergodica.sampling.peptides import pdb_bytes, read_peptide
from ergodica.units import KJ_PER_MOL
from tests.sampling.conftest import PEPTIDES, chain_xml, four_atoms

pytestmark = pytest.mark.usefixtures("x64")
KINDS = {
    "HarmonicBondForce": ("bonds",),
    "HarmonicAngleForce": ("angles",),
    "PeriodicTorsionForce": ("torsions",),
    "NonbondedForce": ("dispersion", "charges"),
    "GBSAOBCForce": ("polarisation", "surface"),
}


@pytest.fixture(scope="module")
def golden():
    """By data/peptides/make_alanine.py, with OpenMM 8.6.1's reference platform."""
    with np.load(PEPTIDES.parents[1] / "tests" / "reference" / "amber_golden.npz") as file:
        return dict(file)


@pytest.mark.parametrize("surroundings", ["vacuum", "water"])
def test_energies_and_forces_are_those_of_openmm(golden, surroundings):
    field, masses = read_openmm(PEPTIDES / f"alanine-{surroundings}.xml")
    places = jnp.asarray(golden["positions"])
    terms = jax.jit(field.terms)(places)
    for force, kinds in KINDS.items():
        if f"{surroundings}/{force}" in golden:
            found = np.asarray(sum(terms[kind] for kind in kinds)) / KJ_PER_MOL
            np.testing.assert_allclose(found, golden[f"{surroundings}/{force}"], rtol=0, atol=1e-5)
    forces = -jax.jit(jax.grad(lambda places: jnp.sum(field(places))))(places) * 10 / KJ_PER_MOL
    np.testing.assert_allclose(forces, golden[f"{surroundings}/forces"], rtol=0, atol=1e-4)
    assert len(masses) == 22 and masses.sum() == pytest.approx(144.17, abs=0.01)


def test_a_field_comes_back_from_its_arrays(golden):
    field, _ = read_openmm(PEPTIDES / "alanine-water.xml")
    tree = {name: getattr(field, name) for name in ("charges", "depths", "sizes")}
    tree |= {name: vars(getattr(field, name)) for name in ("bonds", "angles", "torsions", "solvent")}
    again = energy_from_tree(energy_kind(field), tree)
    places = jnp.asarray(golden["positions"])
    np.testing.assert_array_equal(again(places), field(places))
    with pytest.raises(InputError, match="none that this version knows"):
        energy_from_tree("charmm", tree)
    with pytest.raises(InputError, match="incomplete"):
        energy_from_tree("amber", {**tree, "bonds": {}})


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("<System ", "<State ", "holds <State>"),
        ("</Bonds>", "", "not complete XML"),
        ('type="HarmonicAngleForce"', 'type="CMAPTorsionForce"', "has a CMAPTorsionForce"),
        ('type="HarmonicAngleForce"', 'type="HarmonicBondForce"', "HarmonicBondForce twice"),
        ('method="0"', 'method="2"', "nonbondedMethod=NoCutoff"),
        ("<Constraints/>", '<Constraints><Constraint d=".1" p1="0" p2="1"/></Constraints>', "constraints=None"),
        (' k="', ' K="', "lacks numbers"),
    ],
)
def test_other_systems_are_refused(tmp_path, old, new, hint):
    text = (PEPTIDES / "alanine-vacuum.xml").read_text()
    assert old in text
    text = text.replace(old, new)
    if new.startswith("<State"):
        text = text.replace("</System>", "</State>")
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=re.escape(hint)):
        read_openmm(tmp_path / "a.xml")


def test_a_system_without_pairs_is_read(chain, tmp_path):
    (tmp_path / "chain.xml").write_text(chain_xml())
    field, masses = read_openmm(tmp_path / "chain.xml")
    places = chain.positions + np.random.default_rng(0).normal(size=(5, 4, 3)) * 0.1
    np.testing.assert_allclose(field(places), chain.energy(places), rtol=1e-12)
    assert masses.tolist() == [1, 16, 16, 1]


def test_of_a_file_of_several_models_the_first_counts(tmp_path):
    """As RCSB writes them, and as `ergodica sample` does."""
    whole, xml = four_atoms(), tmp_path / "chain.xml"
    xml.write_text(chain_xml())
    models = pdb_bytes(whole.text, np.stack([whole.positions, whole.positions + 1.0])).decode()
    for number, text in enumerate((models, f"{models}END\n", whole.text)):
        (tmp_path / f"{number}.pdb").write_text(text)
        found = read_peptide(tmp_path / f"{number}.pdb", xml)
        np.testing.assert_allclose(found.positions, whole.positions, atol=1e-3)
        assert pdb_bytes(found.text, found.positions[None]).count(b"HETATM") == len(whole.positions)


def test_atoms_in_another_order_than_the_systems_are_noticed(tmp_path):
    rows = (PEPTIDES / "alanine.pdb").read_text().splitlines()
    atoms = [row for row in rows if row.startswith(("ATOM", "HETATM"))]
    atoms[0], atoms[1] = atoms[1], atoms[0]  # hydrogen and carbon
    (tmp_path / "other.pdb").write_text("\n".join([*atoms, "END", ""]))
    with pytest.raises(InputError, match="different orders"):
        read_peptide(tmp_path / "other.pdb", PEPTIDES / "alanine-vacuum.xml")


def test_a_missing_system_is_said(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_openmm(tmp_path / "nowhere.xml")


def test_dihedral_angles_have_a_derivative_where_atoms_are_on_one_line():
    line = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.5, 1.0, 0.0]])

    def turned(places):
        return dihedral(*(place[None, :, None] for place in places))[0, 0]

    value, slope = jax.value_and_grad(turned)(jnp.asarray(line))
    assert float(value) == 0 and np.isfinite(slope).all()
    bent = jnp.asarray(line).at[0, 1].set(0.4)
    found = [float(turned(bent.at[3, 2].set(height))) for height in (0.0, 1.0, -1.0)]
    assert found[0] == pytest.approx(0.0, abs=1e-12) and found[1] == pytest.approx(-found[2]) != 0
