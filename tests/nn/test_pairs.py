"""Sums over neighbours against plain loops, their derivatives, and the promise that none of them scatters."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.test_util import check_grads

from ergodica.neighbors import Edges, dense_neighbors, find_edges, pack
from ergodica.nn import pairs as pairs_module
from ergodica.nn.pairs import collect, gather, pair_dot, pair_sum, slot_sum, spread, swap
from ergodica.potentials.potential import derivatives
from ergodica.system import Neighbors
from tests.helpers.small import random_crystal, small_potential

pytestmark = pytest.mark.usefixtures("x64")

ATOMS, WIDTH, CHANNELS, COMPONENTS = 4, 6, 2, 3


def random_graph(rng: np.random.Generator) -> tuple[Edges, Neighbors]:
    """A directed graph that holds every edge together with its opposite, and loops in slot 0."""
    pairs = [(i, j) for i in range(ATOMS) for j in range(i) if rng.random() < 0.6]
    directed = sorted((*pair, row) for row, (i, j) in enumerate(pairs) for pair in ((i, j), (j, i)))
    receivers, senders, rows = (np.array([edge[k] for edge in directed], np.int64) for k in range(3))
    reverse = np.array(
        [k for e in range(len(rows)) for k in range(len(rows)) if rows[k] == rows[e] and k != e], np.int64
    )
    edges = Edges(receivers, senders, np.zeros((len(rows), 3), np.int64), reverse)
    return edges, dense_neighbors(edges, ATOMS, WIDTH)


def slots(neighbors: Neighbors) -> list[tuple[int, int, int, int, int]]:
    """(i, k, j, row and column of the opposite edge) of every filled slot, found without `reverse`."""
    filled = [(i, k, int(neighbors.index[i, k])) for i in range(ATOMS) for k in range(WIDTH) if neighbors.mask[i, k]]
    back = {(i, j): k for i, k, j in filled}  # no two edges of these graphs join the same atoms
    return [(i, k, j, j, back[j, i]) for i, k, j in filled]


def arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Features of atoms, vectors of atoms (two sets) and weights of edges."""
    return {
        "x": rng.normal(size=(ATOMS, CHANNELS)),
        "a": rng.normal(size=(ATOMS, COMPONENTS, CHANNELS)),
        "b": rng.normal(size=(ATOMS, COMPONENTS, CHANNELS)),
        "w": rng.normal(size=(ATOMS, WIDTH, CHANNELS)),
    }


