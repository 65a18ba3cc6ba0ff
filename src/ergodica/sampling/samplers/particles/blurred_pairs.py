"""What noise does to a pair of particles: forces of the blurred Boltzmann factor, tabulated.

Noise of width σ on every particle moves the vector between two of them by σ√2. Were there no others, the density of
that vector would be p(r) = ∫ N(r'; r, 2σ²) exp(-u(r')) dr', and the pair's part of the score exactly d ln p / dr. For
many particles the sum over pairs is a first guess, which is right where the noise is small.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import i0e

from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.energies.analytic import Particles

__all__ = ["BlurredPairs", "blurred_pairs"]

LEVELS, RADII, FARTHEST = 41, 1537, 3.0
"""Levels of noise and distances of the table, and its largest distance in units of the target's size plus noise."""
REACH, LOCAL, FIXED = 8.0, 97, 385
"""Widths of noise over which is integrated, and points of the two grids of the integral."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class BlurredPairs:
    """A table of radial forces.

    Attributes:
        forces: d ln p / dr at levels spaced evenly in their logarithm and at distances r spaced evenly in
            r / (size + σ), kT per unit of length [LEVELS, RADII].
        size: length that distances are measured by.
        span: logarithm of the smallest and the largest level.
    """

    forces: Float[Array, "L R"]
    size: Float[Array, ""]
    span: Float[Array, " 2"]

    def __call__(self, distance: Float[Array, "B N N"], sigma: Float[Array, " B"]) -> Float[Array, "B N N"]:
        """Forces along the distance, interpolated; those of the farthest distance grow on in proportion."""
        low, high = self.span
        forces = jnp.asarray(self.forces)
        row = jnp.clip((jnp.log(sigma) - low) / (high - low), 0.0, 1.0) * (LEVELS - 1)
        above = jnp.clip(row.astype(int), 0, LEVELS - 2)
        share = (row - above)[:, None]
        table = (1 - share) * forces[above] + share * forces[above + 1]
        place = distance / (self.size + sigma[:, None, None]) * ((RADII - 1) / FARTHEST)
        column = jnp.clip(place.astype(int), 0, RADII - 2)
        part = jnp.clip(place - column, 0.0, 1.0)
        flat = column.reshape(len(column), -1)
        left, right = (jnp.take_along_axis(table, flat + step, axis=1).reshape(column.shape) for step in (0, 1))
        return ((1 - part) * left + part * right) * jnp.maximum(place / (RADII - 1), 1.0)


@cache
def blurred_pairs(target: Particles, noise: Noise) -> BlurredPairs:
    """The table of a target."""
    levels = np.geomspace(noise.smallest, noise.largest, LEVELS)
    rows = []
    for level in levels:
        radii = np.linspace(0.0, FARTHEST, RADII) * (target.size + level)
        rows.append(np.gradient(_log_density(target, radii, np.sqrt(2) * level), radii))
    span = np.log([noise.smallest, noise.largest])
    return BlurredPairs(np.stack(rows).astype(np.float32), np.float32(target.size), span.astype(np.float32))  # type: ignore[arg-type]


def _log_density(target: Particles, radii: Float[np.ndarray, " R"], width: float) -> Float[np.ndarray, " R"]:
    """ln ∫ exp(-u) N dr' by the trapezoidal rule, on a grid about each distance and one over the range of the pair."""
    near = radii[:, None] + width * np.linspace(-REACH, REACH, LOCAL)
    fixed = np.broadcast_to(np.linspace(0.0, 2 * target.size, FIXED), (len(radii), FIXED))
    points = np.sort(np.maximum(np.concatenate([near, fixed], axis=1), 1e-6), axis=1)
    with np.errstate(over="ignore", divide="ignore"):
        energy = np.asarray(target.pair(points))  # type: ignore[arg-type]  # float64, for walls overflow float32
        exponent = _log_kernel(target.shape[1], radii[:, None], points, width) - energy
    highest = exponent.max(axis=1, keepdims=True)
    inside = np.trapezoid(np.exp(exponent - highest), points, axis=1)
    return highest[:, 0] + np.log(inside)


def _log_kernel(dimensions: int, radius: np.ndarray, point: np.ndarray, width: float) -> np.ndarray:
    """ln of the density of the length of a vector whose mean has the length `radius`, per unit of length."""
    away = -0.5 * ((point - radius) / width) ** 2
    both = radius * point / width**2
    if dimensions == 2:
        return away + np.log(point / width**2 * i0e(both))
    if dimensions == 3:
        small = both < 1e-6  # (1 - exp(-2 both)) / radius, where radius goes to 0
        ratio = np.where(small, 2 * point / width**2, -np.expm1(-2 * both) / np.maximum(radius, 1e-12))
        return away + np.log(point * ratio / (np.sqrt(2 * np.pi) * width))
    raise ValueError(f"particles in {dimensions} dimensions")
