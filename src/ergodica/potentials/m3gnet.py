"""M3GNet in the form of MatterSim, an invariant network of atoms, bonds and bond angles, without a list of triplets.

Chen & Ong 2022 (doi:10.1038/s43588-022-00349-3); Yang et al. 2024 (MatterSim, arXiv:2405.04967). Three things make it
cheap, none of them an approximation: the three-body sum is a product over edges (`nn.threebody`) and the same in all
blocks but for a gate of the atom; the first layer of each perceptron on (atom, atom, edge) is made from the atoms'
parts, once an atom; layers on one input are one product.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.errors import InputError
from ergodica.nn.geometry import safe_norm, unit_vectors
from ergodica.nn.layers import Dense, Projections
from ergodica.nn.memory import recomputed
from ergodica.nn.pairs import gather, slot_sum, spread
from ergodica.nn.radial import smooth_bessel_basis, smooth_bessel_constants
from ergodica.nn.repulsion import repulsion
from ergodica.nn.threebody import THREEBODY, threebody_sum
from ergodica.potentials.heads import AtomOutput
from ergodica.system import Neighbors

__all__ = ["M3GNet", "M3GNetConfig"]

RADIAL = 4
silu, sigmoid = jax.nn.silu, jax.nn.sigmoid


@dataclass(frozen=True)
class M3GNetConfig:
    """Architecture; the defaults are those of mattersim-v1.0.0-1M.

    Attributes:
        units: channels of atoms and edges.
        blocks: interaction blocks.
        cutoff: longest edge, Å.
        threebody_cutoff: longest edge of an angle, Å.
        max_z: atomic numbers below it are known.
        single_constants: constants of the radial basis rounded to single precision, as in the published program.
        core: add the repulsion of the screened nuclei (`nn.repulsion`), so that atoms never fuse.
    """

    head: ClassVar[str] = "energy"
    loops: ClassVar[bool] = False
    radial: ClassVar[bool] = False
    last_layer: ClassVar[str] = "readout_2_value"

    units: int = 128
    blocks: int = 3
    cutoff: float = 5.0
    threebody_cutoff: float = 4.0
    max_z: int = 95
    single_constants: bool = False
    core: bool = False

    @property
    def in_ev(self) -> bool:
        """Whether the output is in eV."""
        return self.core

    def __post_init__(self) -> None:
        if min(self.units, self.blocks) < 1:
            raise InputError("M3GNet: units and blocks must be at least 1.")
        if not 0 < self.threebody_cutoff <= self.cutoff:
            raise InputError("M3GNet: threebody_cutoff must be positive and no longer than cutoff.")

    def build(self, recompute: bool = True) -> M3GNet:
        """The flax module; without `recompute` it keeps all that a backward pass needs (see `nn.memory`)."""
        return M3GNet(self, recompute)


class M3GNet(nn.Module):
    """Numbers and edge vectors in, atomic energies out."""

    config: M3GNetConfig
    recompute: bool = True

    @nn.compact
    def __call__(self, numbers: Int[Array, " A"], vectors: Float[Array, "A K 3"], neighbors: Neighbors) -> AtomOutput:
        """Per-atom energies in units of the output; the vectors that come with them are zero.

        Args:
            numbers: atomic numbers, 0 for padding.
            vectors: receiver → sender, Å.
            neighbors: edges.
        """
        config = self.config
        length = safe_norm(vectors)
        valid = neighbors.mask & (length > 0) & (length < config.cutoff)
        length = jnp.where(valid, length, config.cutoff)  # where every function of it vanishes
        constants = smooth_bessel_constants(
            config.cutoff, RADIAL, np.float32 if config.single_constants else np.float64
        )
        radial = smooth_bessel_basis(length, constants) * valid[..., None]
        angles = threebody_sum(unit_vectors(vectors, length), length, config.threebody_cutoff, config.cutoff)
        x = nn.Embed(config.max_z, config.units, embedding_init=_small, name="embedding")(numbers)
        e = silu(Dense(config.units, "edge_encoder", bias=False)(radial))
        for block in range(config.blocks):
            x, e = M3GNetBlock(config.units, self.recompute, name=f"block_{block}")(x, e, radial, angles, neighbors)
        scale = self.param("element_scale", nn.initializers.ones, (config.max_z,))
        energies = self._readout(x) * scale.astype(x.dtype)[numbers]
        if config.core:
            energies = energies + repulsion(numbers, length, valid, neighbors)
        return AtomOutput(energies, jnp.zeros((len(numbers), 3), x.dtype))

    def _readout(self, x: Float[Array, "A U"]) -> Float[Array, " A"]:
        first = Projections(("value", "gate"), self.config.units, name="readout_0")(x)
        value, gate = (silu(first[part]) for part in ("value", "gate"))
        value = silu(Dense(self.config.units, "readout_1_value")(value))
        gate = silu(Dense(self.config.units, "readout_1_gate")(gate))
        return (Dense(1, "readout_2_value")(value) * sigmoid(Dense(1, "readout_2_gate")(gate)))[:, 0]


class M3GNetBlock(nn.Module):
    """Angles into edges, atoms into edges, edges into atoms; both perceptrons see the atoms as the block found them."""

    units: int
    recompute: bool = True

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "A U"],
        e: Float[Array, "A K U"],
        radial: Float[Array, "A K R"],
        angles: Float[Array, "A K 16"],
        neighbors: Neighbors,
    ) -> tuple[Float[Array, "A U"], Float[Array, "A K U"]]:
        """Updated atoms and edges."""
        again = partial(recomputed, when=self.recompute)
        gate = sigmoid(Dense(THREEBODY, "angle_gate")(x))
        e = again(_bend)((e, angles, gate, self._kernel("angle", THREEBODY)), None)
        sides = ("edge_value", "edge_gate", "atom_value", "atom_gate")
        own = Projections(sides, self.units, name="receiver")(x)
        other = Projections(sides, self.units, bias=False, name="sender")(x)
        weight = self._kernel("radial", RADIAL)
        e = again(_renew)((e, *self._perceptron("edge", e, own, other, neighbors), radial, weight[:, 0]), None)
        message = again(_message)((*self._perceptron("atom", e, own, other, neighbors), radial, weight[:, 1]), None)
        return x + slot_sum(message), e

    def _kernel(self, name: str, width: int) -> Float[Array, "W 2 U"]:
        """Weights of two narrow layers without bias, whose outputs are cheaper to make again than to keep."""
        init = nn.initializers.xavier_uniform(in_axis=0, out_axis=2, batch_axis=1)
        return self.param(name, init, (width, 2, self.units))

    def _perceptron(
        self,
        name: str,
        e: Float[Array, "A K U"],
        own: dict[str, Float[Array, "A U"]],
        other: dict[str, Float[Array, "A U"]],
        neighbors: Neighbors,
    ) -> list[Float[Array, "A K U"]]:
        """Value and gate of a perceptron of two layers on (receiver, sender, edge), before their last activation."""
        again = partial(recomputed, when=self.recompute)

        def hidden(arrays: tuple[Array, Array, Array], neighbors: Neighbors) -> Array:
            own, other, edge = arrays
            return silu(spread(own, neighbors.width) + gather(other, neighbors) + edge)

        inner = Projections(("value", "gate"), self.units, bias=False, name=f"{name}_0")(e)
        return [
            Dense(self.units, f"{name}_1_{part}")(
                again(hidden)((own[f"{name}_{part}"], other[f"{name}_{part}"], inner[part]), neighbors)
            )
            for part in ("value", "gate")
        ]


def _layer(inputs: Float[Array, "A K W"], kernel: Float[Array, "W U"]) -> Float[Array, "A K U"]:
    return (inputs.reshape(-1, inputs.shape[-1]) @ kernel).reshape(*inputs.shape[:-1], -1)


def _bend(arrays: tuple[Array, ...], _: None) -> Float[Array, "A K U"]:
    """Edges with what the angles add."""
    e, angles, gate, kernel = arrays
    angles = angles * gate[:, None]
    return e + silu(_layer(angles, kernel[:, 0])) * sigmoid(_layer(angles, kernel[:, 1]))


def _renew(arrays: tuple[Array, ...], _: None) -> Float[Array, "A K U"]:
    """Edges with what the atoms at their ends add."""
    e, value, gate, radial, kernel = arrays
    return e + silu(value) * sigmoid(gate) * _layer(radial, kernel)


def _message(arrays: tuple[Array, ...], _: None) -> Float[Array, "A K U"]:
    """What the edges bring to their receivers."""
    value, gate, radial, kernel = arrays
    return silu(value) * sigmoid(gate) * silu(_layer(radial, kernel))


def _small(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    """The published start of the element table."""
    return jax.random.uniform(key, shape, dtype, -0.05, 0.05)
