"""Selection prefers what models disagree on, and never the same structure twice."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule
from hypothesis import given
from hypothesis import strategies as st

from ergodica.datasets import choose, disagreement
from ergodica.datasets.descriptors import describe
from ergodica.datasets.selection import farthest
from ergodica.errors import InputError
from ergodica.prediction import predict
from ergodica.system import System, as_systems
from tests.helpers.small import random_crystal, random_molecule, random_rotation, small_potential


def crystals(count: int) -> list[System]:
    rng = np.random.default_rng(0)
    return [random_crystal(rng) for _ in range(count)]


def test_farthest_points_of_a_line_are_its_ends_then_the_middle():
    points = np.linspace(0, 1, 9)[:, None]
    weights = np.r_[1.001, np.ones(8)]
    assert farthest(points, weights, 3).tolist() == [0, 8, 4]


def test_weight_beats_distance_where_it_is_larger():
    points = np.array([[0.0], [1.0], [2.0], [10.0]])
    assert farthest(points, np.array([5.0, 1.0, 4.0, 0.5]), 2).tolist() == [0, 2]
    assert farthest(points, np.array([5.0, 1.0, 4.0, 1.0]), 2).tolist() == [0, 3]


@given(seed=st.integers(0, 1000))
def test_nothing_is_chosen_twice_and_duplicates_are_left_out(seed):
    rng = np.random.default_rng(seed)
    points = np.repeat(rng.normal(size=(6, 3)), 3, axis=0)
    chosen = farthest(points, rng.uniform(0.5, 1, 18), 18, same=1e-2)
    assert len(set(chosen // 3)) == len(chosen) == 6


def test_choice_prefers_disagreement_and_drops_near_duplicates():
    systems = crystals(10)
    score = np.ones(10)
    score[4] = 50.0
    twin = System(systems[4].numbers, systems[4].positions + 1e-4, systems[4].cell, systems[4].pbc)
    chosen = choose([*systems, twin], 11, np.r_[score, 49.0])
    assert chosen[0] == 4 and 10 not in chosen and len(chosen) == 10


def test_limits_of_the_disagreement():
    score = np.arange(10.0)
    assert set(choose(crystals(10), 10, score, floor=3.0, ceiling=6.0)) == {3, 4, 5, 6}
    with pytest.raises(InputError, match="from 0 to 9"):
        choose(crystals(10), 3, score, floor=20.0)
    with pytest.raises(InputError, match="at least 1"):
        choose(crystals(2), 0)


def test_descriptors_do_not_see_rotation_order_or_size_of_the_cell():
    rng = np.random.default_rng(1)
    crystal, others = random_crystal(rng), crystals(4)
    turn, order = random_rotation(rng), rng.permutation(len(crystal))
    turned = System(crystal.numbers, crystal.positions @ turn.T, crystal.cell @ turn.T, crystal.pbc)
    shuffled = System(crystal.numbers[order], crystal.positions[order], crystal.cell, crystal.pbc)
    double = as_systems([crystal.to_ase() * (1, 2, 1)])[0]
    rows = describe([crystal, turned, shuffled, double, *others])
    np.testing.assert_allclose(rows[1:4], rows[[0, 0, 0]], atol=1e-9)
    distances = np.linalg.norm(rows[4:] - rows[0], axis=1)
    assert distances.min() > 0.1


def test_descriptors_tell_order_from_disorder_and_dense_from_loose():
    copper = bulk("Cu", cubic=True) * (2, 2, 2)
    rattled, dense = copper.copy(), copper.copy()
    rattled.rattle(0.1, seed=0)
    dense.set_cell(dense.cell * 0.95, scale_atoms=True)
    rows = describe(as_systems([copper, copper.copy(), rattled, dense]))
    distances = np.linalg.norm(rows - rows[0], axis=1)
    assert distances[1] == 0 and distances[2:].min() > 0.3


def test_disagreement_is_the_largest_spread_of_a_force():
    systems = [random_molecule(np.random.default_rng(seed)) for seed in range(3)]
    committee = [small_potential(seed) for seed in range(3)]
    found = disagreement(committee, systems)
    answers = [predict(potential, systems) for potential in committee]
    for index in range(len(systems)):
        forces = np.array([answer[index].forces for answer in answers])
        spread = np.sqrt(((forces - forces.mean(0)) ** 2).sum(-1).mean(0)).max()
        assert found.forces[index] == pytest.approx(spread, rel=1e-3)
    same = disagreement([committee[0], committee[0]], systems)
    np.testing.assert_allclose(same.forces, 0, atol=1e-6)
    np.testing.assert_allclose(same.energy, 0, atol=1e-6)
    with pytest.raises(InputError, match="two or more"):
        disagreement(committee[:1], [molecule("H2O")])


def test_an_ensemble_alone_is_a_committee():
    combine = pytest.importorskip(
        "ergodica.potentials.combine", reason="ensembles are not part of this version"
    ).combine
    systems = [random_molecule(np.random.default_rng(seed)) for seed in range(2)]
    members = [small_potential(seed) for seed in range(2)]
    together, apart = disagreement([combine(members)], systems), disagreement(members, systems)
    np.testing.assert_allclose(together.forces, apart.forces, rtol=1e-3)
