"""A band of images between two ends: its tangents, what pulls it to the path of least energy, and steps on the device.

Nudged elastic band with the improved tangent (Henkelman & Jónsson, J. Chem. Phys. 113, 9978 (2000),
doi:10.1063/1.1323224) and a climbing image (Henkelman, Uberuaga & Jónsson, J. Chem. Phys. 113, 9901 (2000),
doi:10.1063/1.1329672). The images move by FIRE as one body, with one time step. Coordinates are never wrapped, so that
differences between images are plain ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ergodica.dynamics.descent import ASTRAY, LENGTH, MOVING, RESTED, SPENT, Goal
from ergodica.dynamics.minimizers import fire
from ergodica.dynamics.minimizers.rows import Point

__all__ = ["Ends", "Reply", "Walk", "descend", "pull", "start_walk", "tangents"]

CLIMB_BELOW = 0.3
"""The climbing image climbs once no force across the band is larger than this, eV/Å: before, it may not be on the slope
of the saddle that the path leads over."""


class Ends(NamedTuple):
    """What holds a band.

    Attributes:
        first, last: positions of the ends [N, 3], Å.
        energies: of the ends [2], eV.
        free: 0 where an atom is held [N].
        spring: constant of the springs, eV/Å².
        climb: whether an image is to climb.
    """

    first: Float[Array, "N 3"]
    last: Float[Array, "N 3"]
    energies: Float[Array, " 2"]
    free: Float[Array, " N"]
    spring: Float[Array, ""]
    climb: Bool[Array, ""]


class Reply(NamedTuple):
    """What a potential says of all images.

    Attributes:
        energies: [M], eV.
        forces: [M, N, 3], eV/Å.
        output: what else is to be kept of it.
    """

    energies: Float[Array, " M"]
    forces: Float[Array, "M N 3"]
    output: Any


Field = Callable[[Float[Array, "M N 3"]], Reply]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Walk:
    """A band on its way.

    Attributes:
        x: where to evaluate next; where it was evaluated last, once it has stopped [M, N, 3], Å.
        last: where it was evaluated last with success [M, N, 3], Å.
        output: the potential's there.
        residual: largest force on a free atom across the band, and along it for the climbing image [M], eV/Å.
        climbing: whether the highest image climbs.
        steps: steps made.
        status: one of `RESTED`, `MOVING`, `SPENT`, `ASTRAY`.
        memory: of FIRE.
    """

    x: Float[Array, "M N 3"]
    last: Float[Array, "M N 3"]
    output: Any
    residual: Float[Array, " M"]
    climbing: Bool[Array, ""]
    steps: Int[Array, ""]
    status: Int[Array, ""]
    memory: fire.Memory


def start_walk(x: Float[np.ndarray, "M N 3"], output: Any, dtype: Any) -> Walk:
    """A band that has not begun; `output` has the shapes of the potential's."""
    x = np.asarray(x, dtype)
    rows = x.shape[0] * x.shape[1]
    return Walk(
        x=x,  # type: ignore[arg-type]
        last=x,  # type: ignore[arg-type]
        output=output,
        residual=np.full(len(x), np.nan, dtype),  # type: ignore[arg-type]
        climbing=np.zeros((), bool),  # type: ignore[arg-type]
        steps=np.zeros((), np.int32),  # type: ignore[arg-type]
        status=np.full((), MOVING, np.int32),  # type: ignore[arg-type]
        memory=fire.init(rows, 1, dtype),
    )


def tangents(path: Float[Array, "P N 3"], energies: Float[Array, " P"]) -> Float[Array, "P-2 N 3"]:
    """Unit tangents at the images between the ends (Henkelman & Jónsson 2000, eqs. 8-11).

    They point to the higher of the two neighbours; at an extremum both count, weighted by the energies, so that the
    tangent does not jump where an image passes over it.
    """
    onward, arriving = path[2:] - path[1:-1], path[1:-1] - path[:-2]
    up, down = jnp.abs(energies[2:] - energies[1:-1]), jnp.abs(energies[1:-1] - energies[:-2])
    most, least = jnp.maximum(up, down), jnp.minimum(up, down)
    rises = (energies[2:] > energies[1:-1]) & (energies[1:-1] > energies[:-2])
    falls = (energies[2:] < energies[1:-1]) & (energies[1:-1] < energies[:-2])
    toward = energies[2:] > energies[:-2]
    flat = most == 0
    forth = jnp.where(rises | flat, 1.0, jnp.where(falls, 0.0, jnp.where(toward, most, least)))
    back = jnp.where(falls | flat, 1.0, jnp.where(rises, 0.0, jnp.where(toward, least, most)))
    tangent = forth[:, None, None] * onward + back[:, None, None] * arriving
    return tangent / _lengths(tangent)[:, None, None]


