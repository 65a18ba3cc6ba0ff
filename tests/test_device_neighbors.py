"""The list made on the device is the host's, whatever the cell."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ergodica.neighbors import Capacity, find_edges, list_neighbors, pack, plan_grid
from ergodica.system import System

BATCHED = jax.jit(list_neighbors, static_argnames=("grid", "width", "loops"))


def both(systems, cutoff, width=None, loops=False, grid=None):
    """The device's answer and the host's edges, as sets of (receiver, sender, shift)."""
    edges = [find_edges(system, cutoff) for system in systems]
    atoms = sum(map(len, systems))
    need = max(int(np.bincount(one.receivers, minlength=1).max()) for one in edges) + loops
    capacity = Capacity(atoms + 2, max(need, 1), len(systems))  # two places of padding
    with jax.enable_x64(True):
        batch = pack(systems, edges, capacity, loops=loops, dtype=np.float64)
        pbc = np.stack([system.pbc for system in systems])
        found = BATCHED(batch, pbc, cutoff, grid or plan_grid(systems, cutoff), width or max(need, 1 + loops), loops)
    return found, batch.neighbors, need


def as_set(neighbors):
    rows, columns = np.nonzero(np.asarray(neighbors.mask))
    index, shift = np.asarray(neighbors.index), np.round(np.asarray(neighbors.shift)).astype(int)
    edges = [(int(i), int(index[i, k]), *map(int, shift[i, k])) for i, k in zip(rows, columns, strict=True)]
    assert len(set(edges)) == len(edges)
    return set(edges)


def check_reverse(neighbors):
    index, mask, reverse = (np.asarray(a) for a in (neighbors.index, neighbors.mask, neighbors.reverse))
    shift = np.round(np.asarray(neighbors.shift)).reshape(-1, 3)
    width = index.shape[1]
    slots = np.arange(index.size).reshape(index.shape)
    opposite = reverse[mask]
    assert np.array_equal(reverse.reshape(-1)[opposite], slots[mask])
    assert np.array_equal(opposite // width, index[mask])
    assert np.array_equal(shift[opposite], -shift[slots[mask]])


@st.composite
def structures(draw):
    """Random cells, thin and skew ones among them, partly periodic, atoms far outside."""
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    count = draw(st.sampled_from([1, 2, 5, 12]))
    size = draw(st.sampled_from([2.0, 5.0, 14.0]))
    cell = size * (np.eye(3) + 0.35 * rng.normal(size=(3, 3)))
    pbc = np.array(draw(st.tuples(*[st.booleans()] * 3)))
    if abs(np.linalg.det(cell)) < 0.2 * size**3:
        cell = size * np.eye(3)
    positions = (rng.random((count, 3)) + rng.integers(-3, 4, (count, 3)) * pbc) @ cell
    return System(np.full(count, 18), positions, cell, pbc)


@settings(max_examples=6, deadline=None)
@given(structures(), st.booleans())
def test_edges_are_the_hosts(system, loops):
    found, known, need = both([system], 4.0, loops=loops)
    assert bool(found.complete) and int(found.width) == need
    assert as_set(found.neighbors) == as_set(known)
    check_reverse(found.neighbors)


def liquid(count=600, density=0.02, seed=0, skew=0.0, pbc=(True,) * 3):
    rng = np.random.default_rng(seed)
    side = (count / density) ** (1 / 3)
    cell = side * (np.eye(3) + skew * np.triu(np.ones((3, 3)), 1))
    return System(np.full(count, 18), rng.random((count, 3)) @ cell, cell, pbc)


@pytest.mark.parametrize("system", [liquid(), liquid(skew=0.4), liquid(pbc=(True, False, True))])
def test_bins_find_what_all_pairs_find(system):
    grid = plan_grid([system], 5.0)
    assert max(grid.bins) > 1
    found, known, _ = both([system], 5.0, grid=grid)
    assert bool(found.complete) and as_set(found.neighbors) == as_set(known)
    check_reverse(found.neighbors)


def test_structures_of_a_batch_do_not_meet():
    systems = [liquid(20, seed=1), liquid(7, seed=2, pbc=(False,) * 3), liquid(1, seed=3)]
    found, known, _ = both(systems, 5.0)
    assert bool(found.complete) and as_set(found.neighbors) == as_set(known)


def test_what_has_no_room_is_told():
    system = liquid(100, density=0.05)
    found, _, need = both([system], 5.0, width=10)
    assert not bool(found.complete) and int(found.width) == need
    grid = plan_grid([system], 5.0)
    tight, _, _ = both([system], 5.0, grid=replace(grid, capacity=2))
    assert not bool(tight.complete) and int(tight.crowd) > 2
    small = replace(system, cell=0.4 * system.cell, positions=0.4 * system.positions)
    assert not bool(both([small], 5.0, grid=grid)[0].complete)