@pytest.fixture(params=[True, False], ids=["loops over slots", "one kernel"], scope="module")
def layout(request) -> Iterator[None]:
    """The way of CPUs and the way of GPUs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs_module, "_by_slot", lambda: request.param)
        yield


@pytest.mark.usefixtures("layout")
@given(st.integers(0, 10_000))
def test_operations_equal_plain_loops(seed):
    rng = np.random.default_rng(seed)
    _, neighbors = random_graph(rng)
    values = arrays(rng)
    expected = {
        "gather": np.zeros((ATOMS, WIDTH, CHANNELS)),
        "swap": np.zeros((ATOMS, WIDTH, CHANNELS)),
        "collect": np.zeros((ATOMS, CHANNELS)),
        "spread": values["x"][:, None] + np.zeros((ATOMS, WIDTH, CHANNELS)),
        "slot_sum": values["w"].sum(axis=1),
        "pair_sum": np.zeros((ATOMS, COMPONENTS, CHANNELS)),
        "pair_dot": np.zeros((ATOMS, WIDTH, CHANNELS)),
    }
    for i, k, j, row, column in slots(neighbors):
        expected["gather"][i, k] = values["x"][j]
        expected["swap"][i, k] = values["w"][row, column]
        expected["collect"][j] += values["w"][i, k]
        expected["pair_sum"][i] += values["a"][j] * values["w"][i, k]
        expected["pair_dot"][i, k] = (values["a"][i] * values["b"][j]).sum(axis=0)
    found = {
        "gather": gather(values["x"], neighbors),
        "swap": swap(values["w"], neighbors),
        "collect": collect(values["w"], neighbors),
        "spread": spread(values["x"], WIDTH),
        "slot_sum": slot_sum(values["w"]),
        "pair_sum": pair_sum(values["a"], values["w"], neighbors),
        "pair_dot": pair_dot(values["a"], values["b"], neighbors),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(np.asarray(found[name]), value, rtol=0, atol=1e-13, err_msg=name)


OPERATIONS = {
    "gather": (gather, ("x",)),
    "swap": (swap, ("w",)),
    "collect": (collect, ("w",)),
    "spread": (lambda x, _: spread(x, WIDTH), ("x",)),
    "slot_sum": (lambda w, _: slot_sum(w), ("w",)),
    "pair_sum": (pair_sum, ("a", "w")),
    "pair_dot": (pair_dot, ("a", "b")),
}


@pytest.mark.usefixtures("layout")
@pytest.mark.parametrize("name", OPERATIONS)
def test_first_and_second_derivatives(name):
    rng = np.random.default_rng(7)
    _, neighbors = random_graph(rng)
    values = arrays(rng)
    operation, arguments = OPERATIONS[name]
    # sin makes the second derivative more than that of a bilinear form
    check_grads(
        lambda *args: jax.numpy.sin(operation(*args, neighbors)),
        tuple(values[key] for key in arguments),
        order=2,
        modes=["rev"],
        atol=1e-5,
        rtol=1e-5,
    )


def test_swap_is_its_own_inverse_and_transpose():
    rng = np.random.default_rng(3)
    _, neighbors = random_graph(rng)
    u, w = (np.where(neighbors.mask[..., None], arrays(rng)["w"], 0.0) for _ in range(2))
    np.testing.assert_array_equal(np.asarray(swap(swap(w, neighbors), neighbors)), w)
    np.testing.assert_allclose(float((swap(w, neighbors) * u).sum()), float((swap(u, neighbors) * w).sum()), rtol=1e-13)


def primitives(jaxpr, found: dict[str, list[tuple[int, ...]]] | None = None) -> dict[str, list[tuple[int, ...]]]:
    """Shapes of the results of every primitive of a jaxpr, inner jaxprs included."""
    found = {} if found is None else found
    for equation in jaxpr.eqns:
        found.setdefault(equation.primitive.name, []).extend(v.aval.shape for v in equation.outvars)
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda p: hasattr(p, "eqns") or hasattr(p, "jaxpr")
        ):
            if hasattr(inner, "eqns") or hasattr(inner, "jaxpr"):
                primitives(getattr(inner, "jaxpr", inner), found)
    return found


@pytest.mark.parametrize(("lmax", "vertex"), [pytest.param(1, "edge", marks=pytest.mark.slow), (2, "node")])
def test_forces_and_their_training_gradient_scatter_per_system_or_element_only(lmax, vertex):
    potential = small_potential(lmax=lmax, vertex=vertex)
    systems = [random_crystal(np.random.default_rng(seed)) for seed in (0, 1)]
    batch = pack(systems, [find_edges(s, potential.cutoff) for s in systems])
    atoms = len(batch.numbers)

    def loss(params):
        return (derivatives(potential.config, params, batch).forces ** 2).sum()

    forces = primitives(jax.make_jaxpr(lambda p: derivatives(potential.config, p, batch))(potential.params).jaxpr)
    scatters = [shape for name, shapes in forces.items() if name.startswith("scatter") for shape in shapes]
    assert scatters == [(2, 3, 3)]  # the virial of each structure, summed over its atoms
    assert len(forces["gather"]) > 10  # so the walk through the jaxpr did see the network

    training = primitives(jax.make_jaxpr(jax.grad(loss))(potential.params).jaxpr)
    scatters = [shape for name, shapes in training.items() if name.startswith("scatter") for shape in shapes]
    tables = {(potential.config.max_z, potential.config.hidden)}
    assert set(scatters) <= tables | {(2, 3, 3)}  # gradients of the element tables; no edge, no neighbour is scattered
    assert (atoms, potential.config.hidden) not in scatters
