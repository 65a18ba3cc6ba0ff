"""Gaussian cube files, which every viewer of molecules reads."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Int

__all__ = ["cube_bytes"]


def cube_bytes(
    nuclei: tuple[Int[np.ndarray, " N"], Float[np.ndarray, "N 3"]],
    origin: Float[np.ndarray, " 3"],
    axes: Float[np.ndarray, "3 3"],
    values: Float[np.ndarray, "X Y Z"],
    title: str,
) -> bytes:
    """A Gaussian cube file.

    Args:
        nuclei: atomic numbers and places, Bohr.
        origin: of the grid, Bohr.
        axes: rows are the steps of the grid, Bohr.
        values: on the grid.
        title: first line.
    """
    numbers, positions = nuclei
    rows = [
        _row(len(positions), origin),
        *(_row(count, axis) for count, axis in zip(values.shape, axes, strict=True)),
        *(_row(number, (number, *place)) for number, place in zip(numbers, positions, strict=True)),
    ]
    lines = [title, "Made by Ergodica", *rows]
    for line in values.reshape(-1, values.shape[2]):
        lines += ["".join(f"{value:13.5e}" for value in line[start : start + 6]) for start in range(0, len(line), 6)]
    return ("\n".join(lines) + "\n").encode()


def _row(count: int, numbers: Iterable[float]) -> str:
    return f"{count:5d}" + "".join(f"{number:12.6f}" for number in numbers)
