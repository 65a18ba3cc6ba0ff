"""Compositions and variants: charges balance, atoms keep their distance, volumes follow pressure."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.data import covalent_radii
from hypothesis import given
from hypothesis import strategies as st

from ergodica.datasets import compositions, variants
from ergodica.datasets.chemistry import ELEMENTS, IONS, group_of
from ergodica.datasets.prototypes import PROTOTYPES

SHARE = 0.55


def closest(atoms) -> float:
    """Shortest distance in units of the sum of covalent radii, by brute force over images."""
    radii = covalent_radii[atoms.numbers]
    steps = np.stack(np.meshgrid(*3 * [range(-2, 3)], indexing="ij"), -1).reshape(-1, 3) @ atoms.cell.array
    vectors = atoms.positions[None, :, None] - atoms.positions[:, None, None] + steps
    ratio = np.linalg.norm(vectors, axis=-1) / (radii[:, None] + radii)[..., None]
    return float(ratio[ratio > 1e-9].min())


def balances(atoms) -> bool:
    """Whether some choice of common charges, one an element, adds up to nothing."""
    symbols, counts = np.unique(list(atoms.symbols), return_counts=True)
    totals = {0}
    for symbol, count in zip(symbols, counts, strict=True):
        totals = {total + count * q for total in totals for q in IONS[symbol]}
    return 0 in totals


@pytest.mark.parametrize("name", [p.name for p in PROTOTYPES.values() if p.kind == "ionic"])
def test_ionic_compounds_are_neutral_and_their_ions_touch(name):
    rng = np.random.default_rng(1)
    for _ in range(5):
        atoms = compositions.ionic(PROTOTYPES[name], ELEMENTS, rng)
        assert atoms is not None and balances(atoms)
        assert closest(atoms) > 0.6


def test_no_compound_is_made_where_charges_can_not_balance():
    assert compositions.ionic(PROTOTYPES["rocksalt"], ["Al", "O"], np.random.default_rng(0)) is None
    assert compositions.ionic(PROTOTYPES["rocksalt"], ["Al", "Fe"], np.random.default_rng(0)) is None
    assert compositions.metallic(PROTOTYPES["heusler"], ["Al", "Fe"], np.random.default_rng(0)) is None


def test_alloys_hold_every_element_drawn_and_no_more_atoms_than_allowed():
    rng = np.random.default_rng(0)
    for _ in range(10):
        atoms = compositions.alloy(["Al", "Cu", "Ni", "O", "Ar"], rng, 20)
        assert atoms is not None and 2 <= len(set(atoms.symbols)) <= 3 and len(atoms) <= 20
        assert not {"O", "Ar"} & set(atoms.symbols)


def test_substitution_stays_in_the_group_and_scales_the_cell():
    salt = bulk("NaCl", "rocksalt", a=5.64)
    new = compositions.substituted(salt, ELEMENTS, np.random.default_rng(3))
    assert new is not None and set(new.symbols) != {"Na", "Cl"}
    assert [group_of(s) for s in new.symbols] == [group_of(s) for s in salt.symbols]
    np.testing.assert_allclose(new.get_scaled_positions(), salt.get_scaled_positions(), atol=1e-12)
    assert new.get_volume() != pytest.approx(salt.get_volume())
    assert compositions.substituted(salt, ["Na", "Cl"], np.random.default_rng(0)) is None


@given(seed=st.integers(0, 10_000), amplitude=st.floats(0.01, 0.5), name=st.sampled_from(["NaCl", "Cu", "W"]))
def test_rattled_atoms_keep_their_distance(seed, amplitude, name):
    rng = np.random.default_rng(seed)
    atoms = bulk(name, "rocksalt", a=5.64) if name == "NaCl" else bulk(name)
    cell = variants.supercell(variants.compressed(atoms, 100.0), rng, 16)
    moved = variants.rattled(cell, rng, amplitude, SHARE)
    assert closest(moved) >= SHARE
    assert np.abs(moved.positions - cell.positions).max() > 0
    np.testing.assert_array_equal(moved.cell, cell.cell)


def test_rattling_has_the_amplitude_asked_for():
    cell = bulk("Cu", cubic=True) * (4, 4, 4)
    moved = variants.rattled(cell, np.random.default_rng(0), 0.02, SHARE)
    assert (moved.positions - cell.positions).std() == pytest.approx(0.02 * 3.61 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("atoms", "pressure", "ratio", "error"),
    [  # measured: copper and tungsten at 1000 GPa, sodium at 100 GPa, MgO and NaCl (B1) at 100 and 25 GPa
        (bulk("Cu"), 1000.0, 0.46, 0.03),
        (bulk("W"), 1000.0, 0.55, 0.03),
        (bulk("Na"), 100.0, 0.36, 0.06),
        (bulk("MgO", "rocksalt", a=4.21), 100.0, 0.73, 0.05),
        (bulk("NaCl", "rocksalt", a=5.64), 25.0, 0.70, 0.05),
    ],
)
def test_guessed_compression_is_near_the_measured_one(atoms, pressure, ratio, error):
    found = variants.compressed(atoms, pressure).get_volume() / atoms.get_volume()
    assert found == pytest.approx(ratio, abs=error)


def test_no_pressure_no_compression():
    assert variants.volume_ratio(["Na", "Cl"], 40.0, 0.0) == 1.0


def test_strain_is_symmetric_and_bounded():
    rng = np.random.default_rng(0)
    for _ in range(20):
        cell = variants.strained(bulk("Cu", cubic=True), rng, 0.1).cell.array
        strain = np.linalg.solve(np.eye(3) * 3.61, cell) - np.eye(3)
        np.testing.assert_allclose(strain, strain.T, atol=1e-12)
        assert np.abs(strain).max() <= 0.1
    assert variants.strained(molecule("H2O"), rng, 0.1).get_volume  # a molecule is deformed, not refused


def test_supercells_stay_within_their_limit_and_grow_evenly():
    rng = np.random.default_rng(0)
    sizes = {len(variants.supercell(bulk("Cu"), rng, 16)) for _ in range(30)}
    assert max(sizes) <= 16 and min(sizes) >= 8
    assert len(variants.supercell(molecule("H2O"), rng, 16)) == 3


def test_slabs_have_vacuum_and_vacancies_one_atom_less():
    rng = np.random.default_rng(0)
    slab = variants.slab(bulk("Cu", cubic=True), rng, 24)
    assert len(slab) <= 24 and slab.pbc.all() and np.ptp(slab.positions[:, 2]) + 11 < slab.cell[2, 2]
    assert len(variants.with_vacancy(bulk("Cu", cubic=True), rng)) == 3
    assert len(variants.with_vacancy(bulk("Cu"), rng)) == 1
