"""The deterministic weights behind the numbers in tests/reference: a formula instead of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = [
    "geoformer_shapes",
    "geoformer_state",
    "m3gnet_shapes",
    "m3gnet_state",
    "splitmix",
    "visnet_shapes",
    "visnet_state",
    "weight",
]

Shapes = dict[str, tuple[int, ...]]


def splitmix(count: int, stream: int) -> np.ndarray:
    """The first numbers of a stream, uniform in [-1, 1): splitmix64 of the counters stream·2³² + i."""
    with np.errstate(over="ignore"):
        x = (np.uint64(stream) << np.uint64(32)) + np.arange(count, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * (2.0 / 2**53) - 1.0


def weight(name: str, shape: tuple[int, ...], gain: float, embedding: float) -> np.ndarray:
    """The tensor that stands for an upstream parameter of this name and shape."""
    stream = sum((place + 1) * ord(letter) for place, letter in enumerate(name)) % 100003
    unit = splitmix(int(np.prod(shape)), stream) * np.sqrt(3.0)  # variance 1
    if len(shape) >= 2:
        values = embedding * unit if "embedding" in name else gain * unit / np.sqrt(shape[-1])
    else:
        values = 1 + 0.1 * unit if "norm" in name and name.endswith("weight") else 0.1 * unit
    return values.reshape(shape)


def visnet_state(kwargs: Mapping[str, Any], gain: float, embedding: float) -> dict[str, np.ndarray]:
    """State dict of PyG's ViSNet(**kwargs), without its buffers."""
    return {name: weight(name, shape, gain, embedding) for name, shape in visnet_shapes(**kwargs).items()}


