"""Weights of the published ViSNet programs.

One table serves PyG's `torch_geometric.nn.models.ViSNet` and AI2BMD's Lightning checkpoints, whose names differ only by
the prefix "model.". Nothing here needs torch; reading the file is `ergodica.potentials.torchfile`'s affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ergodica.errors import InputError
from ergodica.potentials.upstream.reader import Reader, State, Translated, joined
from ergodica.potentials.visnet import ViSNetConfig

__all__ = ["translate_visnet"]

PYG_DEFAULTS: dict[str, Any] = {
    "lmax": 1, "vecnorm_type": None, "trainable_vecnorm": False, "num_heads": 8, "num_layers": 6,
    "hidden_channels": 128, "num_rbf": 32, "trainable_rbf": False, "max_z": 100, "cutoff": 5.0,
    "max_num_neighbors": 32, "vertex": False, "reduce_op": "sum", "mean": 0.0, "std": 1.0, "derivative": False,
    "atomref": None,
}  # fmt: skip
"""Keyword arguments of PyG's constructor, with their defaults."""

LIGHTNING_KEYS = {
    "lmax": "lmax", "num_heads": "heads", "num_layers": "layers", "embedding_dimension": "hidden", "num_rbf": "num_rbf",
    "rbf_type": "rbf", "trainable_rbf": "trainable_rbf", "trainable_vecnorm": "trainable_vecnorm",
    "activation": "activation", "attn_activation": "attention_activation", "max_z": "max_z", "cutoff": "cutoff",
}  # fmt: skip
"""AI2BMD hyper-parameters that have a namesake among the fields of `ViSNetConfig`."""


HEAD_NAMES = {
    "Scalar": "energy",
    "DipoleMoment": "dipole",
    "ElectronicSpatialExtent": "extent",
    "VectorOutput": "vector",
}


def translate_visnet(state: State, kwargs: Mapping[str, Any] | None, hyper: Mapping[str, Any] | None) -> Translated:
    """Turn an upstream state dict into configuration and parameters.

    Args:
        state: tensors by upstream name, with or without the prefix "model.".
        kwargs: constructor arguments of PyG's ViSNet (a bare state dict doesn't carry them).
        hyper: `hyper_parameters` of an AI2BMD Lightning checkpoint.

    Raises:
        InputError: a tensor is missing, left over, of another shape, or the arguments are unknown.
    """
    state = {name.removeprefix("model."): np.asarray(value) for name, value in state.items()}
    if "representation_model.embedding.weight" not in state:
        raise InputError("This is not a ViSNet checkpoint: it has no representation_model.embedding.weight.")
    options = _lightning_options(hyper) if hyper else _pyg_options(dict(kwargs or {}))
    config = ViSNetConfig(**options["config"], smooth=False, softening=0.0)
    reduce = {"add": "sum"}.get(options["reduce"], options["reduce"])
    if reduce not in ("sum", "mean"):
        raise InputError(f"Unknown reduce_op '{reduce}'; known: add, sum, mean.")
    reader = Reader(state)
    params = _parameters(reader, config)
    reference = reader.optional("prior_model.atomref.weight")
    scale, shift = (reader.optional(name) for name in ("std", "mean"))
    reader.optional("prior_model.initial_atomref")
    reader.finish()
    return Translated(
        config=config,
        params={"params": params},
        scale=options["scale"] if scale is None else float(scale),
        shift=options["shift"] if shift is None else float(shift),
        reference=np.zeros(config.max_z) if reference is None else np.asarray(reference, float)[:, 0],
        reduce=reduce,
        max_neighbors=options["max_neighbors"],
    )


def _pyg_options(kwargs: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(kwargs) - set(PYG_DEFAULTS))
    if unknown:
        raise InputError(f"Unknown ViSNet argument '{unknown[0]}'; known: {', '.join(PYG_DEFAULTS)}.")
    given = {**PYG_DEFAULTS, **kwargs}
    return {
        "config": {
            "hidden": given["hidden_channels"], "layers": given["num_layers"], "heads": given["num_heads"],
            "lmax": given["lmax"], "cutoff": float(given["cutoff"]), "num_rbf": given["num_rbf"],
            "trainable_rbf": given["trainable_rbf"], "vecnorm": given["vecnorm_type"] or "none",
            "trainable_vecnorm": given["trainable_vecnorm"], "vertex": "edge" if given["vertex"] else "none",
            "max_z": given["max_z"],
        },
        "scale": float(given["std"]), "shift": float(given["mean"]), "reduce": given["reduce_op"],
        "max_neighbors": given["max_num_neighbors"],
    }  # fmt: skip


def _lightning_options(hyper: Mapping[str, Any]) -> dict[str, Any]:
    missing = [key for key in LIGHTNING_KEYS if key not in hyper and key not in ("rbf_type", "attn_activation")]
    if missing:
        raise InputError(f"The checkpoint's hyper_parameters lack '{missing[0]}': not an AI2BMD ViSNet.")
    head = str(hyper.get("output_model", "Scalar")).removeprefix("Equivariant")
    if head not in HEAD_NAMES:
        raise InputError(f"Unknown output_model '{head}'; known: {', '.join(HEAD_NAMES)}.")
    config = {ours: hyper[theirs] for theirs, ours in LIGHTNING_KEYS.items() if theirs in hyper}
    config |= {
        "cutoff": float(hyper["cutoff"]),
        "vecnorm": (hyper.get("vecnorm_type") or "none").lower(),
        "vertex": str(hyper.get("vertex_type") or "none").lower(),
        "head": HEAD_NAMES[head],
    }
    return {
        "config": config, "scale": 1.0, "shift": 0.0, "reduce": hyper.get("reduce_op", "add"),
        "max_neighbors": hyper.get("max_num_neighbors"),
    }  # fmt: skip


