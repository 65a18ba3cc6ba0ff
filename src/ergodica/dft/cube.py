"""Densities of molecules on regular grids, as cube files."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from ergodica.cube import cube_bytes
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.density import in_blocks
from ergodica.files import atomic_write

__all__ = ["write_cube"]


def write_cube(
    path: str | Path,
    basis: DensityBasis,
    positions: Float[np.ndarray, "N 3"],
    coefficients: Float[np.ndarray, " F"],
    *,
    spacing: float = 0.2,
    margin: float = 6.0,
) -> None:
    """Write the density on a regular grid around the molecule, electrons/Bohr³.

    Args:
        path: of the file.
        basis: of the molecule.
        positions: of the nuclei, Bohr.
        coefficients: p.
        spacing: of the grid, Bohr.
        margin: around the nuclei, Bohr.

    Raises:
        WorkFailed: disk full or folder not writable.
    """
    positions = np.asarray(positions)
    low = positions.min(axis=0) - margin
    shape = np.ceil((positions.max(axis=0) + margin - low) / spacing).astype(int) + 1
    axes = [origin + spacing * np.arange(count) for origin, count in zip(low, shape, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    with jax.enable_x64(True):
        rho = np.asarray(jax.jit(in_blocks, static_argnums=0)(basis, positions, coefficients, points)[0])
    nuclei = np.asarray(basis.numbers), positions
    text = cube_bytes(nuclei, low, spacing * np.eye(3), rho.reshape(shape), "Electron density, electrons/Bohr^3")
    atomic_write(path, text)
