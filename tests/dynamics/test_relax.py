"""Relaxation of atoms and cells: ASE's minima, structures that do not know of each other, what may go wrong."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.constraints import FixAtoms, FixedPlane
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

from ergodica import Calculator, load, predict, relax
from ergodica.dynamics.lanes import Lane
from ergodica.dynamics.minimizers import MINIMIZERS
from ergodica.dynamics.options import RelaxOptions
from ergodica.dynamics.walkers import cut, join, walker_of
from ergodica.errors import InputError
from ergodica.neighbors import Capacity
from ergodica.system import System
from ergodica.units import GPA

EMT = load("emt")


def alloy(seed=0, repeat=(1, 1, 2)):
    """A strained, shaken crystal of four kinds of sites."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True).repeat(repeat)
    atoms.symbols[::3] = "Au"
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.04 * rng.normal(size=(3, 3))), scale_atoms=True)
    atoms.positions += 0.08 * rng.normal(size=atoms.positions.shape)
    return atoms


def as_ase_does(atoms, cell=False, pressure=0.0, fmax=1e-3):
    """The minimum that ASE finds with our calculator."""
    atoms = atoms.copy()
    atoms.calc = Calculator(EMT, precision="float64")
    BFGS(FrechetCellFilter(atoms, scalar_pressure=pressure * GPA) if cell else atoms, logfile=None).run(fmax, 400)
    return atoms


@pytest.mark.parametrize("optimizer", ["FIRE", "lbfgs"])
def test_forces_vanish_and_labels_are_the_models(optimizer):
    (one,) = relax(EMT, alloy(), optimizer=optimizer, fmax=0.005)
    (check,) = predict(EMT, one.system)
    assert one.converged and 0 < one.fmax < 0.005 and one.steps > 0 and not one.failure
    assert one.system.labels.energy == pytest.approx(check.energy, abs=1e-4)
    np.testing.assert_allclose(one.system.labels.forces, check.forces, atol=1e-4)
    np.testing.assert_allclose(one.system.labels.stress, check.stress, atol=1e-5)
    assert one.system.labels.energy < predict(EMT, alloy())[0].energy - 0.1


@pytest.mark.parametrize("pressure", [0.0, 20.0])
def test_cells_end_where_ases_filter_ends(pressure):
    known = as_ase_does(alloy(), cell=True, pressure=pressure)
    (one,) = relax(EMT, alloy(), cell=True, pressure=pressure, fmax=1e-3, precision="float64")
    assert one.converged
    enthalpy = one.system.labels.energy + pressure * GPA * one.system.volume
    other = known.get_potential_energy() + pressure * GPA * known.get_volume()
    assert enthalpy == pytest.approx(other, abs=1e-4 * len(known))
    np.testing.assert_allclose(System.from_ase(known).volume, one.system.volume, rtol=1e-3)
    lengths, others = (np.linalg.norm(cell, axis=1) for cell in (one.system.cell, known.cell.array))
    np.testing.assert_allclose(lengths, others, rtol=1e-3)
    np.testing.assert_allclose(one.system.labels.stress, -pressure * GPA * np.eye(3), atol=1e-4)


def test_fixed_atoms_stay_where_they_are():
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    slab.set_constraint(FixAtoms(mask=slab.positions[:, 2] < slab.positions[:, 2].mean() - 0.5))
    slab.positions[-1] += [0.1, 0.05, 0.3]
    known = as_ase_does(slab)
    (one,) = relax(EMT, slab, fmax=1e-3, precision="float64")
    held = one.system.fixed
    assert held.sum() == 4 and one.converged
    np.testing.assert_array_equal(one.system.positions[held], slab.positions[held])
    np.testing.assert_allclose(one.system.positions, known.positions, atol=5e-3)
    assert one.system.labels.energy == pytest.approx(known.get_potential_energy(), abs=1e-4)
    (rough,) = relax(EMT, slab, steps=2)
    np.testing.assert_array_equal(rough.system.positions[held], slab.positions[held])  # in single precision, too


def test_a_film_without_a_third_vector_comes_to_rest():
    film = fcc111("Cu", (2, 2, 3), a=3.6)
    film.rattle(0.05, seed=0)
    assert not film.cell[2].any()
    (found,) = relax(load("emt"), film, fmax=1e-3, steps=100)
    assert found.converged and found.steps < 60


def test_constraints_that_are_left_out_are_told():
    water = molecule("H2O")
    water.set_constraint([FixAtoms([0]), FixedPlane(1, (0, 0, 1))])
    with pytest.warns(UserWarning, match="FixedPlane is left out"):
        assert System.from_ase(water).fixed.tolist() == [True, False, False]


