"""Prototypes: symmetry, counts and sizes of what is built from the table."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from ergodica.datasets.chemistry import DENSE_VOLUME, ELEMENTS, IONS, group_of, partners
from ergodica.datasets.prototypes import PROTOTYPES, build, counts
from ergodica.errors import InputError

LETTERS = ["Na", "Mg", "Al", "Si"]


@pytest.mark.parametrize("name", PROTOTYPES)
def test_space_group_and_primitive_cell_are_those_of_the_table(name):
    spglib = pytest.importorskip("spglib")
    prototype = PROTOTYPES[name]
    atoms = build(prototype, LETTERS[: len(counts(prototype))])
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found = spglib.get_symmetry_dataset(cell, symprec=1e-4)
        primitive = spglib.find_primitive(cell, symprec=1e-4)
    assert found.number == prototype.group
    assert len(primitive[2]) == len(atoms) == sum(counts(prototype))


@pytest.mark.parametrize(
    ("name", "species", "charges", "volume"),
    [  # measured volumes of the primitive cell, Å³
        ("rocksalt", ["Na", "Cl"], [1, -1], 44.9),
        ("rocksalt", ["Mg", "O"], [2, -2], 18.7),
        ("cscl", ["Cs", "Cl"], [1, -1], 69.9),
        ("fluorite", ["Ca", "F"], [2, -1], 40.8),
        ("zincblende", ["Ga", "As"], [3, -3], 45.2),
        ("rutile", ["Ti", "O"], [4, -2], 62.4),
        ("perovskite", ["Sr", "Ti", "O"], [2, 4, -2], 59.5),
        ("spinel", ["Mg", "Al", "O"], [2, 3, -2], 132.0),
        ("corundum", ["Al", "O"], [3, -2], 84.9),
        ("elpasolite", ["Cs", "Na", "La", "Cl"], [1, 1, 3, -1], 324.0),
    ],
)
def test_ionic_crystals_come_out_near_their_measured_size(name, species, charges, volume):
    assert build(PROTOTYPES[name], species, charges).get_volume() == pytest.approx(volume, rel=0.16)


@pytest.mark.parametrize(
    ("name", "symbol", "distance", "neighbours"),
    [("fcc", "Cu", 2.56, 12), ("bcc", "Fe", 2.42, 8), ("diamond", "Si", 2.35, 4), ("hcp", "Mg", 3.2, 12)],
)
def test_elements_come_out_near_their_measured_distances(name, symbol, distance, neighbours):
    atoms = build(PROTOTYPES[name], [symbol])
    near = neighbor_list("i", atoms, 1.1 * distance)
    assert neighbor_list("d", atoms, 1.1 * distance).min() == pytest.approx(distance, rel=0.03)
    assert np.bincount(near).tolist() == [neighbours] * len(atoms)


def test_metallic_volumes_add_up():
    atoms = build(PROTOTYPES["l1_2"], ["Au", "Cu"])
    assert atoms.get_volume() == pytest.approx(DENSE_VOLUME["Au"] + 3 * DENSE_VOLUME["Cu"])
    assert atoms.get_chemical_formula() == "AuCu3"


def test_wrong_number_of_species_is_told():
    with pytest.raises(InputError, match="3 species, not 2"):
        build(PROTOTYPES["perovskite"], ["Sr", "O"])


def test_there_are_89_elements_and_only_noble_gases_have_no_ions():
    assert len(ELEMENTS) == 89
    assert set(ELEMENTS) - set(IONS) == {"He", "Ne", "Ar", "Kr", "Xe"}
    assert all(q != 0 and r > 0 for ions in IONS.values() for q, r in ions.items())


@pytest.mark.parametrize(
    ("symbol", "group"),
    [("H", 1), ("He", 18), ("C", 14), ("Cl", 17), ("Fe", 8), ("Hf", 4), ("Pb", 14), ("La", 19), ("U", 20)],
)
def test_groups(symbol, group):
    assert group_of(symbol) == group


def test_partners_are_of_the_same_group():
    assert set(partners("Cl")) == {"F", "Br", "I"}
    assert "Nd" in partners("La") and "U" not in partners("La")
