"""Batches of noisy angles of several molecules, padded to a few shapes, in an order that a seed and an epoch define."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from ergodica.buckets import cheapest_ranges
from ergodica.sampling.coordinates.landscape import Landscape, triples_of
from ergodica.sampling.coordinates.torsions import NONE, padded, resized
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.walks.references import Reference
from ergodica.training.data import Chunk, stacked
from ergodica.units import KB

__all__ = ["TorsionBatch", "TorsionFeed", "TorsionTargets", "widened"]

COMPILING = 20_000
"""Padded atom pairs in an epoch that are worth one compilation less."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TorsionBatch:
    """S noisy states of each of B molecules.

    Attributes:
        known: landscapes, each leaf with a leading axis [B].
        beta: 1/kT, 1/eV [B].
        angles: noisy, rad [B, S, T].
        sigma: width of the noise, rad [B, S].
    """

    known: Landscape
    beta: Float[Array, " B"]
    angles: Float[Array, "B S T"]
    sigma: Float[Array, "B S"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TorsionTargets:
    """What the states were made of.

    Attributes:
        noise: of unit width [B, S, T].
        torques: -∂U/∂θ of the states without noise, eV/rad [B, S, T].
        weight: 1 for a molecule, 0 for a filler [B].
    """

    noise: Float[Array, "B S T"]
    torques: Float[Array, "B S T"]
    weight: Float[Array, " B"]


class Draw(NamedTuple):
    """A molecule and the seed of its temperature, states and noise."""

    number: int
    seed: int
    weight: float = 1.0


class Group(NamedTuple):
    """Molecules of one padded shape: rotors, atoms and pairs."""

    members: list[int]
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class TorsionFeed:
    """Yields the chunks of an epoch.

    Attributes:
        references: molecules with their states.
        batch_size: molecules of a batch.
        states: of each molecule in a batch.
        draws: how often an epoch has each molecule, each time at a temperature drawn at random.
        length: batches of a chunk.
        noise: between whose levels widths are drawn, evenly in their logarithm.
        devices: batches of a step.
    """

    references: Sequence[Reference]
    batch_size: int
    states: int
    draws: int
    length: int
    noise: Noise
    devices: int = 1

    @cached_property
    def groups(self) -> list[Group]:
        """By number of rotors, then cut by numbers of pairs."""
        sizes = [one.known.energy.sizes for one in self.references]
        order = sorted(range(len(sizes)), key=lambda number: (sizes[number][0], sizes[number][2]))
        found = []
        for _, members in groupby(order, key=lambda number: sizes[number][0]):
            row = list(members)
            pairs = [sizes[number][2] for number in row]
            for start, end in cheapest_ranges(len(row), lambda a, b: (b - a) * pairs[b - 1] + COMPILING):  # noqa: B023
                chosen = [sizes[number] for number in row[start:end]]
                shape = tuple(max(column) for column in zip(*chosen, strict=True))
                found.append(Group(row[start:end], shape))  # type: ignore[arg-type]
        return found

    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        step = self.batch_size * self.devices
        return sum(-(-self.draws * len(group.members) // step) for group in self.groups)

    def plan(self, rng: np.random.Generator | None) -> list[list[Draw]]:
        """Draws for each chunk, all of one group; without `rng` always the same."""
        shuffled, rng = rng is not None, rng or np.random.default_rng(0)
        step = self.batch_size * self.devices
        span, found = step * self.length, []
        for group in self.groups:
            numbers = np.concatenate([rng.permutation(group.members) for _ in range(self.draws)])
            drawn = [Draw(int(number), int(rng.integers(2**32))) for number in numbers]
            drawn += [drawn[0]._replace(weight=0.0)] * (-len(drawn) % step)
            found += [drawn[start : start + span] for start in range(0, len(drawn), span)]
        return [found[number] for number in rng.permutation(len(found))] if shuffled else found

    def chunk(self, *planned: Draw) -> Chunk:
        """Pack one planned chunk."""
        shape = next(group.shape for group in self.groups if planned[0].number in group.members)
        batches = [planned[start : start + self.batch_size] for start in range(0, len(planned), self.batch_size)]
        rows = [[self._row(draw, shape) for draw in batch] for batch in batches]
        parts = [jax.tree.map(lambda *leaves: np.stack(leaves), *row) for row in rows]
        return stacked(parts, self.length, self.devices)

    def _row(self, draw: Draw, shape: tuple[int, int, int]) -> tuple[TorsionBatch, TorsionTargets]:
        """One molecule's states with noise, padded."""
        one, rng = self.references[draw.number], np.random.default_rng(draw.seed)
        rung = rng.integers(len(one.temperatures))
        rows = rng.choice(one.angles.shape[1], self.states, replace=one.angles.shape[1] < self.states)
        more = ((0, 0), (0, shape[0] - one.angles.shape[2]))
        angles, torques = (np.pad(part[rung, rows], more) for part in (one.angles, one.torques))
        sigma = self.noise.spread(rng, self.states)
        noise = rng.normal(size=angles.shape).astype(np.float32)
        beta = np.float32(1 / (KB * one.temperatures[rung]))
        batch = TorsionBatch(widened(one.known, shape), beta, angles + sigma[:, None] * noise, sigma)  # type: ignore[arg-type]
        return batch, TorsionTargets(noise, torques, np.float32(draw.weight))  # type: ignore[arg-type]


def widened(known: Landscape, sizes: tuple[int, int, int]) -> Landscape:
    """A landscape with so many rotors, atoms and pairs; those that are added do nothing."""
    rotors, _, pairs = ((0, size - old) for size, old in zip(sizes, known.energy.sizes, strict=True))
    triples = (0, triples_of(sizes[0]) - len(known.triples))
    return Landscape(
        resized(known.energy, sizes),
        padded(known.single, rotors, NONE),
        padded(known.double, rotors, rotors, NONE, NONE),
        padded(known.triple, triples, NONE, NONE, NONE),
        padded(known.triples, triples, NONE),
        padded(known.several, pairs),
        padded(known.apart, rotors, rotors),
        padded(known.valid, rotors),
    )
