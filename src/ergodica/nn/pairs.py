"""Sums over neighbours in the dense layout, closed under differentiation without a single scatter.

With `reverse` at hand (see `ergodica.system.Neighbors`), the transpose of "read the sender" is "read the opposite edge
and sum the row". Seven operations are enough for message passing, and each one's derivatives are again among them:

    spread(x)[i,k]        = x[i]
    gather(x)[i,k]        = x[j]
    swap(w)[i,k]          = w on the opposite edge
    slot_sum(w)[i]        = sum_k w[i,k]
    collect(w)[j]         = sum of w over the edges that j sends, which is slot_sum(swap(w))
    pair_sum(V, w)[i,s]   = sum_k V[j,s] w[i,k]
    pair_dot(a, b)[i,k]   = sum_s a[i,s] b[j,s]

where j = index[i, k]. Slots without an edge read as zero. The [A, K, S, H] array of messages is never stored.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.system import Neighbors

__all__ = ["collect", "gather", "pair_dot", "pair_sum", "row_sum", "slot_sum", "spread", "swap"]


def _masked(values: Array, neighbors: Neighbors) -> Array:
    return jnp.where(neighbors.mask.reshape(neighbors.mask.shape + (1,) * (values.ndim - 2)), values, 0)


def _rows(x: Array, index: Array) -> Array:
    """Rows of x; unsigned indices spare the test for negative ones."""
    flat = jnp.asarray(x).reshape(x.shape[0], -1)
    rows = flat.at[index.astype(jnp.uint32)].get(mode="promise_in_bounds")
    return rows.reshape(index.shape + x.shape[1:])


def _slot(x: Array, k: Array) -> Array:
    return jax.lax.dynamic_index_in_dim(x, k, axis=1, keepdims=False)


def _by_slot() -> bool:
    """Whether to loop over the K slots, as CPUs like it.

    XLA's CPU compiler fuses a gather with whatever made its operand and so computes that K times over, and sums along a
    middle axis number by number; the operands of a loop are made once, its sums run along the channels and stay in the
    cache. GPUs do better with one fused kernel.
    """
    return jax.default_backend() == "cpu"


@jax.custom_vjp
def swap(w: Float[Array, "A K ..."], neighbors: Neighbors) -> Float[Array, "A K ..."]:
    """The value on the opposite edge; its own inverse and its own transpose."""
    return _masked(_rows(w.reshape(-1, *w.shape[2:]), neighbors.reverse), neighbors)


@jax.custom_vjp
def gather(x: Float[Array, "A H"], neighbors: Neighbors) -> Float[Array, "A K H"]:
    """The sender's features on every edge."""
    return _masked(_rows(x, neighbors.index), neighbors)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def spread(x: Float[Array, "A H"], slots: int) -> Float[Array, "A K H"]:
    """The receiver's features on every edge."""
    return jnp.broadcast_to(x[:, None], (x.shape[0], slots, *x.shape[1:]))


def slot_sum(w: Float[Array, "A K H"]) -> Float[Array, "A H"]:
    """Sum over the edges of each receiver."""
    return _slot_sum(w, w.shape[1])


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _slot_sum(w: Array, slots: int) -> Array:
    if not _by_slot():
        return w.sum(axis=1)
    start = jnp.zeros((w.shape[0], *w.shape[2:]), w.dtype)
    return jax.lax.fori_loop(0, slots, lambda k, total: total + _slot(w, k), start)


def row_sum(w: Float[Array, "A K"]) -> Float[Array, " A"]:
    """Sum over the edges of each receiver of one number an edge.

    As a product, for XLA's CPU compiler sums along the last axis number by number, and so computes what is summed.
    """
    if not _by_slot():
        return w.sum(axis=1)
    return jnp.dot(w, jnp.ones(w.shape[1], w.dtype), precision=jax.lax.Precision.HIGHEST)


@jax.custom_vjp
def collect(w: Float[Array, "A K H"], neighbors: Neighbors) -> Float[Array, "A H"]:
    """Sum over the edges of each sender."""
    if not _by_slot():
        return swap(w, neighbors).sum(axis=1)
    flat = w.reshape(-1, *w.shape[2:])

    def add(k: Array, total: Array) -> Array:
        rows = _rows(flat, _slot(neighbors.reverse, k))
        return total + jnp.where(_slot(neighbors.mask, k)[:, None], rows, 0)

    return jax.lax.fori_loop(0, w.shape[1], add, jnp.zeros((w.shape[0], *w.shape[2:]), w.dtype))


@jax.custom_vjp
def pair_sum(v: Float[Array, "A S H"], w: Float[Array, "A K H"], neighbors: Neighbors) -> Float[Array, "A S H"]:
    """Sum over the neighbours j of v_j, weighted channel by channel with w on the edge."""
    weights = _masked(w, neighbors)
    if not _by_slot():
        return jnp.sum(_rows(v, neighbors.index) * weights[:, :, None, :], axis=1)

    def add(k: Array, total: Array) -> Array:
        return total + _rows(v, _slot(neighbors.index, k)) * _slot(weights, k)[:, None]

    return jax.lax.fori_loop(0, w.shape[1], add, jnp.zeros_like(v))


@jax.custom_vjp
def pair_dot(a: Float[Array, "A S H"], b: Float[Array, "A S H"], neighbors: Neighbors) -> Float[Array, "A K H"]:
    """Scalar product over S of the receiver's a with the sender's b, channel by channel."""
    if not _by_slot():
        return _masked(jnp.sum(a[:, None] * _rows(b, neighbors.index), axis=2), neighbors)

    def put(k: Array, dots: Array) -> Array:
        dot = jnp.sum(a * _rows(b, _slot(neighbors.index, k)), axis=1)
        return jax.lax.dynamic_update_index_in_dim(dots, dot, k, axis=1)

    empty = jnp.zeros(neighbors.index.shape + a.shape[2:], a.dtype)
    return _masked(jax.lax.fori_loop(0, neighbors.index.shape[1], put, empty), neighbors)


def _pair_sum_bwd(residuals: tuple[Array, Array, Neighbors], g: Array) -> tuple[Array, Array, None]:
    v, w, neighbors = residuals
    return pair_sum(g, swap(w, neighbors), neighbors), pair_dot(g, v, neighbors), None


def _pair_dot_bwd(residuals: tuple[Array, Array, Neighbors], g: Array) -> tuple[Array, Array, None]:
    a, b, neighbors = residuals
    return pair_sum(b, g, neighbors), pair_sum(a, swap(g, neighbors), neighbors), None


swap.defvjp(lambda w, n: (swap(w, n), n), lambda n, g: (swap(g, n), None))
spread.defvjp(lambda x, k: (spread(x, k), None), lambda k, _, g: (slot_sum(g),))
_slot_sum.defvjp(lambda w, k: (_slot_sum(w, k), None), lambda k, _, g: (spread(g, k),))
gather.defvjp(lambda x, n: (gather(x, n), n), lambda n, g: (collect(g, n), None))
collect.defvjp(lambda w, n: (collect(w, n), n), lambda n, g: (gather(g, n), None))
pair_sum.defvjp(lambda v, w, n: (pair_sum(v, w, n), (v, w, n)), _pair_sum_bwd)
pair_dot.defvjp(lambda a, b, n: (pair_dot(a, b, n), (a, b, n)), _pair_dot_bwd)
