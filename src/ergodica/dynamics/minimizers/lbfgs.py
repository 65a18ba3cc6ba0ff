"""L-BFGS without a line search, each structure with a history and a trust radius of its own.

The direction is that of two loops over the last pairs of steps and changes of the gradient (Nocedal & Wright, Numerical
Optimization, 2nd ed., algorithm 7.4). A step is at most as long as the trust radius. One that leads uphill is taken
back; its pair stays, as it tells of the curvature, and the radius becomes shorter. A pair without positive curvature is
not kept (ibid., section 18.3: damped or skipped), so that the direction always leads downhill.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ergodica.dynamics.minimizers.rows import LONGEST_STEP, Point, dot, longest, pick

__all__ = ["Memory", "init", "step"]

HISTORY = 16
"""Pairs that are remembered."""
CURVATURE = 70.0
"""Of a bond that was never stretched, eV/Å²: the first step is a careful one."""
FLATTEST = 1e-3
"""A pair is kept when the gradient changed along the step by this share of its whole change."""
SHRINK, GROW = 0.3, 1.5
"""Of the trust radius, after a step that led uphill and after a good one."""


class Memory(NamedTuple):
    """What L-BFGS remembers.

    Attributes:
        x, gradient, energy: where the last good step led [R, 3], [R, 3], [B].
        steps: differences of coordinates, the newest last [R, M, 3].
        changes: differences of gradients [R, M, 3].
        inverse: 1 / (step · change) of each pair, 0 where there is none [B, M].
        radius: trust radius, Å [B]; 0 before the first step.
    """

    x: Float[Array, "R 3"]
    gradient: Float[Array, "R 3"]
    energy: Float[Array, " B"]
    steps: Float[Array, "R M 3"]
    changes: Float[Array, "R M 3"]
    inverse: Float[Array, "B M"]
    radius: Float[Array, " B"]


def init(rows: int, structures: int, dtype: Any) -> Memory:
    """Of structures that have not begun."""
    row, pairs, one = np.zeros((rows, 3), dtype), np.zeros((rows, HISTORY, 3), dtype), np.zeros(structures, dtype)
    return Memory(row, row, one, pairs, pairs, np.zeros((structures, HISTORY), dtype), one)  # type: ignore[arg-type]


def step(point: Point, memory: Memory) -> tuple[Float[Array, "R 3"], Memory]:
    """One step from the point, or from the last good one where this one is worse."""
    owner = point.owner
    fresh = memory.radius == 0
    moved, change = point.x - memory.x, point.gradient - memory.gradient
    good = fresh | ~_uphill(point, memory, moved)
    curvature = dot(moved, change, point)
    kept = ~fresh & (curvature > FLATTEST * jnp.sqrt(dot(moved, moved, point) * dot(change, change, point)))
    memory = _remember(memory, moved, change, curvature, kept, point)
    length = longest(moved, point)
    radius = jnp.where(good, jnp.minimum(GROW * memory.radius, LONGEST_STEP), SHRINK * length)
    radius = jnp.where(fresh, LONGEST_STEP, radius)
    here = (point.x, point.gradient, point.energy)
    x, gradient, energy = pick(good, owner, here, (memory.x, memory.gradient, memory.energy))
    move = -_along(gradient, memory, point)
    fitting = radius / jnp.maximum(longest(move, point), radius)
    memory = memory._replace(x=x, gradient=gradient, energy=energy, radius=radius)
    return x + fitting[owner, None] * move, memory


def _uphill(point: Point, memory: Memory, moved: Float[Array, "R 3"]) -> Bool[Array, " B"]:
    """Whether the energy rose by more than its rounding and goes on rising."""
    noise = 8 * jnp.finfo(point.energy.dtype).eps * jnp.abs(point.energy)
    return (point.energy > memory.energy + noise) & (dot(point.gradient, moved, point) > 0)


def _remember(
    memory: Memory, moved: Array, change: Array, curvature: Array, kept: Bool[Array, " B"], point: Point
) -> Memory:
    """The memory with one more pair where it is to be kept, the oldest forgotten."""
    inverse = 1.0 / jnp.where(kept, curvature, 1.0)
    old = (memory.steps, memory.changes, memory.inverse)
    newest = (moved[:, None], change[:, None], inverse[:, None])
    new = tuple(jnp.concatenate([a[:, 1:], b], axis=1) for a, b in zip(old, newest, strict=True))
    steps, changes, inverse = pick(kept, point.owner, new, old)
    return memory._replace(steps=steps, changes=changes, inverse=inverse)


def _along(gradient: Float[Array, "R 3"], memory: Memory, point: Point) -> Float[Array, "R 3"]:
    """Inverse Hessian times gradient; pairs that are missing change nothing."""
    owner = point.owner

    def first(k: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        q, weights = carry
        place = HISTORY - 1 - k
        weight = memory.inverse[:, place] * dot(memory.steps[:, place], q, point)
        return q - weight[owner, None] * memory.changes[:, place], weights.at[:, place].set(weight)

    def second(k: Array, q: Array) -> Array:
        weight = weights[:, k] - memory.inverse[:, k] * dot(memory.changes[:, k], q, point)
        return q + weight[owner, None] * memory.steps[:, k]

    q, weights = jax.lax.fori_loop(0, HISTORY, first, (gradient, jnp.zeros_like(memory.inverse)))
    newest = memory.changes[:, -1]
    stiffness = memory.inverse[:, -1] * dot(newest, newest, point)
    q = q / jnp.where(stiffness > 0, stiffness, CURVATURE)[owner, None]
    return jax.lax.fori_loop(0, HISTORY, second, q)
