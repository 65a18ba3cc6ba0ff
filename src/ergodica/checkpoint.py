"""The model file: one safetensors file whose header holds configuration and card as JSON.

Loading runs no code. Writing is atomic. The same container keeps the state of a training run (`save_tree`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ergodica.config import from_dict
from ergodica.errors import InputError
from ergodica.files import atomic_write
from ergodica.potentials.classical import CLASSICAL
from ergodica.potentials.ensemble import Calibration, EnsembleConfig
from ergodica.potentials.potential import CONFIGS, EnergyScale, Info, ModelConfig, Potential
from ergodica.potentials.property import PropertyConfig
from ergodica.potentials.sum import SumConfig

__all__ = ["load_model", "load_shaped", "load_tree", "read_header", "save_model", "save_tree"]

MODEL_FORMAT = "ergodica-model"
VERSION = 1
WRAPPERS: dict[str, tuple[type, str]] = {"ensemble": (EnsembleConfig, "member"), "property": (PropertyConfig, "trunk")}
"""Configurations around another one, and the field that holds it."""
KINDS: dict[str, type] = CONFIGS | {name: kind for name, (kind, _, _) in CLASSICAL.items()}
"""Configurations that stand alone."""


def save_tree(path: str | Path, tree: Any, header: Mapping[str, Any]) -> None:
    """Write a pytree of arrays and a JSON header atomically.

    Raises:
        WorkFailed: the disk is full or the folder can't be written; an older file stays as it was.
    """
    from safetensors.numpy import save

    leaves = {_name(keys): np.asarray(leaf, order="C") for keys, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}
    atomic_write(path, save(leaves, metadata={"ergodica": json.dumps(header)}))


def _name(keys: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(keys, simple=True, separator="/")


def read_header(path: str | Path) -> dict[str, Any]:
    """The JSON header of a file written by `save_tree`.

    Raises:
        InputError: the file is missing, truncated or of another kind.
    """
    return _open(path)[0]


def _open(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no model file '{path}'.")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"'{path}' is not a complete Ergodica model file ({error}); if it is a checkpoint of another program, "
            "convert it with 'ergodica models import'."
        ) from error
    if "ergodica" not in metadata:
        raise InputError(f"'{path}' is a safetensors file but not one of Ergodica's: it has no 'ergodica' header.")
    return json.loads(metadata["ergodica"]), arrays


def load_tree(path: str | Path, template: Any = None) -> tuple[Any, dict[str, Any]]:
    """Read arrays and header; arrays are put into the structure of `template`, or into nested dicts without one.

    Raises:
        InputError: the file is missing, damaged, or does not fit the template.
    """
    header, arrays = _open(path)
    if template is None:
        return _nested(arrays), header
    paths, structure = jax.tree_util.tree_flatten_with_path(template)
    names = [_name(keys) for keys, _ in paths]
    if set(names) != set(arrays):
        odd = sorted(set(names) ^ set(arrays))[0]
        raise InputError(f"'{path}' does not fit: '{odd}' is on one side only. It belongs to another configuration.")
    return jax.tree_util.tree_unflatten(structure, [arrays[name] for name in names]), header


def load_shaped(path: str | Path, template: Any) -> Any:
    """Read arrays into the structure of a template, whose shapes they must fit.

    Raises:
        InputError: as `load_tree`, or an array has another size.
    """
    tree = load_tree(path, template)[0]
    for found, wanted in zip(jax.tree.leaves(tree), jax.tree.leaves(template), strict=True):
        if np.size(found) != np.prod(wanted.shape, dtype=int):
            raise InputError(
                f"'{path}' is inconsistent: an array of shape {found.shape} does not fit its configuration."
            )
    return jax.tree.map(lambda leaf, like: np.asarray(leaf).reshape(like.shape), tree, template)


def _nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in arrays.items():
        *parents, leaf = name.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def save_model(path: str | Path, potential: Potential) -> None:
    """Write a potential as one model file."""
    kind, config = _config_header(potential.config)
    header = {
        "format": MODEL_FORMAT,
        "version": VERSION,
        "kind": kind,
        "config": config,
        "energy_scale": asdict(potential.energy_scale),
        "info": asdict(potential.info),
    }
    if potential.calibration is not None:
        header["calibration"] = asdict(potential.calibration)
    save_tree(path, potential.params, header)


def _config_header(config: ModelConfig) -> tuple[str, dict[str, Any]]:
    """Name of the architecture and its options; those of a configuration around another hold that one's."""
    options = asdict(config)  # type: ignore[call-overload]
    for name, (wrapper, field) in WRAPPERS.items():
        if isinstance(config, wrapper):
            kind, inner = _config_header(getattr(config, field))
            return name, {"kind": kind, **options, field: inner}
    if isinstance(config, SumConfig):
        parts = [{"kind": kind, "config": inner} for kind, inner in map(_config_header, config.parts)]
        return "sum", {"model": parts[0], "terms": parts[1:]}
    return next(name for name, cls in KINDS.items() if isinstance(config, cls)), options


