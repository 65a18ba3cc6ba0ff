"""MMFF94 is RDKit's: energies and forces of molecules with every kind of term."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rdkit.Chem import rdForceFieldHelpers as fields

from ergodica.errors import InputError
from ergodica.sampling.energies.mmff94 import MMFF94, Terms, mmff94
from ergodica.sampling.molecules import read_molecule
from ergodica.units import KCAL_PER_MOL

pytestmark = pytest.mark.usefixtures("x64")

SMILES = """
C CC CCO C=C C#C CC#N C=C=C C=O CC(=O)O CC(=O)[O-] C[NH3+] CN(C)C CNC(C)=O C[N+](=O)[O-] CN=[N+]=[N-] CN=C=O CN=C=S
C1CC1 C1CCC1 C1CO1 c1ccccc1 c1ccncc1 c1cc[nH]c1 c1ccoc1 c1ccsc1 c1cnc[nH]1 c1c[nH+]c[nH]1 Cc1ccccc1 Oc1ccccc1
CS CSC CSSC CS(C)=O CS(C)(=O)=O CS(N)(=O)=O CP(C)C COP(=O)(O)OC CF CCl CBr CI C[SiH3] NN NO OO C(Cl)(Cl)Cl FC(F)(F)C=O
NC(N)=[NH2+] O=C1NC(=O)C=C1 C[C@H](N)C(=O)O OCCO CC(C)Cc1ccc([C@H](C)C(=O)O)cc1 CC(=O)Oc1ccccc1C(=O)O
Cn1c(=O)c2c(ncn2C)n(C)c1=O
""".split()
PRESENT = ("bonds", "angles", "stretch_bends", "planes", "torsions", "pairs")


@dataclass(frozen=True)
class Known:
    """What RDKit says of a distorted geometry, kcal/mol and Å."""

    field: MMFF94
    positions: np.ndarray
    energy: float
    gradient: np.ndarray


def known(smiles: str, variant: str) -> Known:
    molecule = read_molecule(smiles)
    rng = np.random.default_rng(len(smiles))
    positions = molecule.positions + 0.15 * rng.standard_normal(molecule.positions.shape)
    molecule.graph.GetConformer().SetPositions(positions)
    properties = fields.MMFFGetMoleculeProperties(molecule.graph, mmffVariant=variant)
    theirs = fields.MMFFGetMoleculeForceField(molecule.graph, properties)
    gradient = np.array(theirs.CalcGrad()).reshape(-1, 3)
    return Known(mmff94(molecule, variant), positions, theirs.CalcEnergy(), gradient)


def side_by_side(found: list[Known]) -> MMFF94:
    """One field for all atoms, in which molecules know nothing of each other: it compiles once."""
    starts = np.cumsum([0, *(len(one.positions) for one in found)])

    def terms(kind: str) -> Terms:
        parts = [getattr(one.field, kind) for one in found]
        atoms = [part.atoms + start for part, start in zip(parts, starts, strict=False)]
        return Terms(jnp.concatenate(atoms), jnp.concatenate([part.values for part in parts]))

    return MMFF94(*(terms(kind) for kind in PRESENT))


@pytest.mark.parametrize("variant", [pytest.param("MMFF94", marks=pytest.mark.slow), "MMFF94s"])
def test_energies_and_forces_are_those_of_rdkit(variant):
    found = [known(smiles, variant) for smiles in SMILES]
    assert len(found) >= 50
    field = side_by_side(found)
    assert all(len(getattr(field, kind).atoms) > 50 for kind in PRESENT)
    positions = jnp.concatenate([jnp.asarray(one.positions) for one in found])
    energy, gradient = jax.jit(jax.value_and_grad(field))(positions)
    assert float(energy) / KCAL_PER_MOL == pytest.approx(sum(one.energy for one in found), abs=1e-8)
    expected = np.concatenate([one.gradient for one in found])
    np.testing.assert_allclose(gradient / KCAL_PER_MOL, expected, atol=1e-8)


def test_energies_of_a_batch_are_those_of_its_members():
    one = known("CC(=O)NC", "MMFF94")
    batch = one.positions + 0.05 * np.random.default_rng(0).standard_normal((2, 3, *one.positions.shape))
    energy = jax.jit(one.field)
    together = energy(jnp.asarray(batch))
    assert together.shape == (2, 3)
    alone = [[float(energy(jnp.asarray(at))) for at in row] for row in batch]
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    assert float(energy(jnp.asarray(one.positions))) / KCAL_PER_MOL == pytest.approx(one.energy, abs=1e-9)


def test_forces_stay_finite_where_atoms_are_in_a_row():
    found = known("CC#CC", "MMFF94")
    row = jnp.zeros_like(found.positions).at[:, 0].set(1.3 * jnp.arange(len(found.positions)))
    assert np.isfinite(jax.jit(jax.grad(found.field))(row)).all()


@pytest.mark.parametrize(("smiles", "culprit"), [("C[Se]C", "Se"), ("CB(C)C", "B"), ("C[Si](C)(C)[GeH3]", "Ge")])
def test_unknown_elements_are_named(smiles, culprit):
    with pytest.raises(InputError, match=f"no parameters for {culprit}"):
        mmff94(read_molecule(smiles))
