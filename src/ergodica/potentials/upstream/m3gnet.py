"""Weights of MatterSim's M3GNet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ergodica.errors import InputError
from ergodica.potentials.m3gnet import RADIAL, M3GNetConfig
from ergodica.potentials.upstream.reader import Reader, State, Translated, joined

__all__ = ["is_m3gnet", "translate_m3gnet"]

TABLE = "atom_embedding.mlp.0.linear.weight"
BUFFERS = ("dn", "en", "fnr_weights", "n_1_pi_cutoff", "n_2_pi_cutoff", "r_max")
ARGUMENTS = {"units": "units", "num_blocks": "blocks", "cutoff": "cutoff", "threebody_cutoff": "threebody_cutoff"}
"""Arguments of the published constructor that have a namesake in `M3GNetConfig`."""


def is_m3gnet(state: State) -> bool:
    """Whether a state dict is one of MatterSim's M3GNet."""
    return any(name.removeprefix("module.") == TABLE for name in state)


def translate_m3gnet(state: State, arguments: Mapping[str, Any] | None) -> Translated:
    """Turn the state dict of a MatterSim checkpoint into configuration and parameters.

    Args:
        state: tensors by upstream name, with or without the prefix "module.".
        arguments: `model_args` of the checkpoint; what they lack is read off the shapes or is the published default.

    Raises:
        InputError: a tensor is missing, left over, of another shape, or the arguments do not fit.
    """
    state = {name.removeprefix("module."): np.asarray(value) for name, value in state.items()}
    config = _config(state, dict(arguments or {}))
    reader = Reader(state)
    for name in BUFFERS:
        reader.optional(f"rbf.{name}")
    for name in ("factor", "coef"):
        reader.optional(f"sbf.{name}")
    shift, scale = (reader.optional(f"normalizer.{name}") for name in ("shift", "scale"))
    params = {
        "embedding": {"embedding": np.ascontiguousarray(reader.take(TABLE).T)},
        "edge_encoder": reader.dense("edge_encoder.mlp.0.linear", bias=False),
        "readout_0": joined([reader.dense(f"final.{part}.0.linear") for part in ("g", "sigma")]),
        "element_scale": _by_number(1.0 if scale is None else scale, config.max_z),
    }
    for layer in (1, 2):
        for theirs, ours in (("g", "value"), ("sigma", "gate")):
            params[f"readout_{layer}_{ours}"] = reader.dense(f"final.{theirs}.{layer}.linear")
    for block in range(config.blocks):
        params[f"block_{block}"] = _block(reader, f"graph_conv.{block}.", config.units)
    reader.finish()
    return Translated(
        config=config,
        params={"params": params},
        scale=1.0,
        shift=0.0,
        reference=_by_number(0.0 if shift is None else shift, config.max_z).astype(float),
        reduce="sum",
        max_neighbors=None,
    )


def _config(state: State, arguments: dict[str, Any]) -> M3GNetConfig:
    for name in ("max_n", "max_l"):
        if arguments.get(name, 4) != 4:
            raise InputError(f"Only {name} = 4 is known to M3GNet, not {arguments[name]}.")
    if TABLE not in state or state[TABLE].ndim != 2:
        raise InputError(f"This is not a MatterSim checkpoint: it has no matrix {TABLE}.")
    units, elements = state[TABLE].shape
    blocks = len({name.split(".")[1] for name in state if name.startswith("graph_conv.")})
    found = {"units": units, "blocks": blocks}
    given = {ours: arguments[theirs] for theirs, ours in ARGUMENTS.items() if theirs in arguments}
    for name, value in found.items():
        if given.get(name, value) != value:
            raise InputError(f"The weights have {value} {name}, the arguments of the checkpoint say {given[name]}.")
    return M3GNetConfig(**found | given, max_z=elements, single_constants=True)


def _by_number(values: float | np.ndarray, size: int) -> np.ndarray:
    """One number an element, or the same for all."""
    return np.array(np.broadcast_to(np.ravel(values) if np.size(values) == size else values, (size,)))


def _block(reader: Reader, root: str, units: int) -> dict[str, Any]:
    """One block; the first layer of a perceptron on [receiver, sender, edge] is cut into its three parts."""
    own, other, params = [], [], {}
    for part in ("edge", "atom"):
        inner = []
        for theirs, ours in (("g", "value"), ("sigma", "gate")):
            whole = reader.dense(f"{root}gated_mlp_{part}.{theirs}.0.linear")
            receiver, sender, edge = np.split(whole["kernel"], 3)
            own.append({"kernel": receiver, "bias": whole["bias"]})
            other.append({"kernel": sender})
            inner.append({"kernel": edge})
            params[f"{part}_1_{ours}"] = reader.dense(f"{root}gated_mlp_{part}.{theirs}.1.linear")
        params[f"{part}_0"] = joined(inner)
    bent = [reader.dense(f"{root}three_body.edge_gate_mlp.{p}.0.linear", bias=False) for p in ("g", "sigma")]
    weight = [reader.dense(f"{root}edge_layer_{part}.linear", bias=False) for part in ("edge", "atom")]
    if weight[0]["kernel"].shape != (RADIAL, units):
        raise InputError(f"'{root}edge_layer_edge.linear.weight' is not of shape {(units, RADIAL)}.")
    return params | {
        "angle_gate": reader.dense(f"{root}three_body.atom_mlp.linear"),
        "angle": joined(bent)["kernel"],
        "receiver": joined(own),
        "sender": joined(other),
        "radial": joined(weight)["kernel"],
    }
