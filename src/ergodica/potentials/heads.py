"""Heads: what a network's scalar and vector features are turned into, atom by atom.

An energy head gives one number an atom; the others give what their molecular property is assembled from
(`assemble`): a dipole moment, an electronic spatial extent, or a vector per atom.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.nn.geometry import safe_norm
from ergodica.nn.layers import ACTIVATIONS, Dense, GatedEquivariantBlock
from ergodica.system import Batch

__all__ = ["HEADS", "AtomOutput", "assemble"]


class AtomOutput(NamedTuple):
    """What a head says of every atom: a scalar [A] and a vector [A, 3]."""

    scalar: Float[Array, " A"]
    vector: Float[Array, "A 3"]


class GatedHead(nn.Module):
    """Two gated equivariant blocks, H → H/2 → 1."""

    hidden: int
    softening: float = 0.0
    activation: str = "silu"

    @nn.compact
    def __call__(self, x: Float[Array, "A H"], v: Float[Array, "A S H"]) -> AtomOutput:
        """One scalar and one vector (degree 1) an atom."""
        half = self.hidden // 2
        x, v = GatedEquivariantBlock(half, self.hidden, self.softening, self.activation, True, name="block_0")(x, v)
        x, v = GatedEquivariantBlock(1, half, self.softening, self.activation, name="block_1")(x, v)
        return AtomOutput(x[:, 0], v[:, :3, 0])


class DipoleHead(nn.Module):
    """The gated head on the degree-1 features alone: partial charge and atomic dipole."""

    hidden: int
    softening: float = 0.0
    activation: str = "silu"

    @nn.compact
    def __call__(self, x: Float[Array, "A H"], v: Float[Array, "A S H"]) -> AtomOutput:
        """Partial charge and atomic dipole."""
        return GatedHead(self.hidden, self.softening, self.activation, name="gated")(x, v[:, :3])


class ScalarHead(nn.Module):
    """A plain perceptron H → H/2 → 1 on the scalars."""

    hidden: int
    softening: float = 0.0
    activation: str = "silu"

    @nn.compact
    def __call__(self, x: Float[Array, "A H"], v: Float[Array, "A S H"]) -> AtomOutput:
        """One scalar an atom; the vectors are not used."""
        hidden = ACTIVATIONS[self.activation](Dense(self.hidden // 2, "dense_0")(x))
        return AtomOutput(Dense(1, "dense_1")(hidden)[:, 0], jnp.zeros_like(v[:, :3, 0]))


HEADS: dict[str, type[nn.Module]] = {
    "energy": GatedHead,
    "dipole": DipoleHead,
    "extent": ScalarHead,
    "vector": GatedHead,
}


def _from_centre_of_mass(batch: Batch, masses: Float[np.ndarray, " Z"]) -> Float[Array, "A 3"]:
    mass = jnp.asarray(masses, batch.positions.dtype)[batch.numbers] * (batch.numbers > 0)
    total = jax.ops.segment_sum(mass, batch.system, batch.n_systems)
    moment = jax.ops.segment_sum(mass[:, None] * batch.positions, batch.system, batch.n_systems)
    centre = moment / jnp.where(total > 0, total, 1.0)[:, None]
    return batch.positions - centre[batch.system]


def assemble(
    kind: str,
    output: AtomOutput,
    batch: Batch,
    scale: float,
    masses: Float[np.ndarray, " Z"],
    mean: bool = False,
) -> Array:
    """The property of each structure (of each atom for "vector") from the head's per-atom output.

    Args:
        kind: "dipole" → |μ| [B], "extent" → ⟨R²⟩ [B], "vector" → [A, 3].
        output: per-atom output of the head.
        batch: the structures.
        scale: factor to physical units, applied before the norm of a dipole is taken.
        masses: atomic masses by atomic number, amu; their centre is the origin.
        mean: over the atoms instead of their sum, before the norm of a dipole is taken.
    """
    real = (batch.numbers > 0)[:, None]
    if kind == "vector":
        return jnp.where(real, output.vector * scale, 0.0)
    arm = _from_centre_of_mass(batch, masses)
    count = jax.ops.segment_sum(real[:, 0].astype(arm.dtype), batch.system, batch.n_systems)
    share = scale / jnp.maximum(count, 1.0)[batch.system, None] if mean else scale
    if kind == "dipole":
        atomic = (output.scalar[:, None] * arm + output.vector) * share
        return safe_norm(jax.ops.segment_sum(jnp.where(real, atomic, 0.0), batch.system, batch.n_systems))
    atomic = output.scalar[:, None] * jnp.sum(arm * arm, axis=-1, keepdims=True) * share
    return jax.ops.segment_sum(jnp.where(real, atomic, 0.0)[:, 0], batch.system, batch.n_systems)
