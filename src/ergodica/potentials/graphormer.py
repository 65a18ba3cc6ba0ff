"""Graphormer-3D: a transformer whose attention is biased by the distances between atoms.

Ying et al., NeurIPS 2021 (arXiv:2106.05234), in the three-dimensional form of Shi et al. (arXiv:2203.04810), which won
the Open Catalyst Challenge; the trunk of Distributional Graphormer, too. The published program attends from every atom
to every other; here attention runs along the edges of the graph, so that periodic cells need no copies of their atoms,
and a cut-off longer than the structure gives the published form. In place of the published head of forces, which three
matrices for x, y and z keep from turning with the structure, forces are derivatives of the energy; the "vector" head
uses one matrix for all three directions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ergodica.errors import InputError
from ergodica.nn.geometry import safe_norm, unit_vectors
from ergodica.nn.layers import Dense, LayerNorm, Projections, faded_softmax
from ergodica.nn.memory import recomputed
from ergodica.nn.pairs import gather, slot_sum, spread
from ergodica.nn.radial import polynomial_cutoff
from ergodica.potentials.heads import AtomOutput
from ergodica.system import Neighbors

__all__ = ["Graphormer", "GraphormerConfig"]

gelu = partial(jax.nn.gelu, approximate=False)


@dataclass(frozen=True)
class GraphormerConfig:
    """Architecture; the defaults are those published, but for the width of the atoms' table and the cut-off.

    Attributes:
        hidden: channels.
        ffn: width of the feed-forward layers.
        layers: different layers.
        rounds: how often all of them are gone through, with the same weights.
        heads: attention heads.
        num_rbf: Gaussians of the distance.
        cutoff: longest edge, Å.
        max_z: atomic numbers below it are known.
        head: "energy", or "vector" for one vector an atom.
        smooth: let attention fade out towards the cut-off, which the published form (False) does not.
    """

    in_ev: ClassVar[bool] = False
    radial: ClassVar[bool] = False
    last_layer: ClassVar[str] = "energy_1"

    hidden: int = 768
    ffn: int = 768
    layers: int = 12
    rounds: int = 4
    heads: int = 48
    num_rbf: int = 128
    cutoff: float = 6.0
    max_z: int = 100
    head: Literal["energy", "vector"] = "energy"
    smooth: bool = True

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise InputError(f"Graphormer: hidden={self.hidden} must be a multiple of heads={self.heads}.")
        if self.cutoff <= 0 or min(self.layers, self.rounds, self.ffn, self.num_rbf) < 1:
            raise InputError("Graphormer: cutoff must be positive; layers, rounds, ffn and num_rbf at least 1.")

    @property
    def loops(self) -> bool:
        """Atoms attend to themselves, so the graph needs an edge from each atom to itself."""
        return True

    def build(self, recompute: bool = True) -> Graphormer:
        """The flax module; without `recompute` it keeps all that a backward pass needs (see `nn.memory`)."""
        return Graphormer(self, recompute)


class Graphormer(nn.Module):
    """Numbers and edge vectors in, per-atom predictions of the head out."""

    config: GraphormerConfig
    recompute: bool = True

    @nn.compact
    def __call__(self, numbers: Int[Array, " A"], vectors: Float[Array, "A K 3"], neighbors: Neighbors) -> AtomOutput:
        """Per-atom scalars [A] for "energy", vectors [A, 3] for "vector"; the other of the two is zero.

        Args:
            numbers: atomic numbers, 0 for padding.
            vectors: receiver → sender, Å; zero on loops.
            neighbors: edges, loops included.
        """
        config = self.config
        distance = safe_norm(vectors)
        valid = neighbors.mask & (distance < config.cutoff)
        fade = polynomial_cutoff(distance, config.cutoff) * valid if config.smooth else 1.0 * valid
        basis = PairGaussians(config.num_rbf, config.max_z, name="gaussians")(numbers, distance, neighbors)
        x = nn.Embed(config.max_z, config.hidden, embedding_init=nn.initializers.normal(0.02), name="embedding")(
            numbers
        )
        x = x + Dense(config.hidden, "neighborhood")(slot_sum(basis * fade[..., None]))
        bias = Dense(config.heads, "bias_1")(gelu(Dense(config.num_rbf, "bias_0")(basis)))
        edges = Bias(bias, fade, valid)
        layers = [GraphormerLayer(config, self.recompute, name=f"layer_{i}") for i in range(config.layers)]
        for _ in range(config.rounds):
            for layer in layers:
                x = layer(x, edges, neighbors)
        x = LayerNorm("final_norm")(x)
        if config.head == "vector":
            directions = unit_vectors(vectors, distance)
            pushed = Attention(config, self.recompute, name="vector_attention")(x, edges, neighbors, directions)
            return AtomOutput(jnp.zeros(len(numbers), x.dtype), Dense(1, "vector", bias=False)(pushed)[..., 0])
        energies = Dense(1, "energy_1")(gelu(Dense(config.hidden, "energy_0")(x)))[:, 0]
        return AtomOutput(energies, jnp.zeros((len(numbers), 3), x.dtype))


class PairGaussians(nn.Module):
    """Normalised Gaussians of a distance that each pair of elements stretches and shifts in its own way."""

    size: int
    max_z: int

    @nn.compact
    def __call__(
        self, numbers: Int[Array, " A"], distance: Float[Array, "A K"], neighbors: Neighbors
    ) -> Float[Array, "A K R"]:
        """Values for each edge; distances in Å."""
        shape = (self.max_z, self.max_z)
        stretch, shift = (
            self.param("stretch", nn.initializers.ones, shape),
            self.param("shift", nn.initializers.zeros, shape),
        )
        spread_out = nn.initializers.uniform(3.0)
        centres, widths = (
            self.param("centres", spread_out, (self.size,)),
            self.param("widths", spread_out, (self.size,)),
        )
        pair = numbers[:, None], numbers[neighbors.index]
        z = (stretch[pair] * distance + shift[pair])[..., None]
        widths = jnp.abs(widths) + 1e-5
        return jnp.exp(-0.5 * ((z - centres) / widths) ** 2) / (math.sqrt(2 * math.pi) * widths)


class Bias(NamedTuple):
    """What attention knows of the edges.

    Attributes:
        logits: added to the logits [A, K, heads].
        fade: factor of the weights [A, K].
        valid: which slots hold an edge [A, K].
    """

    logits: Float[Array, "A K heads"]
    fade: Float[Array, "A K"]
    valid: Bool[Array, "A K"]


class GraphormerLayer(nn.Module):
    """Attention and a perceptron, each on normalised features and added to what was there."""

    config: GraphormerConfig
    recompute: bool = True

    @nn.compact
    def __call__(self, x: Float[Array, "A H"], bias: Bias, neighbors: Neighbors) -> Float[Array, "A H"]:
        """Updated atoms."""
        hidden = self.config.hidden
        attended = Attention(self.config, self.recompute, name="attention")(
            LayerNorm("attention_norm")(x), bias, neighbors
        )
        x = x + Dense(hidden, "attention_out")(attended)
        inner = gelu(Dense(self.config.ffn, "ffn_0")(LayerNorm("ffn_norm")(x)))
        return x + Dense(hidden, "ffn_1")(inner)


class Attention(nn.Module):
    """Biased attention along the edges."""

    config: GraphormerConfig
    recompute: bool = True

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "A H"],
        bias: Bias,
        neighbors: Neighbors,
        directions: Float[Array, "A K 3"] | None = None,
    ) -> Float[Array, "A H"] | Float[Array, "A 3 H"]:
        """The senders' values by weight; with directions, each value goes along the direction of its edge."""
        again = partial(recomputed, when=self.recompute)
        parts = Projections(("q", "k", "v"), self.config.hidden, name="proj")(x)
        weights = again(self._weights)((parts["q"], parts["k"], bias.logits, bias.fade), (neighbors, bias.valid))
        if directions is None:
            return slot_sum(again(self._weighted)((weights, parts["v"]), neighbors))
        return jnp.einsum("aks,akh->ash", directions, self._weighted((weights, parts["v"]), neighbors))

    def _weights(self, arrays: tuple[Array, ...], rest: tuple[Neighbors, Array]) -> Float[Array, "A K heads"]:
        q, k, bias, fade = arrays
        neighbors, valid = rest
        heads, head = self.config.heads, self.config.hidden // self.config.heads
        products = spread(q * head**-0.5, neighbors.width) * gather(k, neighbors)
        logits = products.reshape(*products.shape[:2], heads, head).sum(axis=-1) + bias
        return faded_softmax(logits, (fade * valid)[..., None], axis=1)  # atoms that only pad have no edge

    def _weighted(self, arrays: tuple[Array, Array], neighbors: Neighbors) -> Float[Array, "A K H"]:
        weights, v = arrays
        return gather(v, neighbors) * jnp.repeat(weights, self.config.hidden // self.config.heads, axis=-1)
