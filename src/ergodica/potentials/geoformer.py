"""Geoformer, a geometric transformer with interatomic positional encoding.

Wang et al., NeurIPS 2023 (arXiv:2311.15216). The published program keeps all pairs of atoms in dense matrices and masks
those beyond the cut-off; nothing flows through the masked ones, so here only the others exist. It predicts properties
alone; forces come from its derivatives, through norms that have one at zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ergodica.errors import InputError
from ergodica.nn.geometry import safe_norm, unit_vectors
from ergodica.nn.layers import ACTIVATIONS, Dense, LayerNorm, Projections, VectorNorm
from ergodica.nn.memory import recomputed
from ergodica.nn.pairs import gather, pair_dot, slot_sum, spread
from ergodica.nn.radial import cosine_cutoff, expnorm_basis, expnorm_constants, polynomial_cutoff
from ergodica.potentials.heads import AtomOutput, ScalarHead
from ergodica.system import Neighbors

__all__ = ["Geoformer", "GeoformerConfig"]


@dataclass(frozen=True)
class GeoformerConfig:
    """Architecture.

    Attributes:
        hidden: channels.
        ffn: width of the feed-forward layers.
        layers: interaction layers.
        heads: attention heads.
        cutoff: longest edge, Å.
        num_rbf: radial functions.
        trainable_rbf: whether their centres and widths are parameters.
        vecnorm: normalisation of the vectors, "none" or "max_min".
        activation: nonlinearity of attention and feed-forward layers.
        max_z: atomic numbers below it are known.
        head: "energy", "dipole" or "extent".
        smooth: let every message vanish at the cut-off, which the published form (False) does not.
    """

    in_ev: ClassVar[bool] = False
    radial: ClassVar[bool] = False
    last_layer: ClassVar[str] = "head/dense_1"

    hidden: int = 512
    ffn: int = 2048
    layers: int = 9
    heads: int = 8
    cutoff: float = 5.0
    num_rbf: int = 64
    trainable_rbf: bool = True
    vecnorm: Literal["none", "max_min"] = "max_min"
    activation: Literal["silu", "swish", "ssp", "tanh", "sigmoid"] = "silu"
    max_z: int = 100
    head: Literal["energy", "dipole", "extent"] = "energy"
    smooth: bool = True

    def __post_init__(self) -> None:
        if self.hidden % self.heads or self.hidden % 2:
            raise InputError(f"Geoformer: hidden={self.hidden} must be even and a multiple of heads={self.heads}.")
        if self.cutoff <= 0 or min(self.layers, self.ffn) < 1 or self.num_rbf < 2:
            raise InputError("Geoformer: cutoff must be positive, layers and ffn at least 1 and num_rbf at least 2.")

    @property
    def loops(self) -> bool:
        """Atoms attend to themselves, so the graph needs an edge from each atom to itself."""
        return True

    def build(self, recompute: bool = True) -> Geoformer:
        """The flax module; without `recompute` it keeps all that a backward pass needs (see `nn.memory`)."""
        return Geoformer(self, recompute)


@dataclass(frozen=True)
class _Edges:
    """What every layer needs to know of the edges."""

    neighbors: Neighbors
    directions: Float[Array, "A K 3"]
    attention: Float[Array, "A K"]


class Geoformer(nn.Module):
    """Numbers and edge vectors in, per-atom predictions of the head out."""

    config: GeoformerConfig
    recompute: bool = True

    @nn.compact
    def __call__(self, numbers: Int[Array, " A"], vectors: Float[Array, "A K 3"], neighbors: Neighbors) -> AtomOutput:
        """Per-atom scalars [A] of the head; the vectors [A, 3] that come with them are zero.

        Args:
            numbers: atomic numbers, 0 for padding.
            vectors: receiver → sender, Å; zero on loops.
            neighbors: edges, loops included.
        """
        config = self.config
        distance = safe_norm(vectors)
        valid = neighbors.mask & (distance < config.cutoff)
        envelope = polynomial_cutoff(distance, config.cutoff) * valid if config.smooth else valid.astype(distance.dtype)
        edges = _Edges(
            neighbors,
            unit_vectors(vectors, distance) * envelope[..., None],
            cosine_cutoff(distance, config.cutoff) * valid,
        )
        table = nn.initializers.normal(1.0)
        x = nn.Embed(config.max_z, config.hidden, embedding_init=table, name="embedding")(numbers)
        x = LayerNorm("in_norm")(x)
        e = ACTIVATIONS[config.activation](Dense(config.hidden, "edge_embedding")(self._radial_basis(distance)))
        for layer in range(config.layers):
            last = layer == config.layers - 1
            x, e = GeoformerLayer(config, last, self.recompute, name=f"layer_{layer}")(x, e, edges)
        head = ScalarHead(config.hidden, activation=config.activation, name="head")
        return head(x, jnp.zeros((len(numbers), 3, 1), x.dtype))

    def _radial_basis(self, distance: Float[Array, "A K"]) -> Float[Array, "A K R"]:
        config = self.config
        means, betas = (jnp.asarray(c, distance.dtype) for c in expnorm_constants(config.cutoff, config.num_rbf))
        if config.trainable_rbf:
            means = self.param("rbf_means", lambda _: means)
            betas = self.param("rbf_betas", lambda _: betas)
        return expnorm_basis(distance, means, betas, config.cutoff)


class GeoformerLayer(nn.Module):
    """Attention along the edges, and edges that learn from the vectors of both their ends (eqs. 5-10 of the paper)."""

    config: GeoformerConfig
    last: bool
    recompute: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "A H"], e: Float[Array, "A K H"], edges: _Edges
    ) -> tuple[Float[Array, "A H"], Float[Array, "A K H"]]:
        """Updated atoms and edges; the last layer leaves the edges, which nobody reads, alone."""
        hidden, neighbors = self.config.hidden, edges.neighbors
        act = ACTIVATIONS[self.config.activation]
        again = partial(recomputed, when=self.recompute)
        by_node = Projections(("q", "k", "v"), hidden, name="node_proj")(x)
        by_edge = Projections(("dk",) if self.last else ("dk", "change"), hidden, name="edge_proj")(e)
        arrays = {**by_node, "dk": by_edge["dk"], "attention": edges.attention}
        message = again(self._attend)(arrays, neighbors)
        if not self.last:
            pushed = Dense(hidden, "vector_proj")(message)
            vectors = jnp.einsum("aks,akh->ash", edges.directions, pushed)
            vectors = VectorNorm(self.config.vecnorm, name="vector_norm")(vectors)
            sides = Projections(("receiver", "sender"), hidden, bias=False, name="side_proj")(vectors)
            e = e + again(self._turn)((sides["receiver"], sides["sender"], by_edge["change"]), neighbors)
        x = LayerNorm("attention_norm")(x + slot_sum(message))
        forward = Dense(hidden, "ffn_1")(act(Dense(self.config.ffn, "ffn_0")(x)))
        return LayerNorm("final_norm")(x + forward), e

    def _attend(self, arrays: dict[str, Array], neighbors: Neighbors) -> Float[Array, "A K H"]:
        """Messages v_j · attention, without softmax; zero where there is no edge."""
        act = ACTIVATIONS[self.config.activation]
        heads, head = self.config.heads, self.config.hidden // self.config.heads
        products = spread(arrays["q"], neighbors.width) * gather(arrays["k"], neighbors) * act(arrays["dk"])
        logits = products.reshape(*products.shape[:2], heads, head).sum(axis=-1)
        weights = act(logits) * arrays["attention"][..., None]
        return gather(arrays["v"], neighbors) * jnp.repeat(weights, head, axis=-1)

    def _turn(self, arrays: tuple[Array, Array, Array], neighbors: Neighbors) -> Float[Array, "A K H"]:
        """Change of the edge features from the angle between the vectors of both ends."""
        receiver, sender, change = arrays
        return pair_dot(receiver, sender, neighbors) * ACTIVATIONS[self.config.activation](change)
