"""The one container of all that is saved: arrays of a pytree as safetensors, and a header in JSON.

Models, functionals, samplers and the states of runs are such files. Loading runs no code, writing is atomic.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ergodica.errors import InputError
from ergodica.files import atomic_write

__all__ = ["load_shaped", "load_tree", "named_leaves", "read_header", "save_tree"]


def save_tree(path: str | Path, tree: Any, header: Mapping[str, Any]) -> None:
    """Write a pytree of arrays and a JSON header atomically.

    Raises:
        WorkFailed: the disk is full or the folder can't be written; an older file stays as it was.
    """
    from safetensors.numpy import save

    leaves = {name: np.asarray(leaf, order="C") for name, leaf in named_leaves(tree).items()}
    atomic_write(path, save(leaves, metadata={"ergodica": json.dumps(header)}))


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their names in a file, such as "params/layer_0/kernel"."""
    found = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(keys, simple=True, separator="/"): leaf for keys, leaf in found}


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
    names = named_leaves(template)
    if set(names) != set(arrays):
        odd = sorted(set(names) ^ set(arrays))[0]
        raise InputError(f"'{path}' does not fit: '{odd}' is on one side only. It belongs to another configuration.")
    return jax.tree.unflatten(jax.tree.structure(template), [arrays[name] for name in names]), header


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