def _lengths(vectors: Float[Array, "M N 3"]) -> Float[Array, " M"]:
    squares = jnp.sum(vectors**2, axis=(1, 2))
    return jnp.sqrt(jnp.where(squares > 0, squares, 1.0))


def peaks(energies: Float[Array, " P"]) -> Bool[Array, " P-2"]:
    """Images between the ends that are higher than both of their neighbours."""
    return (energies[1:-1] > energies[:-2]) & (energies[1:-1] > energies[2:])


def pull(
    ends: Ends, x: Float[Array, "M N 3"], reply: Reply, climbing: Bool[Array, ""]
) -> tuple[Float[Array, "M N 3"], Float[Array, " M"]]:
    """Forces on the band, springs included, and the largest on an atom of each image, springs left out, eV/Å.

    The highest of those images climbs that are higher than both of their neighbours.
    """
    path = jnp.concatenate([ends.first[None], x, ends.last[None]])
    energies = jnp.concatenate([ends.energies[:1], reply.energies, ends.energies[1:]])
    tangent = tangents(path, energies)
    forces = ends.free[:, None] * reply.forces
    along = jnp.sum(forces * tangent, axis=(1, 2))
    gaps = _lengths(path[1:] - path[:-1])
    peak = peaks(energies)
    highest = jnp.arange(len(x)) == jnp.argmax(jnp.where(peak, reply.energies, -jnp.inf))
    top = climbing & highest & peak
    bare = forces - jnp.where(top, 2 * along, along)[:, None, None] * tangent
    bare = ends.free[:, None] * bare
    spring = jnp.where(top, 0.0, ends.spring * (gaps[1:] - gaps[:-1]))
    pulled = bare + ends.free[:, None] * spring[:, None, None] * tangent
    return pulled, jnp.sqrt(jnp.max(jnp.sum(bare**2, axis=2), axis=1))


def _told(ends: Ends, goal: Goal, walk: Walk, reply: Reply) -> Walk:
    """The band after the potential has spoken at `walk.x`: one step on, or at a stop."""
    pulled, residual = pull(ends, walk.x, reply, walk.climbing)
    sound = jnp.isfinite(jnp.sum(pulled) + jnp.sum(reply.energies))
    largest = jnp.max(residual)
    rested = (largest <= goal.fmax) & (walk.climbing | ~ends.climb)
    status = jnp.where(rested, RESTED, jnp.where(walk.steps < goal.steps, MOVING, SPENT))
    status = jnp.where(sound, status, ASTRAY).astype(walk.status.dtype)
    rows = walk.x.reshape(-1, 3)
    owner = jnp.zeros(len(rows), jnp.int32)
    point = Point(rows, jnp.sum(reply.energies)[None], -pulled.reshape(-1, 3), owner)
    x, memory = fire.step(point, walk.memory)
    climbing = walk.climbing | (ends.climb & (largest <= jnp.maximum(goal.fmax, CLIMB_BELOW)))
    here = replace(walk, last=walk.x, output=reply.output, residual=residual, status=status)
    onward = replace(here, x=x.reshape(walk.x.shape), memory=memory, climbing=climbing, steps=walk.steps + 1)
    lost = replace(walk, x=walk.last, status=status)

    def chosen(going: Array, there: Array, gone: Array) -> Array:
        return jnp.where(sound, jnp.where(status == MOVING, going, there), gone)

    return jax.tree.map(chosen, onward, here, lost)


def descend(field: Field, stale: Callable[[Array], Array], ends: Ends, walk: Walk, goal: Goal) -> Walk:
    """Up to `LENGTH` steps.

    Args:
        field: the potential.
        stale: whether its neighbours must be listed anew at these positions; the block ends there.
        ends: what holds the band.
        walk: where it is.
        goal: where to stop.
    """

    def go(carry: tuple[Walk, Array, Array]) -> tuple[Walk, Array, Array]:
        walk = _told(ends, goal, carry[0], field(carry[0].x))
        return walk, stale(walk.x), carry[2] + 1

    def on(carry: tuple[Walk, Array, Array]) -> Array:
        walk, far, done = carry
        return (done < LENGTH) & (walk.status == MOVING) & ~far

    return jax.lax.while_loop(on, go, (walk, stale(walk.x), jnp.int32(0)))[0]
