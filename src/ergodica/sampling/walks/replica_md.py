"""Replica exchange by molecular dynamics: ladders of temperatures for a molecule with all its degrees of freedom.

Sugita and Okamoto 1999 (doi:10.1016/S0009-2614(99)01123-9), with Langevin dynamics (BAOAB) at every temperature. The
ensemble of positions does not know of masses, so all atoms have the same one, which allows steps of 4 fs without
constraints. Ladders know nothing of each other: what they disagree about is the error of their mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.walks.tempering import Ladder, exchanged
from ergodica.units import FS, KB

__all__ = ["Dynamics", "Replicas", "Walked", "continue_replicas", "start_replicas"]

Energy: TypeAlias = Callable[[Float[Array, "B N 3"]], Float[Array, " B"]]
"""Of positions (Å), eV; a pytree."""


@dataclass(frozen=True)
class Dynamics:
    """How atoms move.

    Attributes:
        timestep: fs.
        friction: 1/ps.
        mass: of every atom, amu.
        stride: steps between exchanges; states are recorded then.
    """

    timestep: float = 4.0
    friction: float = 2.0
    mass: float = 12.0
    stride: int = 50

    def __post_init__(self) -> None:
        if min(self.timestep, self.friction, self.mass, self.stride) <= 0:
            raise InputError("dynamics: timestep, friction, mass and stride must be positive.")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Replicas:
    """Ladders under way.

    Attributes:
        positions: Å [K, W, N, 3].
        velocities: Å/√(amu Å²/eV) [K, W, N, 3].
        energies: eV [K, W].
        forces: eV/Å [K, W, N, 3].
        key: of the random numbers.
        tried: rounds of exchange so far.
    """

    positions: Float[Array, "K W N 3"]
    velocities: Float[Array, "K W N 3"]
    energies: Float[Array, "K W"]
    forces: Float[Array, "K W N 3"]
    key: Array
    tried: Array


@dataclass(frozen=True)
class Walked:
    """What was recorded.

    Attributes:
        positions: Å [S, K, W, N, 3].
        energies: eV [S, K, W].
        exchanged: share of exchanges accepted between neighbouring temperatures [K-1].
    """

    positions: Float[np.ndarray, "S K W N 3"]
    energies: Float[np.ndarray, "S K W"]
    exchanged: Float[np.ndarray, " J"]


def start_replicas(energy: Energy, positions: Float[np.ndarray, "*W N 3"], ladder: Ladder, key: Array) -> Replicas:
    """All replicas at one structure, or each walker at its own, at rest: the thermostats warm them.

    Raises:
        WorkFailed: the energy of the structure is no number.
    """
    shape = (ladder.rungs, ladder.walkers, *positions.shape[-2:])
    at = jnp.broadcast_to(jnp.asarray(positions, float), shape)
    energies, forces = _felt(energy, at)
    if not np.isfinite(np.asarray(energies)).all():
        raise WorkFailed("The energy of the structure to start from is no number: do atoms overlap?")
    return Replicas(at, jnp.zeros(shape), energies, forces, key, jnp.asarray(0))


def continue_replicas(
    energy: Energy, run: Replicas, ladder: Ladder, how: Dynamics, records: int
) -> tuple[Replicas, Walked]:
    """Go on and record.

    Args:
        energy: of the molecule.
        run: where to begin.
        ladder: temperatures and sizes.
        how: atoms move.
        records: how many states of all ladders to keep, one at each exchange.

    Raises:
        WorkFailed: an energy is no number any more.
    """
    heat = jnp.asarray(KB * ladder.temperatures, float)
    run, (positions, energies, taken) = _walked(energy, run, heat, how, records)
    if not np.isfinite(np.asarray(run.energies)).all():
        raise WorkFailed(f"The dynamics blew up at steps of {how.timestep:g} fs: make them shorter.")
    shares = 2 * np.asarray(taken).mean(axis=0)  # a pair is offered every second time
    return run, Walked(np.asarray(positions), np.asarray(energies), shares)


@partial(jax.jit, static_argnums=(3, 4))
def _walked(
    energy: Energy, run: Replicas, heat: Float[Array, " K"], how: Dynamics, records: int
) -> tuple[Replicas, tuple[Array, Array, Array]]:
    def record(run: Replicas, _: None) -> tuple[Replicas, tuple[Array, Array, Array]]:
        run = jax.lax.fori_loop(0, how.stride, lambda _, run: _step(energy, run, heat, how), run)
        run, taken = _exchange(run, heat)
        return run, (run.positions, run.energies, taken)

    return jax.lax.scan(record, run, length=records)


def _felt(energy: Energy, positions: Float[Array, "K W N 3"]) -> tuple[Float[Array, "K W"], Float[Array, "K W N 3"]]:
    energies, back = jax.vjp(energy, positions.reshape(-1, *positions.shape[2:]))
    return energies.reshape(positions.shape[:2]), -back(jnp.ones_like(energies))[0].reshape(positions.shape)


def _step(energy: Energy, run: Replicas, heat: Float[Array, " K"], how: Dynamics) -> Replicas:
    """Kick, drift, noise, drift, kick; forces come with the last positions."""
    step, drawn = how.timestep * FS, jax.random.fold_in(run.key, 0)
    kept = jnp.exp(-how.friction * how.timestep / 1000)
    width = jnp.sqrt((1 - kept**2) * heat / how.mass)[:, None, None, None]
    velocities = run.velocities + 0.5 * step / how.mass * run.forces
    positions = run.positions + 0.5 * step * velocities
    velocities = kept * velocities + width * jax.random.normal(drawn, velocities.shape)
    positions = positions + 0.5 * step * velocities
    energies, forces = _felt(energy, positions)
    velocities = velocities + 0.5 * step / how.mass * forces
    return replace(
        run,
        positions=positions,
        velocities=velocities,
        energies=energies,
        forces=forces,
        key=jax.random.fold_in(run.key, 1),
    )


def _exchange(run: Replicas, heat: Float[Array, " K"]) -> tuple[Replicas, Float[Array, " J"]]:
    """Offer every second pair of neighbouring temperatures to change places; velocities fit the new temperature."""
    drawn, key = jax.random.split(run.key)
    source, taken = exchanged(run.energies, 1 / heat, drawn, run.tried % 2)
    rows = source[:, :, None, None]
    pace = jnp.sqrt(heat[:, None] / heat[source])[:, :, None, None]
    return Replicas(
        jnp.take_along_axis(run.positions, rows, axis=0),
        jnp.take_along_axis(run.velocities, rows, axis=0) * pace,
        jnp.take_along_axis(run.energies, source, axis=0),
        jnp.take_along_axis(run.forces, rows, axis=0),
        key,
        run.tried + 1,
    ), taken.mean(axis=1)
