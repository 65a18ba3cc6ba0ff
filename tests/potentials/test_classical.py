"""Classical potentials against ASE's, and against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.cluster import Octahedron
from ase.data import covalent_radii
from ase.stress import full_3x3_to_voigt_6_stress

from ergodica import load, predict
from ergodica.elements import COVALENT_RADII
from ergodica.errors import InputError
from ergodica.units import BOHR, HARTREE


def rattled(atoms: Atoms) -> Atoms:
    """The same structure, off its sites."""
    atoms.rattle(0.1, seed=1)
    return atoms


def alloy() -> Atoms:
    """A skewed cell with every metal that EMT knows."""
    atoms = bulk("Cu", cubic=True) * (2, 1, 1)
    atoms.symbols[1:7] = ["Al", "Ni", "Pd", "Ag", "Pt", "Au"]
    atoms.set_cell(atoms.cell.array @ [[1.05, 0.1, 0], [0, 1, 0.06], [0.02, 0, 1.1]], scale_atoms=True)
    return rattled(atoms)


def agrees(potential, calculator, structures):
    """Energies, atomic energies, forces and stresses to rounding."""
    for atoms, found in zip(structures, predict(potential, structures, precision="float64"), strict=True):
        atoms.calc = calculator
        np.testing.assert_allclose(found.energy, atoms.get_potential_energy(), rtol=0, atol=1e-10)
        np.testing.assert_allclose(found.energies, atoms.get_potential_energies(), rtol=0, atol=1e-10)
        np.testing.assert_allclose(found.forces, atoms.get_forces(), rtol=0, atol=1e-10)
        if atoms.pbc.all():
            np.testing.assert_allclose(full_3x3_to_voigt_6_stress(found.stress), atoms.get_stress(), atol=1e-11)


def test_emt_is_ases():
    agrees(
        load("emt"),
        EMT(),
        [alloy(), rattled(Octahedron("Au", 3)), Atoms("Pt"), Atoms("CuNi", [[0, 0, 0], [0, 0, 2.4]])],
    )


def test_lennard_jones_is_ases():
    config = {"epsilon": 0.0103, "sigma": 3.4, "onset": 6.0, "cutoff": 7.5}
    peer = LennardJones(epsilon=0.0103, sigma=3.4, ro=6.0, rc=7.5, smooth=True)
    argon = rattled(bulk("Ar", "fcc", a=5.3, cubic=True))
    agrees(load("lj", **config), peer, [argon, Atoms("Ar2", [[0, 0, 0], [0, 0, 7.0]]), Atoms("Ar")])


@pytest.mark.parametrize("one, two, distance", [("W", "H", 0.3), ("O", "O", 0.8), ("U", "Cs", 1.7)])
def test_zbl_is_its_formula(one, two, distance):
    first, second = Atoms(one + two).numbers.astype(float)
    x = distance / (0.8854 * BOHR / (first**0.23 + second**0.23))
    phi = 0.18175 * np.exp(-3.1998 * x) + 0.50986 * np.exp(-0.94229 * x) + 0.28022 * np.exp(-0.4029 * x)
    phi += 0.02817 * np.exp(-0.20162 * x)
    y = distance / covalent_radii[[int(first), int(second)]].sum()
    fade = 1 - 10 * y**3 + 15 * y**4 - 6 * y**5
    (found,) = predict(load("zbl"), Atoms(one + two, [[0, 0, 0], [0, 0, distance]]), precision="float64")
    np.testing.assert_allclose(found.energy, HARTREE * BOHR * first * second / distance * phi * fade, rtol=1e-12)


def test_zbl_ends_where_atoms_bond():
    water = molecule("H2O")
    water.positions *= 1.2
    (found,) = predict(load("zbl"), water)
    assert found.energy == 0 and not found.forces.any()


def test_forces_of_zbl_are_the_slope_of_its_energy():
    atoms = Atoms("OHMo", [[0, 0, 0], [0, 0.2, 0.5], [0.9, 0.1, 0.3]])
    step = 1e-5
    shifted = [atoms.copy() for _ in range(2)]
    for sign, one in zip((1, -1), shifted, strict=True):
        one.positions[2, 0] += sign * step
    found = predict(load("zbl"), [atoms, *shifted], precision="float64")
    slope = (found[1].energy - found[2].energy) / (2 * step)
    np.testing.assert_allclose(found[0].forces[2, 0], -slope, rtol=1e-7)


def test_covalent_radii_are_ases():
    np.testing.assert_allclose(COVALENT_RADII, covalent_radii[: len(COVALENT_RADII)])


@pytest.mark.parametrize(
    "name, parameters, words",
    [
        ("lj", {"sigmas": 1.0}, "unknown key 'sigmas'; did you mean 'sigma'"),
        ("lj", {"onset": 9.0}, "onset must be"),
        ("lj", {"epsilon": -1.0}, "must be positive"),
        ("visnet-rmd17", {"sigma": 1.0}, "Only coulomb, d3, emt, lj, zbl take parameters"),
        ("lh", {}, "one of: .*lj"),
    ],
)
def test_wrong_parameters_are_one_clear_sentence(name, parameters, words):
    with pytest.raises(InputError, match=words):
        load(name, **parameters)


def test_emt_knows_its_metals_only():
    with pytest.raises(InputError, match="holds Fe"):
        predict(load("emt"), bulk("Fe"))