def visnet_shapes(
    hidden_channels: int = 128,
    num_layers: int = 6,
    num_rbf: int = 32,
    max_z: int = 100,
    *,
    vertex: bool = False,
    trainable_vecnorm: bool = False,
    **_: Any,
) -> Shapes:
    """Names and shapes of the parameters of PyG's ViSNet (2.6.1)."""
    hidden, root = hidden_channels, "representation_model."
    shapes: Shapes = {
        f"{root}embedding.weight": (max_z, hidden),
        f"{root}neighbor_embedding.embedding.weight": (max_z, hidden),
        **_linear(f"{root}neighbor_embedding.distance_proj", hidden, num_rbf),
        **_linear(f"{root}neighbor_embedding.combine", hidden, 2 * hidden),
        **_linear(f"{root}edge_embedding.edge_proj", hidden, num_rbf),
        **_norm(f"{root}out_norm", hidden),
        "prior_model.atomref.weight": (max_z, 1),
    }
    for layer in range(num_layers):
        shapes |= _layer(f"{root}vis_mp_layers.{layer}.", hidden, vertex=vertex, last=layer == num_layers - 1)
        if trainable_vecnorm:
            shapes[f"{root}vis_mp_layers.{layer}.vec_layernorm.weight"] = (hidden,)
    if trainable_vecnorm:
        shapes[f"{root}vec_out_norm.weight"] = (hidden,)
    for block, (width, out) in enumerate(((hidden, hidden // 2), (hidden // 2, 1))):
        head = f"output_model.output_network.{block}."
        shapes |= _linear(f"{head}vec1_proj", width, width, bias=False)
        shapes |= _linear(f"{head}vec2_proj", out, width, bias=False)
        shapes |= _linear(f"{head}update_net.0", width, 2 * width)
        shapes |= _linear(f"{head}update_net.2", 2 * out, width)
    return shapes


def _layer(root: str, hidden: int, *, vertex: bool, last: bool) -> Shapes:
    shapes = _norm(f"{root}layernorm", hidden) | _linear(f"{root}vec_proj", 3 * hidden, hidden, bias=False)
    outputs = {"q": 1, "k": 1, "v": 1, "dk": 1, "dv": 1, "s": 2, "o": 3} | ({} if last else {"f": 2 if vertex else 1})
    for name, times in outputs.items():
        shapes |= _linear(f"{root}{name}_proj", times * hidden, hidden)
    for name in () if last else ("w_src", "w_trg", *(("t_src", "t_trg") if vertex else ())):
        shapes |= _linear(f"{root}{name}_proj", hidden, hidden, bias=False)
    return shapes


def _linear(name: str, out: int, width: int, *, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (out, width), **({f"{name}.bias": (out,)} if bias else {})}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def m3gnet_state(units: int = 128, blocks: int = 3, elements: int = 95) -> dict[str, np.ndarray]:
    """State dict of MatterSim's M3GNet without the buffers of its bases; the energy scale is the reference file's."""
    z = np.arange(elements)
    scale = {"normalizer.scale": 1 + 0.1 * np.sin(z), "normalizer.shift": -1 + 0.5 * np.sin(0.5 * z)}
    return scale | {
        name: weight(name, shape, 1.0, 1.0) for name, shape in m3gnet_shapes(units, blocks, elements).items()
    }


def m3gnet_shapes(units: int, blocks: int, elements: int) -> Shapes:
    """Names and shapes of the parameters of MatterSim's M3GNet (1.2)."""
    table = "atom_embedding.mlp.0.linear.weight"
    shapes: Shapes = {table: (units, elements), "edge_encoder.mlp.0.linear.weight": (units, 4)}
    for part in ("g", "sigma"):
        for layer, out in enumerate((units, units, 1)):
            shapes |= _linear(f"final.{part}.{layer}.linear", out, units)
    for block in range(blocks):
        root = f"graph_conv.{block}."
        shapes |= _linear(f"{root}three_body.atom_mlp.linear", 16, units)
        for target in ("atom", "edge"):
            shapes |= _linear(f"{root}edge_layer_{target}.linear", units, 4, bias=False)
        for part in ("g", "sigma"):
            shapes |= _linear(f"{root}three_body.edge_gate_mlp.{part}.0.linear", units, 16, bias=False)
            for target in ("atom", "edge"):
                shapes |= _linear(f"{root}gated_mlp_{target}.{part}.0.linear", units, 3 * units)
                shapes |= _linear(f"{root}gated_mlp_{target}.{part}.1.linear", units, units)
    return shapes


def geoformer_state(kwargs: Mapping[str, Any], gain: float, embedding: float) -> dict[str, np.ndarray]:
    """State dict of AI2BMD's Geoformer, without its buffers."""
    return {name: weight(name, shape, gain, embedding) for name, shape in geoformer_shapes(**kwargs).items()}


def geoformer_shapes(
    max_z: int, embedding_dim: int, ffn_embedding_dim: int, num_layers: int, num_rbf: int, **_: Any
) -> Shapes:
    """Names and shapes of the parameters of AI2BMD's Geoformer."""
    width, root = embedding_dim, "geo_encoder."
    shapes: Shapes = {
        f"{root}embedding.weight": (max_z, width),
        **_linear(f"{root}dist_proj", width, num_rbf),
        **_norm(f"{root}x_in_layernorm", width),
        **_linear("geo_decoder.classifier.0", width // 2, width),
        **_linear("geo_decoder.classifier.2", 1, width // 2),
    }
    for layer in range(num_layers):
        own = f"{root}layers.{layer}."
        for name in ("k_proj", "q_proj", "v_proj", "dk_proj", "du_update_proj", "edge_attr_update"):
            shapes |= _linear(f"{own}self_attn.{name}", width, width)
        shapes |= _linear(f"{own}self_attn.dihedral_proj", 2 * width, width, bias=False)
        shapes |= _linear(f"{own}ffn.0", ffn_embedding_dim, width) | _linear(f"{own}ffn.3", width, ffn_embedding_dim)
        shapes |= _norm(f"{own}attn_layer_norm", width) | _norm(f"{own}final_layer_norm", width)
    return shapes
