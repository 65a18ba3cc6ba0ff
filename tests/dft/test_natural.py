"""The symmetric root of the overlap and its derivative, also where eigenvalues coincide."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.dft.natural import symmetric_roots

pytestmark = pytest.mark.usefixtures("x64")
MOVE = np.random.default_rng(0).normal(size=(5, 5))
MOVE = MOVE + MOVE.T


@pytest.mark.parametrize("values", [[0.1, 0.5, 1.0, 2.0, 3.0], [1.0, 1.0, 1.0, 2.0, 2.0]])
def test_roots_and_their_slopes(values: list[float]) -> None:
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    matrix, move = jnp.asarray((turn * values) @ turn.T), jnp.asarray(MOVE)
    root, inverse = symmetric_roots(matrix)
    np.testing.assert_allclose(root @ root, matrix, atol=1e-13)
    np.testing.assert_allclose(root @ inverse, np.eye(5), atol=1e-12)
    _, slopes = jax.jvp(symmetric_roots, (matrix,), (move,))
    step = 1e-5
    ends = [symmetric_roots(matrix + sign * step * move) for sign in (1, -1)]
    for slope, up, down in zip(slopes, *ends, strict=True):
        np.testing.assert_allclose(slope, (up - down) / (2 * step), atol=1e-7)
    back = jax.grad(lambda s: jnp.sum(symmetric_roots(matrix + s * move)[0] ** 3))(0.0)
    assert float(back) == pytest.approx(float(jnp.sum(3 * root**2 * slopes[0])), rel=1e-9)
