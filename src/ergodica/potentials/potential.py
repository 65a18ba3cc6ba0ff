"""A potential as a value: configuration, parameters, energy scale and card; and the pure functions made from it.

Python objects never enter `jit`: what is compiled depends on the configuration alone, and parameters and batches are
its arguments. Networks are asked for interaction energies only; the large per-element reference energies are added on
the host in float64, so that float32 keeps its digits for what matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.nn.geometry import edge_vectors
from ergodica.nn.pairs import swap
from ergodica.potentials.architecture import ModelConfig
from ergodica.potentials.ensemble import Calibration, EnsembleConfig, Spread, over_members
from ergodica.potentials.geoformer import GeoformerConfig
from ergodica.potentials.graphormer import GraphormerConfig
from ergodica.potentials.heads import AtomOutput, assemble
from ergodica.potentials.m3gnet import M3GNetConfig
from ergodica.potentials.property import PropertyConfig
from ergodica.potentials.visnet import ViSNetConfig
from ergodica.runtime import keep_freed_memory
from ergodica.system import Batch, Neighbors

__all__ = [
    "CONFIGS",
    "Derivatives",
    "EnergyScale",
    "Info",
    "ModelConfig",
    "Potential",
    "derivatives",
    "derivatives_of_member",
    "property_function",
]

Params = Any


CONFIGS: dict[str, type] = {
    "visnet": ViSNetConfig,
    "geoformer": GeoformerConfig,
    "graphormer": GraphormerConfig,
    "m3gnet": M3GNetConfig,
}
"""Networks by the name that stands in model files and training configurations; an ensemble is made of one of them."""


@dataclass(frozen=True)
class EnergyScale:
    """From the network's output to eV: E = Σᵢ (scale · outᵢ + reference[zᵢ]) + shift.

    Attributes:
        scale: eV per unit of output.
        shift: added once per structure, eV.
        reference: energy of each element by symbol, eV.
        reduce: "sum" over atoms (extensive), or "mean" as some published programs have it.
    """

    scale: float = 1.0
    shift: float = 0.0
    reference: Mapping[str, float] = field(default_factory=dict)
    reduce: Literal["sum", "mean"] = "sum"

    def table(self) -> Float[np.ndarray, " Z"]:
        """Reference energies by atomic number."""
        return np.array([self.reference.get(symbol, 0.0) for symbol in SYMBOLS])


@dataclass(frozen=True)
class Info:
    """The card of a model: what a user must know before trusting it."""

    name: str = "unnamed"
    elements: tuple[str, ...] = ()
    level_of_theory: str = "unknown"
    training_data: str = "unknown"
    split: str = "unknown"
    licence: str = "unknown"
    errors: Mapping[str, float] = field(default_factory=dict)
    reproduce: str = ""
    notes: str = ""


@dataclass(frozen=True)
class Potential:
    """A network with everything needed to run it; frozen, picklable, free of compiled state.

    Attributes:
        config: architecture.
        params: parameter tree of NumPy or JAX arrays.
        energy_scale: conversion of the output to eV.
        info: the card.
        calibration: what turns its spread into bounds of the error, if it is an ensemble that was calibrated.
    """

    config: ModelConfig
    params: Params
    energy_scale: EnergyScale = field(default_factory=EnergyScale)
    info: Info = field(default_factory=Info)
    calibration: Calibration | None = None

    @classmethod
    def create(cls, config: ModelConfig, seed: int = 0, **parts: Any) -> Potential:
        """An untrained potential with random parameters; `parts` are the other fields."""
        keep_freed_memory()
        params = config.build().init(jax.random.key(seed), *cls.smallest_input())
        return cls(config, jax.tree.map(np.asarray, params), **parts)

    @staticmethod
    def smallest_input() -> tuple[Array, Array, Neighbors]:
        """Numbers, vectors and neighbours of one lone atom: what a module needs to make its parameters."""
        slots = np.zeros((1, 1), np.int32)
        vectors = np.zeros((1, 1, 3), np.float32)
        neighbors = Neighbors(slots, vectors, np.ones((1, 1), bool), slots)  # type: ignore[arg-type]
        return np.ones(1, np.int32), vectors, neighbors  # type: ignore[return-value]

    @property
    def cutoff(self) -> float:
        """Radius of interaction, Å."""
        return self.config.cutoff

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(self.params))

    def energy(self, params: Params, batch: Batch) -> Float[Array, " B"]:
        """Total energies, eV, as a pure function of parameters and batch, in the batch's precision."""
        scale = self.energy_scale
        output = self.config.build().apply(params, batch.numbers, edge_vectors(batch), batch.neighbors).scalar
        table = jnp.asarray(np.append(0.0, scale.table()[1:]), output.dtype)
        atomic = jnp.where(batch.numbers > 0, scale.scale * output + table[batch.numbers], 0.0)
        total = jax.ops.segment_sum(atomic, batch.system, batch.n_systems)
        if scale.reduce == "mean":
            total = total / jnp.maximum(
                jax.ops.segment_sum(1.0 * (batch.numbers > 0), batch.system, batch.n_systems), 1
            )
        return total + scale.shift

    def check_elements(self, numbers: Int[np.ndarray, " N"], where: str = "structure") -> None:
        """Raise `InputError` when an element is one this potential has never seen."""
        if int(max(numbers)) >= self.config.max_z:
            raise InputError(f"{where} holds {SYMBOLS[max(numbers)]}, beyond the element tables of this model.")
        if not self.info.elements:
            return
        known = {SYMBOLS.index(symbol) for symbol in self.info.elements}
        strange = sorted(set(int(z) for z in numbers) - known)
        if strange:
            raise InputError(
                f"{where} holds {SYMBOLS[strange[0]]}, an element that model '{self.info.name}' does not know "
                f"(it knows {' '.join(self.info.elements)}); choose another model."
            )

    def with_params(self, params: Params) -> Potential:
        """The same potential with other parameters."""
        return replace(self, params=params)


