"""Weights of AI2BMD's Geoformer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ergodica.errors import InputError
from ergodica.potentials.geoformer import GeoformerConfig
from ergodica.potentials.upstream.reader import Reader, State, Translated, joined

__all__ = ["is_geoformer", "translate_geoformer"]

TABLE = "geo_encoder.embedding.weight"
DEFAULTS: dict[str, Any] = {
    "max_z": 100, "embedding_dim": 512, "ffn_embedding_dim": 2048, "num_layers": 9, "num_attention_heads": 8,
    "cutoff": 5.0, "num_rbf": 64, "rbf_trainable": True, "norm_type": "max_min", "decoder_type": "scalar",
    "aggr": "sum", "mean": None, "std": None, "prior_model": None, "num_classes": 1, "pad_token_id": 0,
    "activation_function": "silu", "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
}  # fmt: skip
"""Arguments of the published configuration, with their defaults."""
SPELLED = {"num_heads": "num_attention_heads", "trainable_rbf": "rbf_trainable"}
"""Arguments as the published training spells them, whose checkpoints keep them so."""
REQUIRED = ("max_z", "embedding_dim", "ffn_embedding_dim", "num_layers", "num_attention_heads", "cutoff", "num_rbf")
HEADS = {"scalar": "energy", "dipole_moment": "dipole", "electronic_spatial_extent": "extent"}


def is_geoformer(state: State) -> bool:
    """Whether a state dict is one of Geoformer."""
    return any(name.removeprefix("model.") == TABLE for name in state)


def translate_geoformer(
    state: State, kwargs: Mapping[str, Any] | None, hyper: Mapping[str, Any] | None = None
) -> Translated:
    """Turn the state dict of a Geoformer into configuration and parameters.

    Args:
        state: tensors by upstream name, with or without the prefix "model.".
        kwargs: arguments of the published configuration (a bare state dict doesn't carry them).
        hyper: `hyper_parameters` of a Lightning checkpoint, which say more than the network needs.

    Raises:
        InputError: a tensor is missing, left over, of another shape, or the arguments are unknown.
    """
    state = {name.removeprefix("model."): np.asarray(value) for name, value in state.items()}
    unknown = sorted(set(kwargs or {}) - set(DEFAULTS))
    if unknown:
        raise InputError(f"Unknown Geoformer argument '{unknown[0]}'; known: {', '.join(DEFAULTS)}.")
    given = DEFAULTS | _published(hyper) | dict(kwargs or {})
    config = _config(given)
    reader = Reader(state)
    params = _parameters(reader, config)
    reference = reader.optional("prior_model.atomref.weight")
    scale, shift = (reader.optional(name) for name in ("std", "mean"))
    for name in ("prior_model.initial_atomref", "geo_decoder.atomic_mass"):
        reader.optional(name)
    reader.finish()
    return Translated(
        config=config,
        params={"params": params},
        scale=float(given["std"] or 1.0) if scale is None else float(scale),
        shift=float(given["mean"] or 0.0) if shift is None else float(shift),
        reference=np.zeros(config.max_z) if reference is None else np.asarray(reference, float)[:, 0],
        reduce=given["aggr"],
        max_neighbors=None,
    )


def _published(hyper: Mapping[str, Any] | None) -> dict[str, Any]:
    """The network's arguments among those of a training."""
    if not hyper:
        return {}
    found = {SPELLED.get(key, key): value for key, value in hyper.items()}
    missing = [key for key in REQUIRED if key not in found]
    if missing:
        raise InputError(f"The checkpoint's hyper_parameters lack '{missing[0]}': not an AI2BMD Geoformer.")
    return {key: value for key, value in found.items() if key in DEFAULTS}


def _config(given: dict[str, Any]) -> GeoformerConfig:
    if given["decoder_type"] not in HEADS:
        raise InputError(f"Unknown decoder_type '{given['decoder_type']}'; known: {', '.join(HEADS)}.")
    if given["aggr"] not in ("sum", "mean"):
        raise InputError(f"Unknown aggr '{given['aggr']}'; known: sum, mean.")
    if given["num_classes"] != 1:
        raise InputError(f"Only num_classes = 1 is known to Geoformer here, not {given['num_classes']}.")
    return GeoformerConfig(
        hidden=given["embedding_dim"],
        ffn=given["ffn_embedding_dim"],
        layers=given["num_layers"],
        heads=given["num_attention_heads"],
        cutoff=float(given["cutoff"]),
        num_rbf=given["num_rbf"],
        trainable_rbf=given["rbf_trainable"],
        vecnorm=given["norm_type"],
        activation=given["activation_function"],
        max_z=given["max_z"],
        head=HEADS[given["decoder_type"]],  # type: ignore[arg-type]
        smooth=False,
    )


def _parameters(reader: Reader, config: GeoformerConfig) -> dict[str, Any]:
    root = "geo_encoder."
    params: dict[str, Any] = {
        "embedding": {"embedding": reader.take(TABLE)},
        "in_norm": reader.norm(root + "x_in_layernorm"),
        "edge_embedding": reader.dense(root + "dist_proj"),
        "head": {f"dense_{i}": reader.dense(f"geo_decoder.classifier.{2 * i}") for i in (0, 1)},
    }
    means, betas = (reader.optional(f"{root}distance_expansion.{name}") for name in ("means", "betas"))
    if config.trainable_rbf:
        if means is None or betas is None:
            raise InputError(f"The checkpoint has no '{root}distance_expansion.means', which rbf_trainable needs.")
        params |= {"rbf_means": means, "rbf_betas": betas}
    for layer in range(config.layers):
        params[f"layer_{layer}"] = _layer(reader, f"{root}layers.{layer}.", last=layer == config.layers - 1)
    table = params["embedding"]["embedding"].shape
    if table != (config.max_z, config.hidden):
        raise InputError(
            f"The checkpoint has {table[1]} channels and {table[0]} elements, the arguments say {config.hidden} and "
            f"{config.max_z} (see --kwargs)."
        )
    return params


def _layer(reader: Reader, root: str, *, last: bool) -> dict[str, Any]:
    """One layer; nobody reads the edges that the last one would make, so its weights for them are dropped."""
    dense = {name: reader.dense(f"{root}self_attn.{name}_proj") for name in ("q", "k", "v", "dk", "du_update")}
    change = reader.dense(f"{root}self_attn.edge_attr_update")
    sides = reader.pieces(f"{root}self_attn.dihedral_proj", 2, bias=False)
    weight = reader.optional(f"{root}self_attn.du_norm.weight")
    if weight is not None and not np.allclose(weight, 1.0):
        raise InputError(f"'{root}self_attn.du_norm.weight' is not all ones, as every published model has it.")
    params = {
        "node_proj": joined([dense[name] for name in "qkv"]),
        "edge_proj": joined([dense["dk"]] if last else [dense["dk"], change]),
        "attention_norm": reader.norm(f"{root}attn_layer_norm"),
        "final_norm": reader.norm(f"{root}final_layer_norm"),
        "ffn_0": reader.dense(f"{root}ffn.0"),
        "ffn_1": reader.dense(f"{root}ffn.3"),
    }
    return params if last else params | {"vector_proj": dense["du_update"], "side_proj": joined(sides)}
