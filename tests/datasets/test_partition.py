"""Sets that share no composition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ergodica.datasets import partition
from ergodica.datasets.partition import reduced_composition
from ergodica.errors import InputError
from ergodica.system import System


def systems(count: int, seed: int = 0) -> list[System]:
    rng = np.random.default_rng(seed)
    found = []
    for index in range(count):
        size = rng.integers(1, 5)
        numbers = rng.choice([8, 22, 38], size)
        found.append(System(numbers, np.arange(3 * size).reshape(size, 3), info={"family": str(index % 4)}))
    return found


def test_reduced_composition_does_not_see_the_size_of_the_cell():
    rutile = System([22, 22, 8, 8, 8, 8], np.arange(18).reshape(6, 3))
    assert reduced_composition(rutile) == "O2Ti"
    assert reduced_composition(System([8, 22, 8], np.arange(9).reshape(3, 3))) == "O2Ti"


@given(seed=st.integers(0, 1000), by=st.sampled_from(["composition", "elements", "family"]))
def test_no_group_is_in_two_sets_and_nothing_is_lost(seed, by):
    everything = systems(80, seed)
    sets = partition(everything, by, (0.7, 0.2, 0.1), seed)
    assert sorted(np.concatenate(sets).tolist()) == list(range(80))
    key = {"composition": reduced_composition, "family": lambda s: s.info["family"]}.get(
        by, lambda s: frozenset(s.numbers.tolist())
    )
    groups = [{key(everything[i]) for i in members} for members in sets]
    assert all(len(members) for members in sets)
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]


def test_sizes_are_met_where_groups_are_small_and_the_seed_defines_the_sets():
    everything = systems(200)
    sets = partition(everything, "structure", (0.8, 0.2), 3)
    assert [len(members) for members in sets] == [160, 40]
    again, other = partition(everything, "structure", (0.8, 0.2), 3), partition(everything, "structure", (0.8, 0.2), 4)
    np.testing.assert_array_equal(sets[1], again[1])
    assert not np.array_equal(sets[1], other[1])


@pytest.mark.parametrize(
    ("by", "fractions", "hint"),
    [
        ("composition", (0.5, 0.4), "add up to 1"),
        ("composition", (1.0,), "two or more"),
        ("composition", (1.2, -0.2), "positive"),
        ("colour", (0.5, 0.5), "has no 'colour'.*family"),
        ("family", (0.2, 0.2, 0.2, 0.2, 0.2), "4 groups by family, too few for 5"),
    ],
)
def test_impossible_splits_are_told(by, fractions, hint):
    with pytest.raises(InputError, match=hint):
        partition(systems(20), by, fractions)
