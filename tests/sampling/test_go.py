"""The two-state Gō model: forces, symmetries, its two basins, and files."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ergodica.checkpoint import load_tree, save_tree
from ergodica.errors import InputError
from ergodica.sampling.energies.by_kind import energy_from_tree, energy_kind
from ergodica.sampling.energies.go import GoField, GoStrength, read_backbone, two_state
from ergodica.sampling.peptides import backbone_angles, read_peptide

pytestmark = pytest.mark.usefixtures("x64")

DATA = Path(__file__).parents[2] / "data" / "peptides"
HAIRPIN, HELIX = DATA / "hairpin.pdb", DATA / "helix.pdb"


@pytest.fixture(scope="module")
def model():
    return two_state(HAIRPIN, HELIX)


@pytest.fixture(scope="module")
def distorted(model):
    """Both references and what lies around them, Å."""
    both = np.stack([chain.positions for chain in model[1:]])
    return both + 0.1 * np.random.default_rng(0).standard_normal(both.shape)


@pytest.fixture(scope="module")
def felt(model):
    """Energies of two structures, and their gradients: compiled once for all fields."""

    def energy(at, field):
        energies = field(at)
        return energies.sum(), energies

    compiled = jax.jit(jax.value_and_grad(energy, has_aux=True))
    return lambda at, field=model[0]: compiled(at, field)


def apart(one, other):
    """RMSD of the CA atoms, Å."""
    one, other = (at[1::3] - at[1::3].mean(axis=0) for at in (one, other))
    return Rotation.align_vectors(one, other)[1] / np.sqrt(len(one))


def test_forces_are_the_slopes_of_the_energy(felt, distorted):
    gradient = felt(distorted)[1]
    for seed in range(3):
        way = np.random.default_rng(seed).standard_normal(distorted.shape)
        (_, ahead), (_, behind) = (felt(distorted + sign * 1e-5 * way)[0] for sign in (1, -1))
        slope = (ahead - behind) / 2e-5
        np.testing.assert_allclose(np.sum(gradient * way, axis=(1, 2)), slope, rtol=1e-6)


def test_energy_is_that_of_the_shape_but_not_of_its_mirror_image(felt, distorted):
    energies = felt(distorted)[0][1]
    turned = distorted @ Rotation.random(rng=1).as_matrix().T + np.array([3.0, -1.0, 2.0])
    np.testing.assert_allclose(felt(turned)[0][1], energies, rtol=1e-10)
    assert (felt(distorted * [1, 1, -1])[0][1] > energies + 0.3).all()


def test_references_lie_in_the_basins_that_they_make(model, felt):
    start = np.stack([chain.positions for chain in model[1:]])
    at = start.copy()
    for _ in range(400):
        at = at - 0.005 * np.asarray(felt(at)[1])
    assert (felt(at)[0][1] < felt(start)[0][1]).all()
    assert np.abs(felt(at)[1]).max() < 0.3
    for found, chain, other in zip(at, model[1:], model[:0:-1], strict=True):
        assert apart(found, chain.positions) < 1.0
        assert apart(found, other.positions) > 3.0


def test_mixed_states_lie_below_both_by_no_more_than_their_mixing(model, distorted):
    field = model[0]
    first, second, mixed = jax.jit(lambda at: (*field.states(at), field.terms(at)["states"]))(distorted)
    lower = jnp.minimum(first, second)
    assert (mixed <= lower).all()
    assert (mixed >= lower - np.log(2) * field.mixing - 1e-12).all()
    assert first[0] < second[0] - 0.5
    assert second[1] < first[1] - 0.5


def test_a_batch_is_its_members_and_its_kinds_of_energy(model, felt, distorted):
    together, parts = jax.jit(lambda at: (model[0](at), model[0].terms(at)))(distorted[:, None])
    assert together.shape == (2, 1)
    assert all(part.shape == (2, 1) for part in parts.values())
    np.testing.assert_allclose(together[::-1, 0], felt(distorted[::-1])[0][1], rtol=1e-12)
    np.testing.assert_allclose(sum(parts.values()), together, rtol=1e-12)


def test_file_holds_the_energy(model, felt, distorted, tmp_path):
    path = tmp_path / "go.safetensors"
    save_tree(path, {"energy": model[0]}, {"kind": energy_kind(model[0])})
    tree, header = load_tree(path)
    found = energy_from_tree(header["kind"], tree["energy"])
    assert isinstance(found, GoField)
    np.testing.assert_allclose(felt(distorted, found)[0][1], felt(distorted)[0][1], rtol=1e-6)
    del tree["energy"]["turns"]
    with pytest.raises(InputError, match="incomplete"):
        energy_from_tree("go", tree["energy"])


def test_offset_raises_the_second_state(model, felt):
    references = np.stack([chain.positions for chain in model[1:]])
    raised = two_state(HAIRPIN, HELIX, GoStrength(offset=0.1))[0]
    changes = felt(references, raised)[0][1] - felt(references)[0][1]
    assert changes.tolist() == pytest.approx([0.0, 0.1], abs=1e-4)


def test_a_second_structure_is_a_system():
    peptide = read_peptide(HAIRPIN, HELIX)
    assert peptide.name == "hairpin"
    assert isinstance(peptide.energy, GoField)
    assert peptide.numbers.tolist() == [7, 6, 6] * 10
    assert len(peptide.plan.atoms) == 30
    helix = read_backbone(HELIX)
    angles = backbone_angles(helix.text, helix.positions[None])
    assert len(angles) == 8
    for found in angles.values():
        np.testing.assert_allclose(np.rad2deg(found[0]), [-60, -45], atol=0.2)
    starts = peptide.starts(5)  # walks begin in either fold by turns
    np.testing.assert_array_equal(starts[[0, 2, 4]], np.stack([peptide.positions] * 3))
    np.testing.assert_array_equal(starts[1], helix.positions)


def test_unfit_files_are_refused(tmp_path):
    rows = HELIX.read_text().splitlines()

    def written(lines):
        path = tmp_path / "made.pdb"
        path.write_text("\n".join(lines))
        return path

    with pytest.raises(InputError, match="There is no file"):
        two_state(HAIRPIN, tmp_path / "none.pdb")
    with pytest.raises(InputError, match=r"'.*hairpin.pdb' has 10 residues and '.*' 9"):
        two_state(HAIRPIN, written(rows[:27]))
    with pytest.raises(InputError, match="no residues with the atoms N, CA and C"):
        read_backbone(written(row for row in rows if " CA " not in row))
    with pytest.raises(InputError, match=r"has 3 residues .* at least four"):
        read_backbone(written(rows[:11]))
    with pytest.raises(InputError, match="has a gap"):
        read_backbone(written(rows[:12] + rows[15:]))
    with pytest.raises(InputError, match="can't be read as a PDB file"):
        read_backbone(written([*rows[:3], rows[3].replace(".", "x"), *rows[4:]]))
    with pytest.raises(InputError, match="must be positive"):
        GoStrength(mixing=0.0)


def test_caps_other_chains_and_other_models_are_left_out(tmp_path):
    rows = [row for row in HELIX.read_text().splitlines() if row.startswith("ATOM")]
    cap = rows[2].replace("TYR A   1", "ACE A   0")
    other = [row.replace(" A ", " B ") for row in rows]
    path = tmp_path / "more.pdb"
    path.write_text("\n".join(["MODEL", cap, *rows, *other, "ENDMDL", "MODEL", *rows, *other, "ENDMDL", ""]))
    np.testing.assert_array_equal(read_backbone(path).positions, read_backbone(HELIX).positions)
