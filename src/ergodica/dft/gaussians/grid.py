"""Points and weights for integrals over space: Becke's atomic cells, Treutler and Ahlrichs' radii, Lebedev's spheres.

A grid is a function of the nuclei, points and weights alike, so that the derivative of an energy on the grid is exact
for that energy. Becke, J. Chem. Phys. 88, 2547 (1988), doi:10.1063/1.454033; Treutler & Ahlrichs, J. Chem. Phys. 102,
346 (1995), doi:10.1063/1.469408. Lebedev's rules are SciPy's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.density import BLOCK
from ergodica.elements import COVALENT_RADII
from ergodica.units import BOHR

__all__ = ["Grid", "GridOptions", "make_grid"]


@dataclass(frozen=True)
class GridOptions:
    """How fine a grid is.

    Attributes:
        radial: shells of an atom of the first row; later rows get 10 more each, hydrogen and helium 20 fewer.
        degree: of the polynomials that the spheres integrate exactly, in the valence region: one of Lebedev's, 23, 29,
            35, 41 or 47. Spheres close to the nucleus, where the density is nearly round, have fewer points.
    """

    radial: int = 60
    degree: int = 29
    core_degree: int = 11


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Grid:
    """A rule for integrals, ∫f = Σ_g w_g f(r_g), filled up to whole blocks with points of weight 0.

    Attributes:
        points: r, Bohr [G, 3].
        weights: w, Bohr³ [G].
    """

    points: Float[Array, "G 3"]
    weights: Float[Array, " G"]


def make_grid(basis: DensityBasis, positions: Float[Array, "N 3"], options: GridOptions | None = None) -> Grid:
    """The grid of a molecule.

    Args:
        basis: of the molecule, which knows the elements.
        positions: of the nuclei, Bohr.
        options: how fine it is.
    """
    offsets, weights, owner = _atomic_grids(basis.numbers, options or GridOptions())
    points = positions[owner] + jnp.asarray(offsets, positions.dtype)
    blocks = (points.reshape(-1, BLOCK, 3), owner.reshape(-1, BLOCK))
    share = partial(_becke, _size_adjustment(basis.numbers), positions)
    shares = jax.lax.map(lambda block: jax.checkpoint(share)(*block), blocks).reshape(-1)
    return Grid(points, jnp.asarray(weights, positions.dtype) * shares)


def _becke(
    adjustment: Float[np.ndarray, "N N"], positions: Float[Array, "N 3"], points: Float[Array, "P 3"], owner: Array
) -> Float[Array, " P"]:
    """The share of each point that belongs to its own atom: Becke's fuzzy cells, eqs. 11-22 and A1-A3."""
    count = len(positions)
    if count == 1:
        return jnp.ones(len(points), points.dtype)
    same = np.eye(count, dtype=bool)
    from_nuclei = _distances(points[:, None] - positions)
    apart = jnp.where(same, 1.0, _distances(positions[:, None] - positions))
    mu = (from_nuclei[:, :, None] - from_nuclei[:, None]) / apart
    step = mu + adjustment * (1 - mu**2)
    for _ in range(3):
        step = 1.5 * step - 0.5 * step**3
    cells = jnp.prod(jnp.where(same, 1.0, 0.5 * (1 - step)), axis=-1)
    return cells[jnp.arange(len(points)), owner] / jnp.sum(cells, axis=-1)


def _distances(vectors: Float[Array, "... 3"]) -> Float[Array, "..."]:
    """Lengths, with derivative 0 at 0."""
    square = jnp.sum(vectors**2, axis=-1)
    apart = square > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, square, 1.0)), 0.0)


@lru_cache
def _size_adjustment(numbers: tuple[int, ...]) -> Float[np.ndarray, "N N"]:
    """Becke's a_ij (eqs. A4-A6), with square roots of radii as Treutler and Ahlrichs propose."""
    radii = np.sqrt([COVALENT_RADII[number] for number in numbers])
    ratio = radii[:, None] / radii
    u = (ratio - 1) / (ratio + 1)
    return np.clip(np.divide(u, u**2 - 1), -0.5, 0.5)


@lru_cache
def _atomic_grids(
    numbers: tuple[int, ...], options: GridOptions
) -> tuple[Float[np.ndarray, "G 3"], Float[np.ndarray, " G"], Int[np.ndarray, " G"]]:
    """Points relative to their atoms, weights and owners, filled up to whole blocks."""
    parts = [_atomic_grid(number, options) for number in numbers]
    offsets, weights = (np.concatenate([part[which] for part in parts]) for which in (0, 1))
    owner = np.repeat(np.arange(len(numbers)), [len(part[1]) for part in parts])
    missing = -len(weights) % BLOCK
    far = np.broadcast_to([0.0, 0.0, 1.0], (missing, 3))
    return np.concatenate([offsets, far]), np.pad(weights, (0, missing)), np.pad(owner, (0, missing))


@lru_cache
def _atomic_grid(number: int, options: GridOptions) -> tuple[Float[np.ndarray, "G 3"], Float[np.ndarray, " G"]]:
    row = int(np.searchsorted([2, 10, 18, 36], number))
    radii, weights = _radial_rule(options.radial + (-20 if row == 0 else 10 * (row - 1)))
    core = radii < 0.25 * COVALENT_RADII[number] / BOHR
    parts = []
    for r, w, near in zip(radii, weights, core, strict=True):
        directions, angular = _lebedev(options.core_degree if near else options.degree)
        parts.append((r * directions, w * angular))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _radial_rule(count: int) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Treutler and Ahlrichs' map M4 (ξ = 1) of Chebyshev's points of the second kind, with weights for ∫ r² dr."""
    angle = np.arange(1, count + 1) * np.pi / (count + 1)
    x, log = np.cos(angle), np.log(2 / (1 - np.cos(angle)))
    stretch = (1 + x) ** 0.6 / np.log(2)
    slope = stretch * (1 / (1 - x) + 0.6 * log / (1 + x))
    return stretch * log, np.pi / (count + 1) * np.sin(angle) * slope * (stretch * log) ** 2


@lru_cache
def _lebedev(degree: int) -> tuple[Float[np.ndarray, "Q 3"], Float[np.ndarray, " Q"]]:
    from scipy.integrate import lebedev_rule

    points, weights = lebedev_rule(degree)
    return points.T, weights
