"""Steps downhill: from what a potential says at a point to the next point, and the block of steps on the device.

A block ends before neighbours that are not in its lists could matter: the next coordinates are known but not yet
evaluated, so that the host lists neighbours there, and no step is ever taken back for the sake of a list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ergodica.dynamics.coordinates import Frame, place, slope
from ergodica.dynamics.minimizers.rows import Minimizer, Point, pick
from ergodica.dynamics.motion import beyond_skin
from ergodica.potentials.potential import Derivatives, ModelConfig, derivatives
from ergodica.system import Batch

__all__ = ["ASTRAY", "LENGTH", "MOVING", "RESTED", "SPENT", "STRESS_PER_FORCE", "Block", "Goal", "Walk", "make_descent",
           "told"]  # fmt: skip

RESTED, MOVING, SPENT, ASTRAY = range(4)
"""What may be said of a structure: at rest, under way, out of steps, or where the model gives no finite number."""
STRESS_PER_FORCE = 0.02
"""Largest component of the stress that is left when a cell counts as relaxed, in eV/Å³ per eV/Å of the largest force:
0.003 GPa for 1e-3 eV/Å, so that even the cells of soft molecular crystals are right to 0.1 %."""
LENGTH = 32
"""Most steps of a block."""


class Goal(NamedTuple):
    """Where to stop: largest force, eV/Å, and most steps."""

    fmax: Float[Array, ""]
    steps: Int[Array, ""]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Walk:
    """Structures on their way; rows as in `coordinates`.

    Attributes:
        x: where to evaluate next; where it was evaluated last, for a structure that has stopped [R, 3].
        last: where it was evaluated last with success [R, 3].
        energies: the model's output there [R], 0 for the cells' rows.
        pulls: its forces, and virials in the cells' rows [R, 3].
        force: largest force on a free atom there [B], eV/Å.
        steps: steps made [B].
        status: one of `RESTED`, `MOVING`, `SPENT`, `ASTRAY` [B].
        memory: of the minimiser.
    """

    x: Float[Array, "R 3"]
    last: Float[Array, "R 3"]
    energies: Float[Array, " R"]
    pulls: Float[Array, "R 3"]
    force: Float[Array, " B"]
    steps: Int[Array, " B"]
    status: Int[Array, " B"]
    memory: Any


class Block(NamedTuple):
    """What a block leaves behind.

    Attributes:
        walk: after its last step.
        positions: at `walk.x` [A, 3], Å.
        cell: at `walk.x` [B, 3, 3], Å.
        stale: structures whose neighbours must be listed anew [B].
        rest: positions and cells at `walk.last`.
    """

    walk: Walk
    positions: Float[Array, "A 3"]
    cell: Float[Array, "B 3 3"]
    stale: Bool[Array, " B"]
    rest: tuple[Float[Array, "A 3"], Float[Array, "B 3 3"]]


def told(minimizer: Minimizer, frame: Frame, walk: Walk, found: Derivatives, goal: Goal) -> Walk:
    """The walk after the potential has spoken at `walk.x`: one step on, or at a stop.

    Args:
        minimizer: how to step.
        frame: what does not change.
        walk: where the structures are.
        found: the model's output there, in its own units.
        goal: where to stop.
    """
    count, weight = len(walk.status), frame.weight
    energy = weight * jax.ops.segment_sum(found.energies, frame.system, count)
    here = slope(frame, walk.x, energy, weight[frame.system, None] * found.forces, weight[:, None, None] * found.virial)
    strength = jax.ops.segment_sum(jnp.sum(jnp.abs(here.gradient), axis=1), frame.owner, count)
    moving = walk.status == MOVING
    sound = jnp.isfinite(here.enthalpy + strength)
    rested = (here.force <= goal.fmax) & (here.stress <= STRESS_PER_FORCE * goal.fmax)
    status = jnp.where(rested, RESTED, jnp.where(walk.steps < goal.steps, MOVING, SPENT))
    status = jnp.where(moving, jnp.where(sound, status, ASTRAY), walk.status).astype(walk.status.dtype)
    fresh = replace(
        walk,
        last=walk.x,
        energies=jnp.pad(found.energies, (0, 3 * count)),
        pulls=jnp.concatenate([found.forces, found.virial.reshape(-1, 3)]),
        force=here.force,
    )
    walk = pick(moving & sound, frame.owner, fresh, walk)
    x, memory = minimizer.step(Point(walk.x, here.enthalpy, here.gradient, frame.owner), walk.memory)
    going = status == MOVING
    onward = replace(walk, x=x, memory=memory, steps=walk.steps + 1)
    walk = pick(going, frame.owner, onward, replace(walk, x=walk.last))
    return replace(walk, status=status)


def make_descent(config: ModelConfig, minimizer: Minimizer) -> Callable[..., Block]:
    """A function that makes up to `LENGTH` steps on the device.

    Args:
        config: architecture of the potential.
        minimizer: how to step.

    Returns:
        (params, batch, frame, walk, goal, skin) → `Block`. `batch` has the positions and cells at which its neighbours
        were listed, `skin` (Å) is how far beyond the cut-off.
    """

    def run(params: Any, batch: Batch, frame: Frame, walk: Walk, goal: Goal, skin: Array) -> Block:
        def at(walk: Walk) -> tuple[Walk, Array, Array, Array]:
            positions, cell = place(frame, walk.x)
            far = beyond_skin(batch, positions, cell, config.cutoff, skin) & (batch.numbers > 0)
            stale = jax.ops.segment_max(far.astype(jnp.int32), batch.system, batch.n_systems) > 0
            return walk, positions, cell, stale & (walk.status == MOVING)

        def go(carry: tuple[Any, Array]) -> tuple[Any, Array]:
            (walk, positions, cell, _), done = carry
            there = replace(batch, positions=positions, cell=cell)
            return at(told(minimizer, frame, walk, derivatives(config, params, there), goal)), done + 1

        def on(carry: tuple[Any, Array]) -> Bool[Array, ""]:
            (walk, _, _, stale), done = carry
            return (done < LENGTH) & jnp.any(walk.status == MOVING) & ~jnp.any(stale)

        walk, positions, cell, stale = jax.lax.while_loop(on, go, (at(walk), jnp.int32(0)))[0]
        return Block(walk, positions, cell, stale, place(frame, walk.last))

    return run
