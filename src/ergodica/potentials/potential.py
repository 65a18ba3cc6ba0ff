"""A potential as a value: configuration, parameters, energy scale and card; and the pure functions made from it.

Python objects never enter `jit`: what is compiled depends on the configuration alone, and parameters and batches are
its arguments. Networks are asked for interaction energies only; the large per-element reference energies are added on
the host in float64, so that float32 keeps its digits for what matters.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.nn.geometry import edge_planes, edge_vectors, safe_norm
from ergodica.nn.narrow import narrowed, within
from ergodica.nn.pairs import row_sum, swap
from ergodica.potentials.architecture import ModelConfig
from ergodica.potentials.ensemble import Calibration, EnsembleConfig, Spread, over_members
from ergodica.potentials.geoformer import GeoformerConfig
from ergodica.potentials.graphormer import GraphormerConfig
from ergodica.potentials.heads import AtomOutput, assemble
from ergodica.potentials.m3gnet import M3GNetConfig
from ergodica.potentials.property import PropertyConfig
from ergodica.potentials.sum import SumConfig
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
        params = jax.jit(config.build().init)(jax.random.key(seed), *cls.smallest_input())
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

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that its energies depend on."""
        found = hashlib.sha256(repr((self.config, self.energy_scale)).encode())
        for leaf in jax.tree.leaves(self.params):
            found.update(np.ascontiguousarray(leaf).tobytes())
        return found.hexdigest()[:16]

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

    def require_energies(self) -> None:
        """Raise `InputError` when this model predicts something else."""
        if self.config.head != "energy":
            raise InputError(f"Model '{self.info.name}' predicts '{self.config.head}': this needs energies.")

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
    if isinstance(config, SumConfig):
        return _derivatives_of_sum(config, params, batch, recompute)

    if config.radial:
        return _radial_derivatives(config, params, batch)
    vectors = edge_vectors(batch)
    energies, gradient = _gradient(config, params, batch, vectors, recompute)
    forces = jnp.sum(gradient - swap(gradient, batch.neighbors), axis=1)
    atomic = jnp.einsum("aki,akj->aij", vectors, gradient)
    atomic = 0.5 * (atomic + jnp.swapaxes(atomic, 1, 2))
    return Derivatives(energies, forces, jax.ops.segment_sum(atomic, batch.system, batch.n_systems))


def _gradient(
    config: ModelConfig, params: Params, batch: Batch, vectors: Float[Array, "A K 3"], recompute: bool
) -> tuple[Float[Array, " A"], Float[Array, "A K 3"]]:
    """Energies of the atoms, and the gradient of their sum with respect to the edge vectors."""

    def total(vectors: Float[Array, "A K 3"]) -> tuple[Array, Array]:
        energies = atom_energies(config, params, batch, vectors, recompute)
        return energies.sum(), energies

    gradient, energies = jax.grad(total, has_aux=True)(vectors)
    return energies, gradient


def _radial_derivatives(config: ModelConfig, params: Params, batch: Batch) -> Derivatives:
    """The same where energies depend on nothing but the lengths of the edges, three times as fast on a CPU.

    No vector is gathered from the opposite edge, and the components of the edge vectors are planes [A, K], so that all
    sums run along memory; the network gets the lengths as vectors of one component.
    """
    planes = edge_planes(batch)
    square = planes[0] ** 2 + planes[1] ** 2 + planes[2] ** 2
    length = jnp.sqrt(jnp.where(square > 0, square, 1.0)) * (square > 0)
    energies, slope = _gradient(config, params, batch, length[..., None], recompute=True)
    along = jnp.where(square > 0, slope[..., 0] / jnp.where(square > 0, length, 1.0), 0.0)
    both = along + swap(along[..., None], batch.neighbors)[..., 0]
    forces = jnp.stack([row_sum(both * plane) for plane in planes], axis=1)
    pulls = [along * plane for plane in planes]
    atomic = jnp.stack([row_sum(planes[min(i, j)] * pulls[max(i, j)]) for i in range(3) for j in range(3)], axis=1)
    virial = jax.ops.segment_sum(atomic, batch.system, batch.n_systems)
    return Derivatives(energies, forces, virial.reshape(-1, 3, 3))


def _derivatives_of_sum(config: SumConfig, params: Params, batch: Batch, recompute: bool) -> Derivatives:
    """The sum of what the parts give, those that reach less far on a list cut down to the longest of them."""
    given = [(part, params if part is config.model else {}) for part in config.parts]
    far = [one for one in given if one[0].cutoff > FAR * config.cutoff]
    near = [one for one in given if one[0].cutoff <= FAR * config.cutoff]

    def together(parts: list[tuple[ModelConfig, Params]], batch: Batch) -> Derivatives:
        found = [derivatives(part, own, batch, recompute) for part, own in parts]
        return jax.tree.map(lambda *leaves: sum(leaves), *found)

    found = together(far, batch)
    if not near:
        return found
    reach = max(part.cutoff for part, _ in near)
    neighbors = batch.neighbors
    chosen = within(safe_norm(edge_vectors(batch)), neighbors, reach)
    width = narrow_width(neighbors.width, reach / config.cutoff)
    if width == neighbors.width:
        rest = together(near, batch)
    else:
        rest = jax.lax.cond(
            jnp.max(jnp.sum(chosen, axis=1)) <= width,
            lambda: together(near, replace(batch, neighbors=narrowed(neighbors, chosen, width))),
            lambda: together(near, batch),  # atoms crowd: slower, and nothing is lost
        )
    return jax.tree.map(jnp.add, found, rest)


FAR = 0.8
"""Parts with a cut-off beyond this share of the longest run on the list as it is."""
SMALL = 64
"""Slots of a list that is not worth cutting down."""


def narrow_width(width: int, ratio: float) -> int:
    """Width of a list cut down to a radius: neighbours grow as its cube in bulk, as its square on surfaces."""
    guess = math.ceil(1.4 * width * ratio**2.5) + 8
    return guess if width > SMALL and guess <= 0.7 * width else width


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
def property_function(config: ModelConfig, scale: float, reduce: str = "sum") -> Callable[[Params, Batch], Array]:
    """The property of a non-energy head (dipole, spatial extent, atomic vectors, learnt property) under `jit`."""
    from ase.data import atomic_masses

    def function(params: Params, batch: Batch) -> Array:
        if isinstance(config, PropertyConfig):
            atomic = scale * atom_energies(config, params, batch, edge_vectors(batch))
            return jax.ops.segment_sum(atomic, batch.system, batch.n_systems)
        output = config.build().apply(params, batch.numbers, edge_vectors(batch), batch.neighbors)
        return assemble(config.head, output, batch, scale, atomic_masses, reduce == "mean")

    return jax.jit(function)
