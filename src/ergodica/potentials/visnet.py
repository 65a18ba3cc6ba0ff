"""ViSNet: an equivariant graph transformer with vector-scalar interactive message passing.

Wang et al., Nat. Commun. 15, 313 (2024), doi:10.1038/s41467-023-43720-2. Beyond the published programs it takes
periodic cells, and has a smooth mode: energy and forces are continuous when an atom crosses the cut-off.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ergodica.errors import InputError
from ergodica.nn.geometry import angular_features, safe_norm, unit_vectors
from ergodica.nn.layers import ACTIVATIONS, Dense, LayerNorm, Projections, VectorNorm
from ergodica.nn.memory import recomputed
from ergodica.nn.pairs import gather, pair_dot, pair_sum, slot_sum, spread, swap
from ergodica.nn.radial import (
    cosine_cutoff,
    expnorm_basis,
    expnorm_constants,
    gaussian_basis,
    gaussian_constants,
    polynomial_cutoff,
)
from ergodica.potentials.heads import HEADS, AtomOutput
from ergodica.system import Neighbors

__all__ = ["ViSNet", "ViSNetConfig"]


@dataclass(frozen=True)
class ViSNetConfig:
    """Architecture of a ViSNet.

    Attributes:
        hidden: feature channels; a multiple of `heads`.
        layers: message-passing layers.
        heads: attention heads.
        lmax: degree of the spherical harmonics, 1 or 2.
        cutoff: radius of interaction, Å.
        rbf: radial basis, "expnorm" or "gauss".
        num_rbf: number of radial functions.
        trainable_rbf: learn centres and widths.
        vecnorm: normalisation of vector features; "none" for crystals, whose symmetric sites have no vectors.
        trainable_vecnorm: learn a weight per channel in it.
        vertex: dihedral (improper) term on edges or nodes.
        activation: nonlinearity of the scalars.
        attention_activation: nonlinearity of the attention weights.
        max_z: size of the element tables.
        head: what the network predicts: "energy", "dipole", "extent" or "vector".
        smooth: scale attention by 1/sqrt(head size) and bring every message to zero at the cut-off; False reproduces
            the published programs.
        softening: length below which norms of vector features are rounded off in the head, so that energies are smooth
            on sites of high symmetry; 0 is the published form, whose forces and stresses have a cusp there.
    """

    in_ev: ClassVar[bool] = False
    radial: ClassVar[bool] = False
    last_layer: ClassVar[str] = "head/block_1/update_1"

    hidden: int = 128
    layers: int = 6
    heads: int = 8
    lmax: Literal[1, 2] = 2
    cutoff: float = 5.0
    rbf: Literal["expnorm", "gauss"] = "expnorm"
    num_rbf: int = 32
    trainable_rbf: bool = False
    vecnorm: Literal["none", "max_min", "rms"] = "none"
    trainable_vecnorm: bool = False
    vertex: Literal["none", "edge", "node"] = "none"
    activation: Literal["silu", "swish", "ssp", "tanh", "sigmoid"] = "silu"
    attention_activation: Literal["silu", "swish", "ssp", "tanh", "sigmoid"] = "silu"
    max_z: int = 100
    head: Literal["energy", "dipole", "extent", "vector"] = "energy"
    smooth: bool = True
    softening: float = 0.05

    def __post_init__(self) -> None:
        if self.hidden % self.heads or self.hidden % 2:
            raise InputError(f"ViSNet: hidden={self.hidden} must be even and a multiple of heads={self.heads}.")
        if self.lmax not in (1, 2):
            raise InputError(f"ViSNet: lmax={self.lmax} is not supported, choose 1 or 2.")
        if self.cutoff <= 0 or self.layers < 1 or self.num_rbf < 2:
            raise InputError("ViSNet: cutoff must be positive, layers at least 1 and num_rbf at least 2.")

    @property
    def loops(self) -> bool:
        """Atoms attend to themselves, so the graph needs an edge from each atom to itself."""
        return True

    def build(self, recompute: bool = True) -> ViSNet:
        """The flax module; without `recompute` it keeps all that a backward pass needs (see `nn.memory`)."""
        return ViSNet(self, recompute)


@dataclass(frozen=True)
class _Edges:
    """What every layer needs to know of the edges."""

    neighbors: Neighbors
    angular: Float[Array, "A K S"]
    attention: Float[Array, "A K"]
    envelope: Float[Array, "A K"]


class ViSNet(nn.Module):
    """Numbers and edge vectors in, per-atom predictions of the head out."""

    config: ViSNetConfig
    recompute: bool = True

    @nn.compact
    def __call__(self, numbers: Int[Array, " A"], vectors: Float[Array, "A K 3"], neighbors: Neighbors) -> AtomOutput:
        """Per-atom scalars [A] and vectors [A, 3] of the head.

        Args:
            numbers: atomic numbers, 0 for padding.
            vectors: receiver → sender, Å; zero on loops.
            neighbors: edges, loops included.
        """
        config = self.config
        distance = safe_norm(vectors)
        valid = neighbors.mask & (distance < config.cutoff)
        edges = self._edges(vectors, distance, valid, neighbors)
        radial = self._radial_basis(distance)
        x = self._embed(numbers, radial, valid & (distance > 0), edges)
        f = (spread(x, neighbors.width) + gather(x, neighbors)) * Dense(config.hidden, "edge_embedding")(radial)
        v: Array | None = None
        for layer in range(config.layers):
            last = layer == config.layers - 1
            x, v, f = ViSNetLayer(config, last, self.recompute, name=f"layer_{layer}")(x, v, f, edges)
        assert v is not None, "there is at least one layer"
        x = LayerNorm("out_norm")(x)
        v = VectorNorm(config.vecnorm, config.trainable_vecnorm, name="vec_out_norm")(v)
        return HEADS[config.head](config.hidden, config.softening, config.activation, name="head")(x, v)

    def _edges(
        self,
        vectors: Float[Array, "A K 3"],
        distance: Float[Array, "A K"],
        valid: Bool[Array, "A K"],
        neighbors: Neighbors,
    ) -> _Edges:
        config = self.config
        attention = cosine_cutoff(distance, config.cutoff) * valid
        envelope = polynomial_cutoff(distance, config.cutoff) * valid if config.smooth else valid.astype(distance.dtype)
        return _Edges(neighbors, angular_features(unit_vectors(vectors, distance), config.lmax), attention, envelope)

    def _radial_basis(self, distance: Float[Array, "A K"]) -> Float[Array, "A K R"]:
        config = self.config
        constants = expnorm_constants if config.rbf == "expnorm" else gaussian_constants
        means, betas = (jnp.asarray(c, distance.dtype) for c in constants(config.cutoff, config.num_rbf))
        if config.trainable_rbf:
            means = self.param("rbf_means", lambda _: means)
            betas = self.param("rbf_betas", lambda _: betas)
        if config.rbf == "expnorm":
            return expnorm_basis(distance, means, betas, config.cutoff)
        return gaussian_basis(distance, means, betas)

    def _embed(
        self, numbers: Int[Array, " A"], radial: Float[Array, "A K R"], between: Bool[Array, "A K"], edges: _Edges
    ) -> Float[Array, "A H"]:
        """Element embedding mixed with a sum over the neighbours (loops excluded)."""
        config = self.config
        table = nn.initializers.normal(1.0)
        own = nn.Embed(config.max_z, config.hidden, embedding_init=table, name="embedding")(numbers)
        other = nn.Embed(config.max_z, config.hidden, embedding_init=table, name="neighbor_embedding")(numbers)
        weights = Dense(config.hidden, "neighbor_proj")(radial) * (edges.attention * between)[..., None]
        around = pair_sum(other[:, None], weights, edges.neighbors)[:, 0]
        return Dense(config.hidden, "combine")(jnp.concatenate([own, around], axis=-1))


class ViSNetLayer(nn.Module):
    """One vector-scalar interactive message passing layer (eqs. 6-13 of the paper).

    The first layer meets no vectors: every term made from them vanishes exactly, so it has no parameters for them.
    """

    config: ViSNetConfig
    last: bool
    recompute: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "A H"], v: Float[Array, "A S H"] | None, f: Float[Array, "A K H"], edges: _Edges
    ) -> tuple[Float[Array, "A H"], Float[Array, "A S H"], Float[Array, "A K H"]]:
        """Updated scalars, vectors and edge features; the last layer leaves the edges alone."""
        hidden, vertex, neighbors = self.config.hidden, self.config.vertex, edges.neighbors
        envelope = edges.envelope[..., None]
        again = partial(recomputed, when=self.recompute)
        turns = v is not None and not self.last  # whether the edge features change
        by_edge = self._project("edge", f, "dk", "dv", *["f"] * turns, *["f2"] * (turns and vertex == "edge"))
        by_node = self._project("node", LayerNorm("layernorm")(x), "q", "k", "v")
        keys = {"dk": by_edge.pop("dk"), "dv": by_edge.pop("dv"), "attention": edges.attention}
        message = again(self._attend)({**by_node, **keys}, neighbors)
        out = Dense((4 if vertex == "node" else 3) * hidden, "o_proj")(slot_sum(message))
        o1, o2, *rest = jnp.split(out, out.shape[-1] // hidden, axis=-1)
        x = x + rest[-1]
        by_message = self._project("message", message, "s2", *["s1"] * (v is not None))
        along = again(self._send_directions)((edges.angular, by_message["s2"], envelope), None)
        if v is None:
            return x, along, f
        vn = VectorNorm(self.config.vecnorm, self.config.trainable_vecnorm, name="vec_layernorm")(v)
        by_vector = self._project("vector", vn, "vec1", "vec2", "vec3", bias=False)
        x = x + jnp.sum(by_vector["vec1"] * by_vector["vec2"], axis=1) * o2
        turned = ["w_trg", "w_src"] * turns + ["t_trg", "t_src"] * (vertex == "node" or (turns and vertex == "edge"))
        sides = self._project("side", vn, *turned, bias=False) if turned else {}
        if vertex == "node":
            x = x + jnp.sum(self._dihedral(sides, edges.angular) * envelope, axis=1) * rest[0]
        v = v + along + again(self._send_vectors)((vn, by_message["s1"], envelope), neighbors)
        v = v + by_vector["vec3"] * o1[:, None]
        return x, v, f + again(self._turn)((sides, by_edge, edges.angular), neighbors) if turns else f

    def _project(self, name: str, x: Float[Array, "... H"], *parts: str, bias: bool = True) -> dict[str, Array]:
        return Projections(parts, self.config.hidden, bias, name=f"{name}_proj")(x)

    def _act(self, x: Array) -> Array:
        return ACTIVATIONS[self.config.activation](x)

    def _attend(self, arrays: dict[str, Array], neighbors: Neighbors) -> Float[Array, "A K H"]:
        """Messages v_j · dv · attention, without softmax; zero where there is no edge."""
        config = self.config
        head = config.hidden // config.heads
        products = spread(arrays["q"], neighbors.width) * gather(arrays["k"], neighbors) * self._act(arrays["dk"])
        logits = products.reshape(*products.shape[:2], config.heads, head).sum(axis=-1)
        if config.smooth:
            logits = logits * head**-0.5
        weights = ACTIVATIONS[config.attention_activation](logits) * arrays["attention"][..., None]
        return gather(arrays["v"], neighbors) * self._act(arrays["dv"]) * jnp.repeat(weights, head, axis=-1)

    def _send_directions(self, arrays: tuple[Array, Array, Array], _: None) -> Float[Array, "A S H"]:
        """Sum over the edges of their directions, weighted channel by channel."""
        angular, weights, envelope = arrays
        return jnp.einsum("aks,akh->ash", angular, self._act(weights) * envelope)

    def _send_vectors(self, arrays: tuple[Array, Array, Array], neighbors: Neighbors) -> Float[Array, "A S H"]:
        """Sum over the edges of the senders' vectors, weighted channel by channel."""
        vectors, weights, envelope = arrays
        return pair_sum(vectors, self._act(weights) * envelope, neighbors)

    def _rejected_dot(self, plain: Array, a_s: Array | None, b_s: Array | None) -> Array:
        """Scalar product of the parts of a and b orthogonal to the edge: a·b + (a·s)(b·s)(|s|² - 2).

        |s|² is the number of degrees, so for lmax = 2 the rejection changes nothing; on loops s = 0.
        """
        return plain if a_s is None or b_s is None else plain - a_s * b_s

    def _along(self, a: Float[Array, "A S H"], angular: Float[Array, "A K S"]) -> Float[Array, "A K H"] | None:
        """Component along the edge, needed for lmax = 1 only."""
        return jnp.einsum("ash,aks->akh", a, angular) if self.config.lmax == 1 else None

    def _dihedral(self, sides: dict[str, Array], angular: Float[Array, "A K S"]) -> Array:
        """Product of two projections of the receiver's vectors, both rejected from the edge [A, K or 1, H]."""
        a, b = sides["t_trg"], sides["t_src"]
        return self._rejected_dot(jnp.sum(a * b, axis=1)[:, None], self._along(a, angular), self._along(b, angular))

    def _turn(self, arrays: tuple[dict, dict, Array], neighbors: Neighbors) -> Float[Array, "A K H"]:
        """Change of the edge features from the angle between the vectors of both ends."""
        sides, by_edge, angular = arrays
        target, source = sides["w_trg"], sides["w_src"]
        along_source = self._along(source, angular)
        if along_source is not None:  # seen from the other end the edge points the other way
            along_source = -swap(along_source, neighbors)
        dot = self._rejected_dot(pair_dot(target, source, neighbors), self._along(target, angular), along_source)
        change = self._act(by_edge["f"]) * dot
        if self.config.vertex == "edge":
            change = change + self._act(by_edge["f2"]) * self._dihedral(sides, angular)
        return change
