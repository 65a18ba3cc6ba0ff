"""Natural coordinates: the root of the overlap and its derivative, also where eigenvalues coincide; fragments."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.dft.gaussians import integrals
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.natural import (
    Fragments,
    Natural,
    RootOptions,
    cauchy_factors,
    find_fragments,
    from_natural,
    make_natural,
    nuclear_slope,
    to_natural,
)
from ergodica.dft.start import atomic_start
from ergodica.units import BOHR

pytestmark = pytest.mark.usefixtures("x64")
MOVE = np.random.default_rng(0).normal(size=(5, 5))
MOVE = MOVE + MOVE.T
WHOLE = (Fragments(jnp.arange(5)[None], jnp.arange(5)[None]),)
P = np.random.default_rng(2).normal(size=5)


@pytest.mark.parametrize("values", [[0.1, 0.5, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 2.0, 2.0]])
def test_roots_and_their_slopes(values: list[float]) -> None:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    matrix, move = jnp.asarray((turn * values) @ turn.T), jnp.asarray(MOVE)
    natural = make_natural(matrix, WHOLE)
    np.testing.assert_allclose(natural[0].rows[0] @ natural[0].rows[0], matrix, atol=1e-13)
    np.testing.assert_allclose(from_natural(natural, to_natural(natural, matrix, jnp.asarray(P))), P, atol=1e-12)

    def at(shift: float) -> jax.Array:
        return natural_of(matrix + shift * move, jnp.asarray(P))

    step = 1e-5
    slope = jax.jvp(at, (0.0,), (1.0,))[1]
    np.testing.assert_allclose(slope, (at(step) - at(-step)) / (2 * step), atol=1e-7)
    back = jax.grad(lambda shift: jnp.sum(at(shift) ** 3))(0.0)
    assert float(back) == pytest.approx(float(jnp.sum(3 * at(0.0) ** 2 * slope)), rel=1e-9)
    by_p = jax.grad(lambda p: jnp.sum(natural_of(matrix, p)[0]))(jnp.asarray(P))
    np.testing.assert_allclose(by_p, natural[0].rows[0, 0], atol=1e-13)


def natural_of(matrix: jax.Array, p: jax.Array) -> jax.Array:
    """S^(1/2) p."""
    return to_natural(make_natural(matrix, WHOLE), matrix, p)


CHAIN = DensityBasis((1,) * 8)
"""Atoms of hydrogen in a row, 1.2 Å apart, a little out of line."""
PLACES = 2.27 * np.arange(8)[:, None] * [1.0, 0.0, 0.0] + 0.2 * np.random.default_rng(3).normal(size=(8, 3))


@pytest.mark.parametrize(("reach", "error"), [(1.5, 1e-2), (3.0, 1e-3), (20.0, 1e-5)])
def test_fragments_come_near_the_root_of_the_whole(reach: float, error: float) -> None:
    overlap = integrals.overlap(CHAIN, jnp.asarray(PLACES))
    p = jnp.asarray(atomic_start(CHAIN, 8.0))
    exact, near = (_roots(overlap, options) for options in (RootOptions(), RootOptions(0, reach)))
    assert len(exact[0].rows) == 1 and sum(len(part.rows) for part in near) == 8
    difference = to_natural(near, overlap, p) - to_natural(exact, overlap, p)
    assert float(jnp.abs(difference).max()) < error


def test_coordinates_of_fragments_are_differentiable() -> None:
    p, along = jnp.asarray(atomic_start(CHAIN, 8.0)), np.random.default_rng(4).normal(size=PLACES.shape)
    options = RootOptions(0, 3.0)

    def at(shift: float | jax.Array) -> jax.Array:
        overlap = integrals.overlap(CHAIN, jnp.asarray(PLACES) + shift * along)
        return to_natural(make_natural(overlap, find_fragments(CHAIN, PLACES, options)), overlap, p)

    step = 1e-4
    _, slope = jax.jvp(at, (0.0,), (1.0,))
    np.testing.assert_allclose(slope, (at(step) - at(-step)) / (2 * step), atol=1e-6)


@pytest.mark.parametrize(("span", "error"), [(1e2, 1e-13), (1e3, 2e-12)])
def test_factors_of_the_denominators_reach_rounding(span: float, error: float) -> None:
    values = jnp.asarray(span ** np.random.default_rng(5).uniform(-1, 0, size=700))
    factors = np.asarray(cauchy_factors(values))
    exact = 1 / (values[:, None] + values)
    assert factors.shape[1] < 40
    np.testing.assert_allclose(factors @ factors.T, exact, rtol=error)


def test_each_function_belongs_to_one_group() -> None:
    waters = DensityBasis((8, 1, 1) * 3)
    places = np.concatenate([np.array([[0, 0, 0], [1.8, 0, 0], [-0.5, 1.7, 0]]) + 9.0 * k for k in range(3)])
    found = find_fragments(waters, places, RootOptions(0, 2.0))
    own = np.concatenate([np.asarray(part.own).ravel() for part in found])
    np.testing.assert_array_equal(np.sort(own), np.arange(waters.size))
    for part in found:  # far apart: nothing but the own molecule
        near = np.asarray(part.near)[0]
        np.testing.assert_array_equal(near[near < waters.size], np.asarray(part.own)[0])


@pytest.mark.parametrize(("element", "spacing", "seen"), [(6, 1.5, {0, 1, 2, 3}), (8, 2.8, {0, 1})])
def test_fragments_of_bonded_groups_reach_farther(element: int, spacing: float, seen: set[int]) -> None:
    """5 Å along a chain of bonds, 3.5 Å among molecules; tight functions are taken from 0.63 of that."""
    line = DensityBasis((element,) * 5)
    places = np.zeros((5, 3))
    places[:, 0] = spacing * np.arange(5) / BOHR
    for part in find_fragments(line, places, RootOptions(exact=0)):
        for own, padded in zip(np.asarray(part.own), np.asarray(part.near), strict=True):
            if line.atom[own[0]] == 0:
                near = padded[padded < line.size]
                assert set(line.atom[near].tolist()) == seen
                tight = near[line.shells.exponents[line.shell[near]] > 5.0]
                assert set(line.atom[tight].tolist()) == {
                    k for k in seen if k * spacing < 0.63 * (5, 3.5)[element == 8]
                }


def _roots(overlap: jax.Array, options: RootOptions) -> Natural:
    return make_natural(overlap, find_fragments(CHAIN, PLACES, options))


def test_slopes_by_all_nuclei_are_those_of_the_coordinates() -> None:
    basis, places = DensityBasis((8, 1, 1)), jnp.asarray([[0.0, 0.0, 0.2], [0.0, 1.5, -0.9], [0.3, -1.4, -0.8]])
    p = jnp.asarray(np.random.default_rng(5).normal(size=basis.size))
    natural = make_natural(integrals.overlap(basis, places), find_fragments(basis))
    along = np.random.default_rng(6).normal(size=(3, 3))
    _, expected = jax.jvp(lambda at: to_natural(natural, integrals.overlap(basis, at), p), (places,), (along,))
    found = nuclear_slope(natural[0], integrals.overlap_slope(basis, places), basis.atom, p)
    np.testing.assert_allclose(np.einsum("fni,ni->f", found, along), expected, atol=1e-11)
