"""Hamiltonian Monte Carlo: equilibrium states of particles, from the energy alone, with every call of it counted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.energies.analytic import Particles
from ergodica.sampling.spaces import Centred, noise_like

__all__ = ["Walk", "Walked", "walk"]

ACCEPTED = 0.8
"""Share of moves accepted that the time step is adapted to while chains settle."""
DESCENT, LONGEST = 300, 0.05
"""Steps of descent from a random start, and the longest that a particle goes in one."""


@dataclass(frozen=True)
class Walk:
    """How to walk.

    Attributes:
        chains: independent ones.
        settling: moves that are thrown away.
        records: states kept of each chain.
        stride: moves between them.
        leaps: steps of a move.
    """

    chains: int = 256
    settling: int = 200
    records: int = 300
    stride: int = 2
    leaps: int = 10

    def __post_init__(self) -> None:
        if min(self.chains, self.records, self.stride, self.leaps) < 1 or self.settling < 0:
            raise InputError("A walk needs at least one chain, record, leap and a stride of 1.")

    @property
    def moves(self) -> int:
        """Of one chain."""
        return self.settling + self.records * self.stride

    @property
    def calls(self) -> int:
        """Gradients of the energy in all, those of the descent among them."""
        return self.chains * (self.moves * self.leaps + DESCENT + 1)


@dataclass(frozen=True)
class Walked:
    """What was met.

    Attributes:
        x: states, chain by chain [chains, records, N, D].
        forces: minus the gradient there, kT per unit of length [chains, records, N, D].
        accepted: share of the moves.
        calls: gradients of the energy.
    """

    x: Float[np.ndarray, "C R N D"]
    forces: Float[np.ndarray, "C R N D"]
    accepted: float
    calls: int


class _State(NamedTuple):
    """Positions, energies and gradients of all chains, and the time step."""

    x: Array
    energy: Array
    slope: Array
    step: Array


def walk(target: Particles, how: Walk | None = None, *, seed: int = 0) -> Walked:
    """Walk from random positions.

    Raises:
        WorkFailed: chains are stuck where the energy is no number.
    """
    how = how or Walk()
    x, slopes, accepted = jax.tree.map(np.asarray, _walk(target, how, jax.random.key(seed)))
    if not np.isfinite(slopes).all():
        raise WorkFailed("A walk met forces that are no numbers: its start may be where particles overlap.")
    x, forces = (np.ascontiguousarray(np.swapaxes(part, 0, 1)) for part in (x, -slopes))
    return Walked(x, forces, float(accepted), how.calls)


@partial(jax.jit, static_argnums=(0, 1))
def _walk(target: Particles, how: Walk, key: Array) -> tuple[Array, Array, Array]:
    space = Centred(target.shape)

    def slopes(x: Array) -> tuple[Array, Array]:
        energy, pull = jax.vjp(target, x)
        return energy, pull(jnp.ones_like(energy))[0]

    def descend(_: int, x: Array) -> Array:
        slope = slopes(x)[1]
        steep = jnp.sqrt(jnp.sum(slope**2, axis=-1, keepdims=True))
        return x - slope * jnp.minimum(0.2 * LONGEST, LONGEST / jnp.maximum(steep, 1e-9))

    def move(state: _State, given: tuple[Array, Array]) -> tuple[_State, Array]:
        key, adapting = given
        throw, judge = jax.random.split(key)
        pushed = noise_like(space, throw, how.chains)

        def leap(_: int, at: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
            x, v, energy, slope = at
            v = v - 0.5 * state.step * slope
            x = x + state.step * v
            energy, slope = slopes(x)
            return x, v - 0.5 * state.step * slope, energy, slope

        begun = (state.x, pushed, state.energy, state.slope)
        x, v, energy, slope = jax.lax.fori_loop(0, how.leaps, leap, begun)
        rise = energy - state.energy + 0.5 * jnp.sum(v**2 - pushed**2, axis=(1, 2))
        taken = jax.random.uniform(judge, (how.chains,)) < jnp.exp(-rise)  # false where the energy is no number
        share = taken.mean()
        step = state.step * jnp.exp(0.1 * adapting * (share - ACCEPTED))
        wide = taken[:, None, None]
        return _State(
            space.project(jnp.where(wide, x, state.x)),
            jnp.where(taken, energy, state.energy),
            jnp.where(wide, slope, state.slope),
            step,
        ), share

    def record(state: _State, keys: Array) -> tuple[_State, tuple[Array, Array, Array]]:
        state, shares = jax.lax.scan(move, state, (keys, jnp.zeros(how.stride)))
        return state, (state.x, state.slope, shares.mean())

    start, settle, rest = jax.random.split(key, 3)
    x = target.size / 3 * noise_like(space, start, how.chains)
    x = space.project(jax.lax.fori_loop(0, DESCENT, descend, x))
    state = _State(x, *slopes(x), jnp.asarray(0.02))
    state, _ = jax.lax.scan(move, state, (jax.random.split(settle, how.settling), jnp.ones(how.settling)))
    keys = jax.random.split(rest, (how.records, how.stride))
    _, (found, pulls, shares) = jax.lax.scan(record, state, keys)
    return found, pulls, shares.mean()
