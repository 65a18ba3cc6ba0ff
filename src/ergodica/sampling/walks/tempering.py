"""Replica exchange in torsion space: Monte Carlo at a ladder of temperatures, many independent ladders side by side.

Swendsen and Wang 1986 (doi:10.1103/PhysRevLett.57.2607); Geyer 1991. Ladders know nothing of each other, so what they
disagree about is the error of their mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ergodica.errors import InputError
from ergodica.units import KB

__all__ = ["Ladder", "Run", "Tempered", "check_temperature", "continue_run", "exchanged", "start_run"]

Energy: TypeAlias = Callable[[Float[Array, "B T"]], Float[Array, " B"]]
"""Of dihedral angles (rad), eV; a pytree."""

AIM, TUNING = 0.35, 0.3
"""Share of local moves that should be accepted, and how fast step lengths are tuned to that."""


def check_temperature(temperature: float) -> None:
    """Refuse what is none.

    Raises:
        InputError: it is not above 0 K.
    """
    if not np.isfinite(temperature) or temperature <= 0:
        raise InputError(f"The temperature must be above 0 K, not {temperature:g}.")


@dataclass(frozen=True)
class Ladder:
    """Temperatures and sizes.

    Attributes:
        temperature: the lowest, K.
        ratio: of neighbouring temperatures.
        rungs: number of temperatures.
        walkers: number of independent ladders.
    """

    temperature: float = 300.0
    ratio: float = 1.3
    rungs: int = 6
    walkers: int = 64

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    @property
    def temperatures(self) -> Float[np.ndarray, " K"]:
        """Of the rungs, K."""
        return self.temperature * self.ratio ** np.arange(self.rungs)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Run:
    """Ladders under way.

    Attributes:
        angles: rad [K, W, T].
        energies: eV [K, W].
        steps: lengths of local moves, rad [K].
        key: of the random numbers.
    """

    angles: Float[Array, "K W T"]
    energies: Float[Array, "K W"]
    steps: Float[Array, " K"]
    key: Array


@dataclass(frozen=True)
class Tempered:
    """What was recorded.

    Attributes:
        angles: rad, in [-π, π] [S, K, W, T].
        energies: eV [S, K, W].
        exchanged: share of exchanges accepted between neighbouring temperatures [K-1].
    """

    angles: Float[np.ndarray, "S K W T"]
    energies: Float[np.ndarray, "S K W"]
    exchanged: Float[np.ndarray, " J"]

    def joined(self, other: Tempered) -> Tempered:
        """This and what was recorded after it."""
        one, two = len(self.energies), len(other.energies)
        exchanged = (one * self.exchanged + two * other.exchanged) / (one + two)
        angles = np.concatenate([self.angles, other.angles])
        return Tempered(angles, np.concatenate([self.energies, other.energies]), exchanged)


def start_run(energy: Energy, dimensions: int, ladder: Ladder, key: Array, sweeps: int = 200) -> Run:
    """Equilibrated ladders with tuned steps, from angles at random.

    Args:
        energy: of the molecule.
        dimensions: number of torsions.
        ladder: temperatures and sizes.
        key: of the random numbers.
        sweeps: of equilibration; steps are tuned in the first half.
    """
    first, key = jax.random.split(key)
    shape = (ladder.rungs, ladder.walkers, dimensions)
    angles = jax.random.uniform(first, shape, jnp.float32, -np.pi, np.pi)
    unknown = jnp.full(shape[:2], jnp.inf)  # whatever is tried first is better
    run = Run(angles, unknown, jnp.full(ladder.rungs, 0.5), key)
    for part, rate in ((sweeps // 2, TUNING), (sweeps - sweeps // 2, 0.0)):
        run, _ = _advanced(energy, run, _betas(ladder), part, rate)
    return run


def continue_run(energy: Energy, run: Run, ladder: Ladder, records: int, stride: int) -> tuple[Run, Tempered]:
    """Go on and record.

    Args:
        energy: of the molecule.
        run: where to begin.
        ladder: temperatures and sizes.
        records: how many states of all ladders to keep.
        stride: sweeps from one to the next.
    """
    kept = []
    for _ in range(records):
        run, exchanged = _advanced(energy, run, _betas(ladder), stride, 0.0)
        kept.append((run.angles, run.energies, exchanged))
    angles, energies, exchanged = (np.asarray(jnp.stack(part), np.float64) for part in zip(*kept, strict=True))
    return run, Tempered(angles, energies, exchanged.mean(axis=0))


def _betas(ladder: Ladder) -> Float[Array, " K"]:
    return jnp.asarray(1 / (KB * ladder.temperatures), jnp.float32)


def _energies(energy: Energy, angles: Float[Array, "K W T"]) -> Float[Array, "K W"]:
    return jnp.nan_to_num(energy(angles), nan=jnp.inf)  # atoms on one place


class _Tally(NamedTuple):
    """Shares of moves and of exchanges accepted, per rung and per pair of rungs."""

    moved: Array
    exchanged: Array


@jax.jit
def _advanced(energy: Energy, run: Run, beta: Array, sweeps: Array, rate: Array) -> tuple[Run, Float[Array, " J"]]:
    """So many sweeps, steps tuned at a rate, and the share of exchanges that were accepted."""

    def sweep(number: Array, state: tuple[Run, Array]) -> tuple[Run, Array]:
        run, exchanged = state
        run, tally = _sweep(energy, run, beta, number)
        steps = jnp.clip(run.steps * jnp.exp(rate * (tally.moved - AIM)), 0.01, np.pi)
        return replace(run, steps=steps), exchanged + tally.exchanged

    run, exchanged = jax.lax.fori_loop(0, sweeps, sweep, (run, jnp.zeros(len(beta) - 1)))
    return run, 2 * exchanged / jnp.maximum(sweeps, 1)  # each pair has its turn in every other sweep


def _sweep(energy: Energy, run: Run, beta: Array, number: Array) -> tuple[Run, _Tally]:
    """As many moves as there are torsions, and one round of exchanges."""
    key, moves, swap = jax.random.split(run.key, 3)
    run = replace(run, key=key)

    def move(state: Run, at: Array) -> tuple[Run, tuple[Array, Array]]:
        return _move(energy, state, beta, at)

    run, (taken, local) = jax.lax.scan(move, run, jax.random.split(moves, 2 * run.angles.shape[-1]))
    moved = taken.sum(axis=0) / jnp.maximum(local.sum(axis=0), 1)
    run, exchanged = _exchange(run, beta, swap, number % 2)
    return run, _Tally(moved, exchanged)


def _move(energy: Energy, run: Run, beta: Array, key: Array) -> tuple[Run, tuple[Array, Array]]:
    """Turn one torsion or two by a step, or to anywhere; all of it as likely as its reverse."""
    rungs, walkers, dimensions = run.angles.shape
    which, other, both, kind, length, choose = jax.random.split(key, 6)
    shape = (rungs, walkers)
    one = jax.nn.one_hot(jax.random.randint(which, shape, 0, dimensions), dimensions)
    two = jax.nn.one_hot(jax.random.randint(other, shape, 0, dimensions), dimensions)
    mask = jnp.where(jax.random.bernoulli(both, 0.5, shape)[..., None], jnp.maximum(one, two), one)
    local = jax.random.bernoulli(kind, 0.5, shape)
    near = run.steps[:, None, None] * jax.random.normal(length, run.angles.shape)
    far = jax.random.uniform(length, run.angles.shape, minval=-np.pi, maxval=np.pi)
    proposed = run.angles + mask * jnp.where(local[..., None], near, far)
    proposed = proposed - 2 * np.pi * jnp.round(proposed / (2 * np.pi))
    energies = _energies(energy, proposed)
    chance = -beta[:, None] * (energies - run.energies)
    taken = jnp.log(jax.random.uniform(choose, shape)) < chance
    angles = jnp.where(taken[..., None], proposed, run.angles)
    run = replace(run, angles=angles, energies=jnp.where(taken, energies, run.energies))
    return run, ((taken & local).sum(axis=1), local.sum(axis=1))


def _exchange(run: Run, beta: Array, key: Array, odd: Array) -> tuple[Run, Float[Array, " J"]]:
    """Offer every second pair of neighbouring temperatures to change places."""
    source, taken = exchanged(run.energies, beta, key, odd)
    energies = jnp.take_along_axis(run.energies, source, axis=0)
    angles = jnp.take_along_axis(run.angles, source[..., None], axis=0)
    return replace(run, angles=angles, energies=energies), taken.mean(axis=1)


def exchanged(
    energies: Float[Array, "K W"], beta: Float[Array, " K"], key: Array, odd: Array
) -> tuple[Int[Array, "K W"], Bool[Array, "J W"]]:
    """Which rung each state comes from after every second pair of neighbours was offered to change places, and who did.

    Args:
        energies: of the states.
        beta: 1/kT of the rungs.
        key: of the random numbers.
        odd: 0 or 1: which pairs.
    """
    rungs, walkers = energies.shape
    pair = jnp.arange(rungs - 1)
    gain = (beta[1:] - beta[:-1])[:, None] * (energies[1:] - energies[:-1])
    taken = (jnp.log(jax.random.uniform(key, gain.shape)) < gain) & (pair % 2 == odd)[:, None]
    none = jnp.zeros((1, walkers), bool)
    up, down = jnp.concatenate([taken, none]), jnp.concatenate([none, taken])
    return jnp.arange(rungs)[:, None] + up.astype(int) - down.astype(int), taken
