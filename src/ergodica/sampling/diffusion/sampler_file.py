"""Files of trained samplers: where they are, and that they are what they should be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import jax

from ergodica.checkpoint import load_shaped, read_header, save_tree
from ergodica.config import from_dict
from ergodica.errors import InputError

__all__ = [
    "FORMAT",
    "load_whole",
    "read_sampler_header",
    "sampler_path",
    "save_sampler_tree",
    "save_whole",
    "shipped_samplers",
]

S = TypeVar("S")

FORMAT, VERSION = "ergodica-sampler", 1


def shipped_samplers() -> dict[str, Path]:
    """Samplers that come with the package, by name."""
    folder = Path(__file__).parents[2] / "weights" / "samplers"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def sampler_path(name_or_path: str | Path, *others: str) -> Path:
    """Of a shipped sampler, or of any file.

    Args:
        name_or_path: its name or where it is.
        others: what else could have been named.

    Raises:
        InputError: there is none.
    """
    shipped = shipped_samplers()
    path = shipped.get(str(name_or_path), Path(name_or_path))
    if not path.is_file():
        known = ", ".join([*others, *shipped])
        raise InputError(f"There is no sampler '{name_or_path}': give a file or one of {known}.")
    return path


def read_sampler_header(path: Path, kind: str) -> dict[str, Any]:
    """The header of a sampler's file.

    Raises:
        InputError: it is damaged, of another kind or from a newer version.
    """
    header = read_header(path)
    if header.get("format") != FORMAT:
        raise InputError(f"'{path}' holds '{header.get('format')}', not a sampler.")
    if header.get("version", 0) > VERSION:
        raise InputError(f"'{path}' was written by a newer Ergodica: upgrade with 'pip install -U ergodica'.")
    if header.get("kind") != kind:
        raise InputError(f"'{path}' is a '{header.get('kind')}', and a '{kind}' is needed.")
    return header


def save_sampler_tree(path: str | Path, kind: str, params: Any, record: dict[str, Any]) -> None:
    """Write parameters and what belongs to them as one file."""
    save_tree(path, params, {"format": FORMAT, "version": VERSION, "kind": kind, **record})


def save_whole(path: str | Path, kind: str, sampler: Any) -> None:
    """Write a sampler as one model file: a dataclass with its parameters as `params` and else plain values."""
    record = asdict(replace(sampler, params=None))
    del record["params"]
    save_sampler_tree(path, kind, sampler.params, record)


def load_whole(cls: type[S], path: Path, kind: str, fresh: Callable[[S], Any]) -> S:
    """A sampler that `save_whole` wrote.

    Args:
        cls: its class.
        path: its file.
        kind: what the file must hold.
        fresh: parameters of the shapes that it must have.

    Raises:
        InputError: the file is damaged, of another kind or from a newer version.
    """
    header = read_sampler_header(path, kind)
    record = {name: value for name, value in header.items() if name not in ("format", "version", "kind")}
    empty = from_dict(cls, {**record, "params": None}, str(path))
    return replace(empty, params=load_shaped(path, jax.eval_shape(lambda: fresh(empty))))  # type: ignore[type-var]
