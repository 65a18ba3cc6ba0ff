"""Less memory for a little arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

__all__ = ["recomputed"]


def recomputed(function: Callable[..., Any], when: bool = True) -> Callable[..., Any]:
    """`function(arrays, rest)` that keeps its floating-point `arrays` for the backward pass and nothing in between.

    What `jax.checkpoint` is for; but XLA's CPU compiler drops the barriers of that before it merges equal expressions,
    so that the first computation is kept after all. Here the second one is told apart by a zero that comes with the
    gradient. It pays where `function` is cheap next to the memory it goes through: between two matrix products.

    Args:
        function: of a pytree of arrays, and of anything that is not differentiated. It must not close over tracers.
        when: False gives the function back as it is.
    """
    if not when:
        return function

    @jax.custom_vjp
    def call(arrays: Any, rest: Any) -> Any:
        return function(arrays, rest)

    def forward(arrays: Any, rest: Any) -> tuple[Any, Any]:
        return call(arrays, rest), (arrays, rest)

    def backward(saved: Any, gradient: Any) -> tuple[Any, None]:
        arrays, rest = saved
        some = jax.tree.leaves(gradient)[0]
        zero = jax.lax.stop_gradient(0 * some[(0,) * some.ndim])
        again = jax.tree.map(lambda array: array + zero.astype(array.dtype), arrays)
        return *jax.vjp(lambda arrays: function(arrays, rest), again)[1](gradient), None

    call.defvjp(forward, backward)
    return call
