"""Neighbour lists against ASE's over a zoo of cells, lists with a skin against fresh ones, and the dense layout."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from ase.neighborlist import primitive_neighbor_list
from hypothesis import given
from hypothesis import strategies as st

from ergodica.errors import InputError
from ergodica.neighbors import Capacity, Edges, VerletList, capacity_for, dense_neighbors, find_edges, pack, round_up
from ergodica.system import System
from tests.helpers.small import random_crystal, random_molecule

CUBE = np.eye(3) * 4.0
THIN = np.diag([1.1, 9.0, 2.0])
SKEW = np.array([[3.0, 0.0, 0.0], [2.7, 1.5, 0.0], [-1.4, 1.2, 2.5]])
LEFT_HANDED = SKEW[[1, 0, 2]]
HUGE = np.eye(3) * 1e4
SLAB = np.array([[3.0, 0.5, 0.0], [0.2, 3.5, 0.0], [0.0, 0.0, 0.0]])
WIRE = np.array([[0.0, 0.0, 0.0], [0.4, 0.3, 2.0], [0.0, 0.0, 0.0]])
CELLS = {"cube": CUBE, "thin": THIN, "skew": SKEW, "left-handed": LEFT_HANDED, "huge": HUGE}


def as_set(edges: Edges) -> Counter[tuple[int, ...]]:
    """Edges without their order, repetitions kept."""
    return Counter(
        (int(i), int(j), *map(int, shift))
        for i, j, shift in zip(edges.receivers, edges.senders, edges.shifts, strict=True)
    )


def of_ase(system: System, cutoff: float) -> Counter[tuple[int, ...]]:
    """The same from ASE, which wants a complete cell."""
    cell = system.cell.copy()
    missing = ~cell.any(axis=1)
    if missing.all():
        cell = np.eye(3)
    elif missing.any():
        cell[missing] = np.linalg.svd(cell)[2][3 - missing.sum() :]
    receivers, senders, shifts = primitive_neighbor_list("ijS", system.pbc, cell, system.positions, cutoff)
    return as_set(Edges(receivers, senders, shifts, receivers))


def check_against_ase(system: System, cutoff: float) -> None:
    edges = find_edges(system, cutoff)
    assert as_set(edges) == of_ase(system, cutoff)
    assert (np.diff(edges.receivers) >= 0).all()
    check_reverse(edges)


def check_reverse(edges: Edges) -> None:
    """Opposite of (i, j, S) is (j, i, -S), and the opposite of that is the edge itself."""
    back = edges.reverse
    np.testing.assert_array_equal(back[back], np.arange(len(edges)))
    np.testing.assert_array_equal(edges.receivers[back], edges.senders)
    np.testing.assert_array_equal(edges.senders[back], edges.receivers)
    np.testing.assert_array_equal(edges.shifts[back], -edges.shifts)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "huge")) for name in CELLS])
@given(
    seed=st.integers(0, 10_000),
    atoms=st.integers(1, 8),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    cutoff=st.floats(1.5, 4.0),
)
def test_equals_ase_in_any_cell(name, seed, atoms, pbc, cutoff):
    """Atoms are strewn far outside the box, at negative coordinates, too."""
    rng = np.random.default_rng(seed)
    spread = np.minimum(CELLS[name], 12.0)
    positions = rng.uniform(-2, 3, (atoms, 3)) @ spread
    check_against_ase(System(np.ones(atoms), positions, CELLS[name], np.array(pbc)), cutoff)


@pytest.mark.parametrize(
    ("cell", "pbc"),
    [(SLAB, (1, 1, 0)), (WIRE, (0, 1, 0)), (np.zeros((3, 3)), (0, 0, 0)), (SLAB, (1, 0, 0)), (SLAB, (0, 0, 0))],
)
@given(seed=st.integers(0, 10_000))
def test_equals_ase_without_some_lattice_vectors(cell, pbc, seed):
    positions = np.random.default_rng(seed).uniform(-4, 4, (6, 3))
    check_against_ase(System(np.ones(6), positions, cell, np.array(pbc, bool)), 3.5)


def test_many_images_of_a_lone_atom():
    system = System([6], [[-7.0, 3.0, 0.1]], np.diag([1.0, 1.2, 0.9]), np.ones(3, bool))
    edges = find_edges(system, 4.0)
    assert len(edges) > 200
    assert as_set(edges) == of_ase(system, 4.0)
    check_reverse(edges)


@pytest.mark.parametrize(
    ("cell", "pbc", "apart"),
    [
        (np.diag([2000.0, 2000.0, 0.0]), (1, 1, 0), [0, 0, 0]),  # a film
        (np.diag([2000.0, 2000.0, 3.0]), (1, 1, 1), [0, 0, 0]),
        (np.diag([0.0, 0.0, 1e6]), (0, 0, 1), [0, 0, 0]),  # a wire
        (np.zeros((3, 3)), (0, 0, 0), [5e3, 4e3, 0]),  # fragments that fly apart
        (np.zeros((3, 3)), (0, 0, 0), [1e15, 0, 0]),
    ],
)
def test_vast_and_thin_structures(cell, pbc, apart):
    """vesin 0.6.2 ends the process on these."""
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0.5]]) + np.outer([0, 0, 1, 1], apart)
    system = System(np.ones(4), positions, cell, np.array(pbc, bool))
    edges = find_edges(system, 2.0)
    assert {(0, 1), (1, 0), (2, 3), (3, 2)} <= {(i, j) for i, j, *_ in as_set(edges)}
    check_reverse(edges)


def test_no_edges_at_all():
    for system in (System([6], [[0, 0, 0]]), System([6, 6], [[0, 0, 0], [50, 0, 0]], HUGE, np.ones(3, bool))):
        edges = find_edges(system, 5.0)
        assert len(edges) == 0 and edges.shifts.shape == (0, 3)
        neighbors = dense_neighbors(edges, len(system))
        assert neighbors.index.shape == (len(system), 1) and neighbors.mask.all()
        assert len(VerletList(5.0).update(system)) == 0
        assert pack([system], [edges]).neighbors.mask.sum() == len(system)


def test_atoms_on_one_place_are_named():
    system = System([6, 1, 1], [[0, 0, 0], [3.0, 0, 0], [1.0, 0, 0]], np.eye(3) * 2.0, np.ones(3, bool), name="bad.xyz")
    with pytest.raises(InputError, match=r"bad.xyz: atoms 1 and 2 are on one place"):
        find_edges(system, 2.5)
    with pytest.raises(InputError, match="on one place"):
        VerletList(2.5).update(system)


def test_atoms_that_meet_within_the_skin_are_named():
    verlet = VerletList(3.0, skin=1.0)
    verlet.update(System([6, 1], [[0, 0, 0], [0.4, 0, 0]]))
    with pytest.raises(InputError, match="on one place"):
        verlet.update(System([6, 1], [[0, 0, 0], [0.0005, 0, 0]]))


@given(st.integers(0, 10_000), st.booleans())
def test_list_with_a_skin_equals_a_fresh_one_along_a_walk(seed, periodic):
    rng = np.random.default_rng(seed)
    start = random_crystal(rng) if periodic else random_molecule(rng)
    verlet, positions = VerletList(3.0, skin=0.8), start.positions
    steps = 30
    for _ in range(steps):
        positions = positions + rng.normal(scale=0.02, size=positions.shape)
        system = System(start.numbers, positions, start.cell, start.pbc)
        edges = verlet.update(system)
        assert as_set(edges) == as_set(find_edges(system, 3.0))
        check_reverse(edges)
    assert verlet.builds < steps / 3


@given(st.integers(0, 10_000))
def test_fullest_atom_within_a_margin_is_that_of_a_longer_list(seed):
    rng = np.random.default_rng(seed)
    start = random_crystal(rng)
    verlet = VerletList(3.0, skin=0.8)
    verlet.update(start)
    positions = start.positions + rng.normal(scale=0.05, size=start.positions.shape)
    system = System(start.numbers, positions, start.cell, start.pbc)
    verlet.update(system)
    for margin in (0.0, 0.2):
        fresh = find_edges(system, 3.0 + margin).receivers
        assert verlet.most_neighbors(system, margin) == np.bincount(fresh, minlength=1).max()


def test_rebuilds_only_when_it_must():
    system = random_crystal(np.random.default_rng(0))
    verlet = VerletList(3.0, skin=1.0)

    def builds_after(positions=system.positions, cell=system.cell, pbc=system.pbc, numbers=system.numbers) -> int:
        verlet.update(System(numbers, positions, cell, pbc))
        return verlet.builds

    def moved(distance: float) -> np.ndarray:
        return system.positions + np.array([distance, 0, 0]) * (np.arange(len(system)) == 1)[:, None]

    assert builds_after() == 1
    assert builds_after(moved(0.49)) == 1
    assert builds_after() == 1
    assert builds_after(moved(0.51)) == 2
    assert builds_after(moved(0.51), cell=1.001 * system.cell) == 3
    assert builds_after(moved(0.51), cell=1.001 * system.cell, pbc=np.array([True, True, False])) == 4
    assert builds_after(moved(0.51), cell=1.001 * system.cell, numbers=system.numbers[::-1]) == 5
    assert builds_after(moved(0.51)[:-1], numbers=system.numbers[:-1]) == 6


@given(st.integers(0, 10_000), st.booleans())
def test_dense_layout_holds_the_same_edges(seed, loops):
    system = random_crystal(np.random.default_rng(seed))
    edges = find_edges(system, 3.0)
    neighbors = dense_neighbors(edges, len(system), loops=loops)
    width = neighbors.index.shape[1]
    rows, columns = np.nonzero(neighbors.mask)
    real = columns >= loops
    rows, columns = rows[real], columns[real]
    back = neighbors.reverse[rows, columns]
    dense = Edges(rows, neighbors.index[rows, columns], neighbors.shift[rows, columns], rows)
    assert as_set(dense) == as_set(edges)
    flat = neighbors.reverse.reshape(-1)
    np.testing.assert_array_equal(flat[flat], np.arange(len(flat)))
    np.testing.assert_array_equal(back // width, neighbors.index[rows, columns])
    np.testing.assert_array_equal(neighbors.shift.reshape(-1, 3)[back], -neighbors.shift[rows, columns])
    if loops:
        np.testing.assert_array_equal(neighbors.index[:, 0], np.arange(len(system)))
        np.testing.assert_array_equal(flat[::width], np.arange(len(system)) * width)


def test_too_narrow_a_batch_is_an_error_not_a_truncation():
    system = random_crystal(np.random.default_rng(0))
    edges = find_edges(system, 3.0)
    width = dense_neighbors(edges, len(system)).index.shape[1]
    with pytest.raises(InputError, match=f"{width} neighbour slots"):
        dense_neighbors(edges, len(system), width - 1)
    with pytest.raises(InputError, match="do not fit"):
        pack([system], [edges], Capacity(len(system) - 1, width, 1))
    with pytest.raises(InputError, match="do not fit"):
        pack([system, system], [edges, edges], Capacity(2 * len(system), width, 1))


def test_padding_is_inert():
    rng = np.random.default_rng(1)
    systems = [random_crystal(rng), random_molecule(rng)]
    lists = [find_edges(s, 3.0) for s in systems]
    batch = pack(systems, lists, Capacity(16, 200, 4))
    atoms = sum(map(len, systems))
    assert batch.positions.shape == (16, 3) and batch.n_systems == 4
    assert (batch.numbers[:atoms] > 0).all() and not batch.numbers[atoms:].any()
    assert not batch.neighbors.mask[atoms:].any()
    assert (np.diff(batch.system) >= 0).all() and (batch.system[atoms:] == 3).all()
    np.testing.assert_array_equal(batch.cell[1:], np.repeat(np.eye(3)[None], 3, axis=0))
    np.testing.assert_array_equal(batch.bulk, [True, False, False, False])
    assert batch.neighbors.mask.sum() == sum(map(len, lists)) + atoms


@given(st.integers(1, 10**7))
def test_buckets_are_few_and_not_much_too_large(value):
    bucket = round_up(value)
    assert value <= bucket <= max(value * 4 / 3 + 1, 4)
    assert round_up(bucket) == bucket


def test_capacity_holds_what_it_was_asked_for():
    systems = [random_crystal(np.random.default_rng(seed)) for seed in range(3)]
    lists = [find_edges(s, 3.0) for s in systems]
    assert pack(systems, lists, capacity_for(systems, lists)).n_systems == 3
