"""FIRE 2.0: the fast inertial relaxation engine, each structure with a time step of its own.

Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), doi:10.1103/PhysRevLett.97.170201; Guénolé et al., Comput. Mater.
Sci. 175, 109584 (2020), doi:10.1016/j.commatsci.2020.109584, whose algorithm 2 with semi-implicit Euler this is. All
masses are one, so that times are in Å/√eV.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.dynamics.minimizers.rows import LONGEST_STEP, Point, dot, longest

__all__ = ["Memory", "init", "step"]

FIRST_TIME, SHORTEST, LONGEST = 0.1, 2e-3, 1.0
"""Time steps."""
PATIENCE = 5
"""Steps downhill before the time step grows; 20 in the paper, which thinks of thousands of steps."""
GROW, SHRINK = 1.1, 0.5
MIXING, CALMER = 0.25, 0.99
"""Share of the velocity that is turned along the force at first, and how it fades."""


class Memory(NamedTuple):
    """What FIRE remembers.

    Attributes:
        velocity: [R, 3].
        time: time step [B]; 0 before the first step.
        mixing: share of the velocity that is turned along the force [B].
        downhill: steps since it last went uphill [B].
    """

    velocity: Float[Array, "R 3"]
    time: Float[Array, " B"]
    mixing: Float[Array, " B"]
    downhill: Int[Array, " B"]


def init(rows: int, structures: int, dtype: Any) -> Memory:
    """Of structures that have not begun."""
    zeros = np.zeros(structures, dtype)
    return Memory(np.zeros((rows, 3), dtype), zeros, zeros, np.zeros(structures, np.int32))  # type: ignore[arg-type]


def step(point: Point, memory: Memory) -> tuple[Float[Array, "R 3"], Memory]:
    """One step; uphill, it first goes back by half a step and stops."""
    owner, force = point.owner, -point.gradient
    fresh = memory.time == 0
    down = dot(force, memory.velocity, point) > 0
    grown = down & (memory.downhill >= PATIENCE)
    time = jnp.where(grown, jnp.minimum(memory.time * GROW, LONGEST), memory.time)
    time = jnp.where(down, time, jnp.maximum(memory.time * SHRINK, SHORTEST))
    time = jnp.where(fresh, FIRST_TIME, time)
    mixing = jnp.where(grown, memory.mixing * CALMER, memory.mixing)
    mixing = jnp.where(down, mixing, MIXING)
    back = jnp.where(down | fresh, 0.0, 0.5 * time)
    x = point.x - back[owner, None] * memory.velocity
    velocity = jnp.where(down[owner, None], memory.velocity, 0.0) + time[owner, None] * force
    speed, strength = jnp.sqrt(dot(velocity, velocity, point)), jnp.sqrt(dot(force, force, point))
    turn = mixing * speed / jnp.where(strength > 0, strength, 1.0)
    velocity = (1 - mixing)[owner, None] * velocity + turn[owner, None] * force
    move = time[owner, None] * velocity
    fitting = LONGEST_STEP / jnp.maximum(longest(move, point), LONGEST_STEP)
    downhill = jnp.where(down, memory.downhill + 1, 0)
    return x + fitting[owner, None] * move, Memory(velocity, time, mixing, downhill)
