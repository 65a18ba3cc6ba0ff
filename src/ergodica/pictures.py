"""Files of pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from ergodica.errors import InputError
from ergodica.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["PICTURES", "literal", "picture_format", "plot_bytes", "write_picture"]

PICTURES = (".png", ".pdf", ".svg")
"""Endings of files of pictures."""


def picture_format(path: str | Path) -> str:
    """The format that the name of a picture asks for.

    Raises:
        InputError: there is none of that name.
    """
    suffix = Path(path).suffix
    if suffix not in PICTURES:
        raise InputError(f"The output is a picture: '{path}' should end in .png, .pdf or .svg.")
    return suffix[1:]


def write_picture(path: str | Path, figure: Figure) -> None:
    """Write a matplotlib figure in the format that the name asks for.

    Raises:
        InputError: there is none of that name.
        WorkFailed: disk full or folder not writable; an older file stays as it was.
    """
    atomic_write(path, plot_bytes(figure, picture_format(path)))


def literal(text: str) -> str:
    """A text in which matplotlib finds no mathematics, such as the name of a file."""
    return text.replace("$", r"\$")


def plot_bytes(figure: Figure, kind: str = "png") -> bytes:
    """A matplotlib figure as PNG, or as "pdf" or "svg"."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()
