"""Batches of examples: some labels of several conformers, padded to one shape, in an order a seed and epoch define."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.dft.learned.examples import Example, padded
from ergodica.training.data import Chunk, stacked

__all__ = ["DensityBatch", "DensityTargets", "ExampleFeed"]

NEAR = 0.5
"""Share of random moves by which every direction costs as much energy."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DensityBatch:
    """B conformers with S densities each, the ground state first; padded to N atoms and F coefficients.

    Attributes:
        species: place of each element in the layout [B, N].
        valid: 1 for an atom, 0 for padding [B, N].
        positions: Bohr [B, N, 3].
        index: where each coefficient stands in the table [B, N, M, K].
        natural: q [B, S, F].
        jacobian: ∂q/∂R of the ground state, 1/Bohr [B, F, N, 3].
        probe: a random step off the ground state, 1/√Hartree; of size 0 where none is asked for [B, F].
    """

    species: Int[Array, "B N"]
    valid: Float[Array, "B N"]
    positions: Float[Array, "B N 3"]
    index: Int[Array, "B N M K"]
    natural: Float[Array, "B S F"]
    jacobian: Float[Array, "B F N 3"]
    probe: Float[Array, "B F"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DensityTargets:
    """Labels of a batch, less the reference.

    Attributes:
        energy: Hartree [B, S].
        gradient: ∂E/∂q, Hartree [B, S, F].
        normal: direction in which the number of electrons changes [B, F].
        nuclear: ∂E/∂R of the ground state, Hartree/Bohr [B, N, 3].
        polarity: how the dipole moment of the minimum answers to the gradient, e·Bohr/Hartree [B, F, 3].
        polarisability: mean of three directions, Bohr³ [B].
        curvature: ∂²E/∂q² of the ground state, Hartree; of size 0 where none is asked for [B, F, F].
        share: how much each density counts, 1 for the ground state [B, S].
        weight: 1 for a conformer, 0 for a filler [B].
    """

    energy: Float[Array, "B S"]
    gradient: Float[Array, "B S F"]
    normal: Float[Array, "B F"]
    nuclear: Float[Array, "B N 3"]
    polarity: Float[Array, "B F 3"]
    polarisability: Float[Array, " B"]
    curvature: Float[Array, "B F F"]
    share: Float[Array, "B S"]
    weight: Float[Array, " B"]


class Draw(NamedTuple):
    """A conformer, which of its labels, and the seed of their random moves."""

    number: int
    labels: Int[np.ndarray, " S"]
    seed: int | None


@dataclass(frozen=True)
class ExampleFeed:
    """Yields the chunks of an epoch: every conformer once, its ground state twice, and labels drawn at random.

    Many directions of q hardly change in any label, because the orbitals can't follow a potential there. A network is
    free to curve downwards along them, and a minimiser would find out. So all densities but the first are moved at
    random: some so that every direction costs as much energy, others as far in all directions, which keeps the network
    from falling where it is stiff. Labels follow to second order by the curvature at the ground state. Where that is
    not known all moves are of the second kind, labels follow to first order, and the curvature is left to the
    reference, which is stiff in such directions.

    All lengths up to the longest occur: in hundreds of dimensions random moves of one length lie on a shell, inside
    which a network is free, and a minimiser ends there. Which direction of hundreds still falls no random move finds
    out: `probe` is where the loss begins to look for it.

    Attributes:
        examples: conformers.
        batch_size: conformers of a batch.
        densities: of each, the ground state among them; 0 takes all.
        length: batches of a chunk.
        devices: batches of a step.
        noise: largest standard deviation of the random moves: of coefficients, or √Hartree where energies are alike.
        focus: distance from the ground state, √Hartree, at which a density counts half; 0 counts all alike.
        probing: give probes and curvatures, too; for labels of second order.
    """

    examples: Sequence[Example]
    batch_size: int
    densities: int
    length: int
    devices: int = 1
    noise: float = 0.0
    focus: float = 0.0
    probing: bool = False

    @cached_property
    def _sizes(self) -> tuple[int, int, int]:
        """Atoms, coefficients and densities of a padded conformer."""
        atoms = max(len(one.species) for one in self.examples)
        functions = max(len(one.normal) for one in self.examples)
        labels = max(len(one.energy) for one in self.examples)
        return atoms, functions, min(self.densities or labels, labels)

    def steps(self) -> int:
        """Optimiser steps of an epoch."""
        return -(-len(self.examples) // (self.batch_size * self.devices))

    def plan(self, rng: np.random.Generator | None) -> list[list[Draw | None]]:
        """Conformers with their labels for each chunk, None for a filler; in order and spread evenly without `rng`."""
        count = self._sizes[2]
        order = np.arange(len(self.examples)) if rng is None else rng.permutation(len(self.examples))
        chosen: list[Draw | None] = []
        for number in order:
            labels = len(self.examples[number].energy)
            if rng is None or labels <= count:
                rows = np.linspace(0, labels - 1, count).astype(int)
            else:
                rows = np.append([0, 0][:count], 1 + rng.permutation(labels - 1)[: max(count - 2, 0)])
            chosen.append(Draw(int(number), rows, int(number if rng is None else rng.integers(2**32))))
        step = self.batch_size * self.devices
        chosen += [None] * (-len(chosen) % step)
        span = step * self.length
        return [chosen[start : start + span] for start in range(0, len(chosen), span)]

    def chunk(self, *planned: Draw | None) -> Chunk:
        """Pack one planned chunk."""
        batches = [planned[start : start + self.batch_size] for start in range(0, len(planned), self.batch_size)]
        return stacked([self._batch(batch) for batch in batches], self.length, self.devices)  # type: ignore[misc]

    def row(self, number: int) -> tuple[DensityBatch, DensityTargets]:
        """One conformer's ground state, not moved: a batch without its first axis."""
        draw = Draw(number, np.zeros(1, int), None)
        return jax.tree.map(_single, self._row(draw, 1.0))

    def _share(self, distance: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
        return 1 / (1 + distance / self.focus) if self.focus else np.ones(len(distance))

    def _moves(self, one: Example, draw: Draw) -> Float[np.ndarray, "S F"]:
        move = np.zeros((len(draw.labels), len(one.normal)), np.float32)
        if draw.seed is None or not self.noise:
            return move
        random = np.random.default_rng(draw.seed)
        move[1:] = self.noise * random.uniform(size=(len(move) - 1, 1)) * random.normal(size=move[1:].shape)
        if one.spread is not None:
            near = random.random(len(move)) < NEAR
            move[near] = move[near] @ one.spread.T
        return move

    def _second_order(self, one: Example, draw: Draw) -> tuple[np.ndarray, np.ndarray]:
        """A probe and the curvature, padded."""
        if not self.probing or one.spread is None or one.curvature is None:
            return np.zeros(0), np.zeros((0, 0))
        step = np.random.default_rng([draw.number, draw.seed or 0]).normal(size=len(one.normal))
        rest = self._sizes[1] - len(step)
        return np.pad(one.spread @ (step / np.linalg.norm(step)), (0, rest)), np.pad(one.curvature, (0, rest))

    def _batch(self, members: Sequence[Draw | None]) -> tuple[DensityBatch, DensityTargets]:
        filler = Draw(0, np.zeros(self._sizes[2], int), None)
        rows = [self._row(member or filler, float(member is not None)) for member in members]
        return jax.tree.map(lambda *leaves: _single(np.stack(leaves)), *rows)

    def _row(self, draw: Draw, weight: float) -> tuple[DensityBatch, DensityTargets]:
        """One conformer, padded."""
        atoms, functions, _ = self._sizes
        one = self.examples[draw.number]
        extra, rest = atoms - len(one.species), functions - len(one.normal)
        drawn, move = draw.labels, self._moves(one, draw)
        steeper = 0.0 if one.curvature is None else move @ one.curvature
        gradient = one.gradient[drawn] + steeper
        species, valid, positions, index = padded(one, atoms, functions)
        probe, curvature = self._second_order(one, draw)
        fields: dict[str, Any] = dict(
            species=species,
            valid=valid,
            positions=positions,
            index=index,
            natural=np.pad(one.natural[drawn] + move, ((0, 0), (0, rest))),
            jacobian=np.pad(one.jacobian, ((0, rest), (0, extra), (0, 0))),
            probe=probe,
        )
        labels: dict[str, Any] = dict(
            energy=one.energy[drawn] + np.sum((gradient - 0.5 * steeper) * move, axis=1),
            gradient=np.pad(gradient, ((0, 0), (0, rest))),
            normal=np.pad(one.normal, (0, rest)),
            nuclear=np.pad(one.nuclear, ((0, extra), (0, 0))),
            polarity=np.pad(one.polarity, ((0, rest), (0, 0))),
            polarisability=np.array(one.polarisability),
            curvature=curvature,
            share=self._share(one.distance[drawn]),
            weight=np.array(weight),
        )
        return DensityBatch(**fields), DensityTargets(**labels)


def _single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.dtype == np.float64 else values