def test_structures_side_by_side_end_where_they_end_alone():
    several = [alloy(seed, repeat) for seed, repeat in enumerate([(1, 1, 1), (1, 1, 2), (1, 1, 1)])]
    together = relax(EMT, several, cell=True, fmax=2e-3, precision="float64")
    for start, one in zip(several, together, strict=True):
        (alone,) = relax(EMT, start, cell=True, fmax=2e-3, precision="float64")
        assert one.converged and len(one.system) == len(start)
        assert one.system.labels.energy == pytest.approx(alone.system.labels.energy, abs=1e-6)
        np.testing.assert_allclose(one.system.cell, alone.system.cell, atol=2e-3)


@pytest.mark.parametrize("minimizer", MINIMIZERS.values(), ids=MINIMIZERS)
def test_structures_that_change_batches_take_along_what_they_know(minimizer):
    walker = walker_of(0, System.from_ase(alloy()), RelaxOptions(cell=True), minimizer)
    leaves, tree = jax.tree.flatten(walker.state)
    numbered = [np.full_like(leaf, k) for k, leaf in enumerate(leaves)]
    walker.state = jax.tree.unflatten(tree, numbered)
    capacity = Capacity(12, 8, 3)
    cut(join([walker], capacity, minimizer, np.float32), [walker], capacity)
    for before, after in zip(numbered, jax.tree.leaves(walker.state), strict=True):
        np.testing.assert_array_equal(before, after)


def test_who_is_left_in_a_lane_that_runs_empty_goes_on_in_the_next(monkeypatch):
    """Two crystals at rest leave at once, and the third is handed on; none may be lost on the way."""
    rest, slow = bulk("Cu", cubic=True), alloy(repeat=(1, 1, 1))

    def two_lanes(device, walkers, shapes):
        capacity = Capacity(12, 128, 4)
        return [Lane(device, capacity, walkers[:3]), Lane(device, capacity, walkers[3:])]

    monkeypatch.setattr("ergodica.dynamics.relax.lanes_for", two_lanes)
    found = relax(EMT, [rest, rest, slow, slow], fmax=0.02)
    assert [one.converged for one in found] == [True] * 4
    np.testing.assert_allclose(found[2].system.positions, found[3].system.positions, atol=1e-2)


def test_constant_volume_is_kept():
    (one,) = relax(EMT, alloy(), cell=True, constant_volume=True, precision="float64")
    assert one.system.volume == pytest.approx(alloy().get_volume(), rel=1e-9)
    stress = one.system.labels.stress
    assert np.abs(stress - np.eye(3) * np.trace(stress) / 3).max() < 1e-3 < abs(np.trace(stress))


@pytest.mark.filterwarnings("ignore:.*OLD_ERROR_HANDLING:DeprecationWarning")
def test_symmetry_is_kept():
    pytest.importorskip("spglib")
    start = bulk("Cu", cubic=True)
    start.set_cell(start.cell.array * [1.0, 1.0, 1.1], scale_atoms=True)
    (one,) = relax(EMT, start, cell=True, symmetry=True, fmax=1e-3, precision="float64")
    assert one.converged
    np.testing.assert_allclose(one.system.cell, np.diag(np.diag(one.system.cell)), atol=1e-10)
    assert one.system.cell[0, 0] == pytest.approx(one.system.cell[1, 1], abs=1e-10)


def test_what_goes_astray_hurts_nobody_else():
    wild = System([29, 29], [[0, 0, 0], [0, 0, 2.2]])
    lj = load("lj", sigma=2.3, epsilon=0.4, cutoff=6.0, onset=5.0)
    broken = replace(wild, positions=[[0, 0, 0], [0, 0, 0.002]])
    good, bad, same = relax(lj, [wild, broken, wild], fmax=1e-3)
    assert good.converged and same.converged and not bad.converged
    assert "went astray" in bad.failure or bad.fmax > 1e-3
    assert np.linalg.norm(np.ptp(good.system.positions, axis=0)) == pytest.approx(2.3 * 2 ** (1 / 6), rel=1e-2)


def test_steps_run_out():
    (one,) = relax(EMT, alloy(), steps=2, fmax=1e-6)
    assert not one.converged and one.steps == 2 and not one.failure


def test_unsuitable_structures_are_refused_before_anything_runs():
    with pytest.raises(InputError, match="structure 1 holds Fe"):
        relax(EMT, [bulk("Cu"), bulk("Fe")])
    with pytest.raises(InputError, match="not periodic"):
        relax(EMT, Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]]), cell=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"fmax": 0}, {"steps": -1}, {"pressure": 1.0}, {"optimizer": "magic"}, {"fmxa": 1}, {"symprec": 0.0},
        {"symprec": 0.02}, {"constant_volume": True}, {"strain": ("xx", "ab"), "cell": True},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(changes):
    with pytest.raises(InputError):
        relax(EMT, molecule("H2O"), **changes)
