"""Files of trained samplers: where they are, and that they are what they should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ergodica.checkpoint import read_header, save_tree
from ergodica.errors import InputError

__all__ = ["FORMAT", "read_sampler_header", "sampler_path", "save_sampler_tree", "shipped_samplers"]

FORMAT, VERSION = "ergodica-sampler", 1


def shipped_samplers() -> dict[str, Path]:
    """Samplers that come with the package, by name."""
    folder = Path(__file__).parent.parent / "weights" / "samplers"
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
