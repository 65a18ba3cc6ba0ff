"""Elastic constants."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ergodica import elastic
from ergodica.errors import InputError
from ergodica.properties.symmetry import VOIGT, crystal_symmetry
from ergodica.system import as_system
from ergodica.units import EV_PER_A3_IN_GPA, GPA
from tests.properties.fakes import ARGON, CELLS, Hooke, Volumetric, argon, crystal_of


def full(tensor):
    """C_ijkl from Voigt's matrix."""
    index = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    return tensor[index[:, :, None, None], index[None, None]]


def turned(tensor, rotation):
    return np.einsum("ai,bj,ck,dl,ijkl->abcd", rotation, rotation, rotation, rotation, tensor)


@pytest.mark.parametrize("group", CELLS)
def test_tensor_of_a_medium_is_found_in_the_standard_axes(group):
    """However the crystal is turned, and from no more strains than its class needs."""
    atoms = crystal_of(group)
    symmetry = crystal_symmetry(as_system(atoms), 0.01)
    rng = np.random.default_rng(group)
    weights = rng.normal(size=len(symmetry.basis))
    true = np.einsum("k,kij->ij", weights, symmetry.basis) + np.diag([4.0] * 6) @ np.diag([1, 1, 1, 0.5, 0.5, 0.5])
    medium = Hooke(atoms.cell, turned(full(true), symmetry.axes.T) * GPA)
    (found,) = elastic(medium, atoms, relax=False)
    assert found.tensor == pytest.approx(true, abs=1e-8) and found.misfit < 1e-8
    assert len(found.independent) == len(symmetry.basis)


def test_stresses_without_the_crystals_symmetry_are_warned_of():
    atoms = bulk("Cu")
    uneven = np.diag([100.0, 100.0, 100.0, 50.0, 50.0, 50.0])
    uneven[0, 1] = uneven[1, 0] = 60.0
    (found,) = elastic(Hooke(atoms.cell, full(uneven) * GPA), atoms, relax=False)
    assert any("do not obey" in warning for warning in found.warnings)


def test_lennard_jones_obeys_the_lattice_sum_and_cauchy():
    """C_ijkl = 1/2V Σ (φ'' - φ'/r) R_i R_j R_k R_l / r² for a crystal at rest, hence C12 = C44."""
    cutoff = 13.86  # in the gap between the 13th and the 15th shell, which no strain bridges
    (found,) = elastic(LennardJones(rc=cutoff, **ARGON), bulk("Ar", a=5.26), fmax=1e-6)
    cell = found.system.cell
    steps = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    vectors = steps @ cell
    r = np.linalg.norm(vectors, axis=1)
    vectors, r = vectors[(r > 0.1) & (r < cutoff)], r[(r > 0.1) & (r < cutoff)]
    six = (ARGON["sigma"] / r) ** 6
    first = 4 * ARGON["epsilon"] * (-12 * six**2 + 6 * six) / r
    second = 4 * ARGON["epsilon"] * (156 * six**2 - 42 * six) / r**2
    weight = (second - first / r) / r**2
    sums = [
        [(weight * vectors[:, a] * vectors[:, b] * vectors[:, c] * vectors[:, d]).sum() for c, d in VOIGT]
        for a, b in VOIGT
    ]
    expected = np.array(sums) / (2 * found.system.volume) * EV_PER_A3_IN_GPA
    assert found.tensor == pytest.approx(expected, rel=2e-3, abs=1e-3)
    assert found.independent["C12"] == pytest.approx(found.independent["C44"], rel=5e-3)


def test_copper_against_the_curvature_of_the_energy():
    (found,) = elastic(EMT(), bulk("Cu"), fmax=1e-5)
    base = found.system.to_ase()

    def curvature(strain):
        energies = []
        for size in (-0.004, 0.0, 0.004):
            atoms = base.copy()
            atoms.set_cell(base.cell.array @ (np.eye(3) + size * strain), scale_atoms=True)
            atoms.calc = EMT()
            energies.append(atoms.get_potential_energy())
        return np.dot(energies, [1, -2, 1]) / 0.004**2 / base.get_volume() / GPA

    shear = np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])
    constants = found.independent
    assert curvature(shear) == pytest.approx(constants["C44"], rel=5e-3)
    assert curvature(np.diag([1.0, 0, 0])) == pytest.approx(constants["C11"], rel=5e-3)
    assert curvature(np.eye(3)) / 9 == pytest.approx(found.moduli.bulk, rel=5e-3)


def test_cell_and_orientation_do_not_matter():
    small, large = bulk("Cu"), bulk("Cu", cubic=True)
    large.rotate(25, (1, 2, -1), rotate_cell=True)
    one, other = elastic(EMT(), [small, large], fmax=1e-5)
    assert other.tensor == pytest.approx(one.tensor, abs=0.02)
    assert one.symmetry.space_group == other.symmetry.space_group == "Fm-3m (225)"


def test_atoms_relax_under_strain_unless_clamped():
    hcp = bulk("Cu", "hcp", a=2.55, c=4.1)
    (relaxed,) = elastic(EMT(), hcp)
    (clamped,) = elastic(EMT(), hcp, clamped=True)
    assert relaxed.independent["C11"] < clamped.independent["C11"] - 1
    assert relaxed.independent["C33"] == pytest.approx(clamped.independent["C33"], rel=1e-3)
    assert relaxed.tensor[5, 5] == pytest.approx((relaxed.tensor[0, 0] - relaxed.tensor[0, 1]) / 2)


def test_unstable_crystal_is_flagged():
    (found,) = elastic(argon(), bulk("Ar", "sc", a=3.8))
    assert not found.stable and "unstable" in found.warnings[-1]
    assert np.isnan(found.moduli.debye) or found.eigenvalues[0] < 0


def test_what_resists_no_strain_along_a_vacuum_is_neither_stable_nor_unstable():
    slab = fcc111("Cu", (1, 1, 1), vacuum=8.0)
    slab.pbc = True
    (found,) = elastic(EMT(), slab)
    assert not found.stable and "does not resist some strain" in found.warnings[-1]
    assert np.isnan(found.moduli.bulk) and np.isnan(found.moduli.young) and found.moduli.bulk_voigt > 1


def test_structure_at_odds_with_the_model_is_warned_of_when_not_relaxed():
    (found,) = elastic(EMT(), bulk("Cu", a=3.8), relax=False)
    assert "not relaxed" in found.warnings[0] and found.system.volume == pytest.approx(3.8**3 / 4)
    (quiet,) = elastic(EMT(), bulk("Cu", a=3.8))
    assert not quiet.warnings


def test_unsuitable_input_is_refused():
    slab = bulk("Cu")
    slab.pbc = (True, True, False)
    for structure, directions in ((molecule("H2O"), 0), (slab, 2)):
        with pytest.raises(InputError, match=rf"{directions} of 3 directions.*no elastic constants"):
            elastic(EMT(), structure)
    with pytest.raises(InputError, match="no stress"):
        elastic(Volumetric(lambda v: 0.0), bulk("Cu"), relax=False)
    for bad in ({"strains": ()}, {"strains": (0.01, 0.01)}, {"strains": (0.3,)}, {"fmax": 0}, {"strain": 0.01}):
        with pytest.raises(InputError):
            elastic(EMT(), bulk("Cu"), **bad)
