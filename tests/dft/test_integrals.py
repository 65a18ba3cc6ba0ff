"""Integrals against libcint's, their derivatives against finite differences, and what must hold exactly."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ergodica.dft.gaussians import integrals
from ergodica.dft.gaussians.basis import EXPONENTS, DensityBasis
from ergodica.dft.gaussians.boys import FAR, boys
from ergodica.dft.gaussians.solid_harmonics import gradients, solid_harmonics
from ergodica.errors import InputError

pytestmark = pytest.mark.usefixtures("x64")
STRIDE = 7
FUNCTIONS = {
    name: jax.jit(getattr(integrals, name), static_argnums=0)
    for name in ("coulomb", "dipoles", "external", "overlap", "quadrupoles")
}


@pytest.mark.parametrize("molecule", ["hco", "hcl"])
def test_equal_to_libcint(golden: dict[str, np.ndarray], molecule: str) -> None:
    reference = {key.partition("/")[2]: value for key, value in golden.items() if key.startswith(molecule + "/")}
    basis = DensityBasis.of(reference["numbers"])
    found = {name: np.asarray(function(basis, reference["positions"])) for name, function in FUNCTIONS.items()}
    found["charges"] = integrals.charges(basis)
    for name, value in found.items():
        columns = value[:, ::STRIDE] if name in ("overlap", "coulomb") else value
        np.testing.assert_allclose(columns, reference[name], rtol=0, atol=1e-10, err_msg=name)
        if value.shape == (basis.size, basis.size):
            np.testing.assert_allclose(value, value.T, rtol=0, atol=1e-12, err_msg=name)


def probe(basis: DensityBasis) -> jax.stages.Wrapped:
    """One number that all integrals of two and one centres enter, as a function of the nuclei."""
    vector = jnp.asarray(np.random.default_rng(3).normal(size=basis.size) / basis.size)

    def value(positions: jax.Array) -> jax.Array:
        matrix = integrals.overlap(basis, positions) + integrals.coulomb(basis, positions)
        linear = integrals.external(basis, positions) + jnp.sum(integrals.quadrupoles(basis, positions), axis=(1, 2))
        return vector @ matrix @ vector + linear @ vector + integrals.nuclear_repulsion(basis, positions)

    return value


START, ALONG = np.random.default_rng(1).normal(size=(2, 2, 3))
STEP = 1e-4


def test_derivatives_are_those_of_finite_differences() -> None:
    value = probe(DensityBasis((1, 6)))
    slopes = jax.jit(jax.value_and_grad(lambda s: value(START + s * ALONG)))
    (up, _), (_, slope), (down, _) = (np.array(slopes(s)) for s in (STEP, 0.0, -STEP))
    assert slope == pytest.approx((up - down) / (2 * STEP), abs=1e-6)
    assert abs(slope) > 0.1


def test_rows_made_block_by_block_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    basis, positions = DensityBasis((1, 6, 1)), jnp.asarray(np.random.default_rng(1).normal(size=(3, 3)))
    vector = jnp.asarray(np.random.default_rng(3).normal(size=basis.size))

    def both(places: jax.Array) -> tuple[jax.Array, jax.Array]:
        matrix = integrals.overlap(basis, places) + integrals.coulomb(basis, places)
        return vector @ matrix @ vector, matrix

    def found() -> tuple[np.ndarray, np.ndarray]:
        slope, matrix = jax.jit(jax.grad(both, has_aux=True))(positions)
        return np.array(slope), np.array(matrix)

    whole = found()
    monkeypatch.setattr(integrals, "WHOLE", 50)
    monkeypatch.setattr(integrals, "BLOCK", 80)
    for one, other in zip(whole, found(), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_second_derivatives_are_those_of_finite_differences() -> None:
    basis = DensityBasis((1, 6))
    repulsion = lambda s: jnp.sum(integrals.coulomb(basis, START + s * ALONG) ** 2)  # noqa: E731
    bends = jax.jit(jax.value_and_grad(jax.grad(repulsion)))
    (up, _), (_, bend), (down, _) = (np.array(bends(s)) for s in (STEP, 0.0, -STEP))
    assert bend == pytest.approx((up - down) / (2 * STEP), rel=1e-6)
    assert abs(bend) > 0.1


def test_derivatives_are_finite_on_one_centre_and_far_apart() -> None:
    basis, axis = DensityBasis((1, 1)), jnp.asarray([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    slope = jax.jit(jax.grad(lambda z: jnp.sum(integrals.external(basis, z * axis))))
    assert np.isfinite([slope(distance) for distance in (0.0, 1e-9, 60.0)]).all()


def test_far_apart_charges_repel_like_points() -> None:
    basis = DensityBasis((1, 1))
    matrix = FUNCTIONS["coulomb"](basis, jnp.asarray([[0.0, 0.0, 0.0], [0.0, 30.0, 40.0]]))
    charges = integrals.charges(basis)
    widest = int(np.argmax(charges))
    assert matrix[widest, widest + basis.size // 2] == pytest.approx(charges[widest] ** 2 / 50, rel=1e-12)


@given(shift=st.tuples(*[st.floats(-20, 20)] * 3))
def test_a_shifted_molecule_has_the_same_matrices(shift: tuple[float, float, float]) -> None:
    basis = DensityBasis((1, 1))
    positions = jnp.asarray([[0.0, 0.3, 0.1], [1.1, -0.5, 0.4]])
    for name in ("overlap", "coulomb", "external"):
        here, there = (FUNCTIONS[name](basis, place) for place in (positions, positions + jnp.asarray(shift)))
        np.testing.assert_allclose(here, there, rtol=0, atol=1e-11)


def test_the_basis_is_normalised_and_complete() -> None:
    basis = DensityBasis((1, 2, 6, 7, 17))
    assert [DensityBasis((z,)).size for z in (1, 2, 6, 7, 17)] == [20, 20, 109, 116, 155]
    assert basis.size == 420
    assert np.diag(FUNCTIONS["overlap"](DensityBasis((1, 6, 1)), jnp.eye(3))) == pytest.approx(1.0, abs=1e-13)


def test_an_element_without_a_basis_is_refused() -> None:
    with pytest.raises(InputError, match="no density basis for Fe"):
        DensityBasis((1, 26))


def test_exponents_are_those_of_the_generator() -> None:
    gto, df = pytest.importorskip("pyscf.gto"), pytest.importorskip("pyscf.df")
    for symbol, frozen in json.loads(EXPONENTS.read_text())["elements"].items():
        atom = gto.M(atom=f"{symbol} 0 0 0", basis="6-31g(2df,p)", spin=None, verbose=0)
        made = np.array([(shell[0], shell[1][0]) for shell in df.aug_etb(atom, beta=2.5)[symbol]])
        here = np.array([(degree, exponent) for degree, part in enumerate(frozen) for exponent in part])
        np.testing.assert_allclose(here, made[np.lexsort((-made[:, 1], made[:, 0]))], rtol=1e-14)


@pytest.mark.parametrize("order", [0, 3, 10])
def test_boys_function(order: int) -> None:
    x = np.concatenate([[0.0, 1e-8], np.linspace(0.01, FAR + 30, 217)])
    nodes, weights = np.polynomial.legendre.leggauss(80)
    t = 0.5 * (nodes + 1)
    exact = 0.5 * np.sum(weights * t ** (2 * order) * np.exp(-x[:, None] * t**2), axis=-1)
    np.testing.assert_allclose(boys(int(np.max(order)), np.array(order), jnp.asarray(x)), exact, rtol=1e-12, atol=1e-16)


def test_harmonics_are_orthonormal_harmonic_and_their_gradients_tabulated() -> None:
    point, along = np.random.default_rng(0).normal(size=(2, 3))
    _, tangents = jax.jit(lambda r, v: jax.jvp(lambda r: solid_harmonics(r, 4), (r,), (v,)))(point, along)
    values = solid_harmonics(jnp.asarray(point), 4)
    for degree in range(1, 5):
        table = gradients(degree)
        slope = np.einsum("i,imn,n->m", along, table, values[degree - 1])
        np.testing.assert_allclose(slope, tangents[degree], rtol=0, atol=1e-11)
        if degree > 1:
            np.testing.assert_allclose(np.einsum("imn,inp->mp", table, gradients(degree - 1)), 0.0, atol=1e-11)
    # Unsöld's theorem
    assert [float(jnp.sum(value**2)) * 4 * np.pi for value in values] == pytest.approx(
        [(2 * degree + 1) * (point @ point) ** degree for degree in range(5)]
    )