def _parameters(reader: Reader, config: ViSNetConfig) -> dict[str, Any]:
    root = "representation_model."
    params: dict[str, Any] = {
        "embedding": {"embedding": reader.take(root + "embedding.weight")},
        "neighbor_embedding": {"embedding": reader.take(root + "neighbor_embedding.embedding.weight")},
        "neighbor_proj": reader.dense(root + "neighbor_embedding.distance_proj"),
        "combine": reader.dense(root + "neighbor_embedding.combine"),
        "edge_embedding": reader.dense(root + "edge_embedding.edge_proj"),
        "out_norm": reader.norm(root + "out_norm"),
        "head": _head(reader, config),
    }
    params |= _radial(reader, root + "distance_expansion.", config)
    params |= _vector_norm(reader, root + "vec_out_norm", "vec_out_norm", config)
    for layer in range(config.layers):
        first, last = layer == 0, layer == config.layers - 1
        params[f"layer_{layer}"] = _layer(reader, f"{root}vis_mp_layers.{layer}.", config, first, last)
    _check_shapes(params, config)
    return params


def _layer(reader: Reader, root: str, config: ViSNetConfig, first: bool, last: bool) -> dict[str, Any]:
    """One layer; vectors are zero before the first one, where upstream's parameters for them change nothing."""

    def layers(*names: str, bias: bool = True) -> list[dict[str, np.ndarray]]:
        return [reader.dense(f"{root}{name}_proj", bias) for name in names]

    node = config.vertex == "node"
    params = {
        "layernorm": reader.norm(root + "layernorm"),
        "node_proj": joined(layers("q", "k", "v")),
        "o_proj": reader.dense(root + "o_proj"),
    }
    norm = _vector_norm(reader, root + "vec_layernorm", "vec_layernorm", config)
    s1, s2 = reader.pieces(root + "s_proj", 2)
    vectors = reader.pieces(root + "vec_proj", 3, bias=False)
    by_edge, sides = layers("dk", "dv"), []
    if not last:
        changes = reader.pieces(root + "f_proj", 2 if config.vertex == "edge" else 1)
        by_edge += [] if first else changes
        sides += layers("w_trg", "w_src", bias=False)
    if node or (config.vertex == "edge" and not last):
        sides += layers("t_trg", "t_src", bias=False)
    params |= {"edge_proj": joined(by_edge), "message_proj": joined([s2] if first else [s2, s1])}
    if first:
        return params
    return params | norm | {"vector_proj": joined(vectors)} | ({"side_proj": joined(sides)} if sides else {})


def _vector_norm(reader: Reader, theirs: str, ours: str, config: ViSNetConfig) -> dict[str, Any]:
    weight = reader.optional(theirs + ".weight")
    if config.trainable_vecnorm:
        if weight is None:
            raise InputError(f"The checkpoint has no '{theirs}.weight', which trainable_vecnorm needs.")
        return {ours: {"weight": weight}}
    if weight is not None and not np.allclose(weight, 1.0):
        raise InputError(f"'{theirs}.weight' is not all ones: this model was made with trainable_vecnorm=True.")
    return {}


def _radial(reader: Reader, root: str, config: ViSNetConfig) -> dict[str, Any]:
    first, second = ("means", "betas") if config.rbf == "expnorm" else ("offset", "coeff")
    means, betas = reader.optional(root + first), reader.optional(root + second)
    if not config.trainable_rbf:
        return {}
    if means is None or betas is None:
        raise InputError(f"The checkpoint has no '{root}{first}', which trainable_rbf needs.")
    if config.rbf == "gauss":  # theirs is one negative factor for all functions
        betas = np.broadcast_to(-betas, means.shape).copy()
    return {"rbf_means": means, "rbf_betas": betas}


def _head(reader: Reader, config: ViSNetConfig) -> dict[str, Any]:
    root = "output_model.output_network."
    reader.optional("output_model.atomic_mass")
    if config.head == "extent":
        return {"dense_0": reader.dense(root + "0"), "dense_1": reader.dense(root + "2")}
    blocks = {
        f"block_{block}": {
            "vec1_proj": reader.dense(f"{root}{block}.vec1_proj", bias=False),
            "vec2_proj": reader.dense(f"{root}{block}.vec2_proj", bias=False),
            "update_0": reader.dense(f"{root}{block}.update_net.0"),
            "update_1": reader.dense(f"{root}{block}.update_net.2"),
        }
        for block in (0, 1)
    }
    return {"gated": blocks} if config.head == "dipole" else blocks


def _check_shapes(params: dict[str, Any], config: ViSNetConfig) -> None:
    table = params["embedding"]["embedding"].shape
    radial = params["edge_embedding"]["kernel"].shape[0]
    if table != (config.max_z, config.hidden) or radial != config.num_rbf:
        raise InputError(
            f"The checkpoint has {table[1]} channels, {table[0]} elements and {radial} radial functions; "
            f"the arguments say {config.hidden}, {config.max_z} and {config.num_rbf} (see --kwargs)."
        )