def _read_config(kind: Any, options: Mapping[str, Any], path: str | Path) -> ModelConfig:
    """The architecture that `_config_header` described."""
    if kind in WRAPPERS:
        wrapper, field = WRAPPERS[kind]
        rest = {key: value for key, value in options.items() if key not in ("kind", field)}
        inner = _read_config(options.get("kind"), options.get(field, {}), path)
        return from_dict(wrapper, {**rest, field: inner}, f"{path}: config")
    if kind == "sum":
        model, *terms = [
            _read_config(part.get("kind"), part.get("config", {}), path)
            for part in (options.get("model", {}), *options.get("terms", ()))
        ]
        return from_dict(SumConfig, {"model": model, "terms": terms}, f"{path}: config")
    if kind not in KINDS:
        raise InputError(f"'{path}' holds a '{kind}', which this version does not know.")
    return from_dict(KINDS[kind], options, f"{path}: config")


def load_model(path: str | Path) -> Potential:
    """Read a potential.

    Raises:
        InputError: the file is missing, truncated, of another kind, or from a newer version.
    """
    params, header = load_tree(path)
    if header.get("format") != MODEL_FORMAT:
        raise InputError(f"'{path}' holds '{header.get('format')}', not a model.")
    if header.get("version", 0) > VERSION:
        raise InputError(
            f"'{path}' was written by a newer Ergodica (format {header['version']}, this one reads up to {VERSION}): "
            "upgrade with 'pip install -U ergodica'."
        )
    calibration = header.get("calibration")
    potential = Potential(
        config=_read_config(header.get("kind"), header["config"], path),
        params=params,
        energy_scale=from_dict(EnergyScale, header["energy_scale"], f"{path}: energy_scale"),
        info=from_dict(Info, header["info"], f"{path}: info"),
        calibration=calibration and from_dict(Calibration, calibration, f"{path}: calibration"),
    )
    _check_params(potential, path)
    return potential


def _check_params(potential: Potential, path: str | Path) -> None:
    """The parameters must be those of the architecture, name by name and shape by shape."""
    wanted = jax.eval_shape(potential.config.build().init, jax.random.key(0), *Potential.smallest_input())
    shapes = {_name(k): leaf.shape for k, leaf in jax.tree_util.tree_flatten_with_path(wanted)[0]}
    found = {_name(k): leaf.shape for k, leaf in jax.tree_util.tree_flatten_with_path(potential.params)[0]}
    for name in sorted(set(shapes) | set(found)):
        if shapes.get(name) != found.get(name):
            raise InputError(
                f"'{path}' is inconsistent: parameter '{name}' has shape {found.get(name)}, its configuration asks for "
                f"{shapes.get(name)}."
            )