class Derivatives(NamedTuple):
    """What one call of the network gives.

    Attributes:
        energies: interaction energy of each atom in units of the output [A] (no reference energies).
        forces: minus its gradient [A, 3].
        virial: Σ r ⊗ dE/dr over the edges [B, 3, 3]; stress is virial / volume.
    """

    energies: Float[Array, " A"]
    forces: Float[Array, "A 3"]
    virial: Float[Array, "B 3 3"]


def atom_energies(
    config: ModelConfig, params: Params, batch: Batch, vectors: Float[Array, "A K 3"], recompute: bool = True
) -> Float[Array, " A"]:
    """The network's output for each atom, zero for padding."""
    output: AtomOutput = config.build(recompute).apply(params, batch.numbers, vectors, batch.neighbors)
    return jnp.where(batch.numbers > 0, output.scalar, 0.0)


def derivatives(config: ModelConfig, params: Params, batch: Batch, recompute: bool = True) -> Derivatives:
    """Energies, forces and virials by one backward pass with respect to the edge vectors.

    The energy depends on coordinates through the edge vectors alone, so F_i = Σ_k (g_ik - g_ki) and the strain
    derivative is Σ r ⊗ g: forces and stress of any number of structures for the price of one.
    """
    if isinstance(config, EnsembleConfig) and not config.varied:  # the memory of one member, where below it is of all
        return jax.tree.map(lambda leaf: leaf.mean(axis=0), member_derivatives(config, params, batch, recompute))

    def total(vectors: Float[Array, "A K 3"]) -> tuple[Array, Array]:
        energies = atom_energies(config, params, batch, vectors, recompute)
        return energies.sum(), energies

    vectors = edge_vectors(batch)
    gradient, energies = jax.grad(total, has_aux=True)(vectors)
    forces = jnp.sum(gradient - swap(gradient, batch.neighbors), axis=1)
    atomic = jnp.einsum("aki,akj->aij", vectors, gradient)
    atomic = 0.5 * (atomic + jnp.swapaxes(atomic, 1, 2))
    return Derivatives(energies, forces, jax.ops.segment_sum(atomic, batch.system, batch.n_systems))


def derivatives_of_member(
    config: EnsembleConfig, number: Int[Array, ""], params: Params, batch: Batch, recompute: bool = True
) -> Derivatives:
    """What one member of an ensemble gives; `params` are its own."""
    found = derivatives(config.member, params, batch, recompute)
    factor = config.factors(found.energies.dtype)[number]
    offsets = config.table(found.energies.dtype)[number, batch.numbers]
    return Derivatives(factor * found.energies + offsets, factor * found.forces, factor * found.virial)


def member_derivatives(config: EnsembleConfig, params: Params, batch: Batch, recompute: bool = True) -> Derivatives:
    """What each member of an ensemble gives, along a leading axis."""

    def one(own: Params, number: Array) -> Derivatives:
        return derivatives_of_member(config, number, own, batch, recompute)

    return over_members(config, one, params)


def derivatives_and_spread(config: EnsembleConfig, params: Params, batch: Batch) -> tuple[Derivatives, Spread]:
    """Mean of the members and their root mean square deviation from it."""
    found = member_derivatives(config, params, batch)
    mean = jax.tree.map(lambda leaf: leaf.mean(axis=0), found)
    away = jax.tree.map(lambda leaf, centre: leaf - centre, found, mean)
    energy = jax.vmap(lambda one: jax.ops.segment_sum(one, batch.system, batch.n_systems))(away.energies)
    squares = energy**2, jnp.sum(away.forces**2, axis=-1), jnp.sum(away.virial**2, axis=(-1, -2))
    return mean, Spread(*(jnp.sqrt(jnp.mean(square, axis=0)) for square in squares))


@lru_cache(maxsize=64)
def compiled_spread(config: EnsembleConfig) -> Callable[[Params, Batch], tuple[Derivatives, Spread]]:
    """`derivatives_and_spread` of one ensemble under `jit`."""
    return jax.jit(lambda params, batch: derivatives_and_spread(config, params, batch))


@lru_cache(maxsize=64)
def compiled_derivatives(config: ModelConfig) -> Callable[[Params, Batch], Derivatives]:
    """`derivatives` of one architecture under `jit`; one function per configuration, shared by all users of it."""
    return jax.jit(lambda params, batch: derivatives(config, params, batch))


@lru_cache(maxsize=64)
def property_function(config: ModelConfig, scale: float) -> Callable[[Params, Batch], Array]:
    """The property of a non-energy head (dipole, spatial extent, atomic vectors, learnt property) under `jit`."""
    from ase.data import atomic_masses

    def function(params: Params, batch: Batch) -> Array:
        if isinstance(config, PropertyConfig):
            atomic = scale * atom_energies(config, params, batch, edge_vectors(batch))
            return jax.ops.segment_sum(atomic, batch.system, batch.n_systems)
        output = config.build().apply(params, batch.numbers, edge_vectors(batch), batch.neighbors)
        return assemble(config.head, output, batch, scale, atomic_masses)

    return jax.jit(function)
