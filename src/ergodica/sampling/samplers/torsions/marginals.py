"""Smoothed Boltzmann densities of one rotor, of two and of three, by quadrature on the grids of a landscape."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.sampling.coordinates.landscape import GRID, Landscape, grid_angles

__all__ = ["FINEST", "WIDER", "Factors", "Marginals", "Trios", "factors", "marginals", "trios"]

FINEST = 0.15
"""Width (rad) that less noise is rounded up to: narrower, and it would see single points of a grid."""
HIGHEST = 50.0
"""Energies above the lowest, in kT, at which Boltzmann factors are cut."""
WIDER = (0.0, 0.4, 0.9)
"""What is added, in quadrature, to the width of the noise (rad): the surroundings are seen at several resolutions."""
TRIO_WIDER = WIDER[:2]
IMAGES = 2
"""Turns to either side that wrapped noise is summed over."""
TINY = 1e-25
"""Far below the least of smoothed Boltzmann factors."""


class Factors(NamedTuple):
    """Boltzmann factors of rotors alone, of two and of three, each with all that fewer have; 1 in the mean.

    Attributes:
        single: of one rotor.
        double: of two.
        triple: of three, those of `triples`.
        triples: which.
    """

    single: Float[Array, "T G"]
    double: Float[Array, "T T G G"]
    triple: Float[Array, "P G G G"]
    triples: Int[Array, "P 3"]


def factors(known: Landscape, beta: Float[Array, ""] | float) -> Factors:
    """At 1/kT (1/eV)."""

    def boltzmann(energies: Array, over: tuple[int, ...]) -> Array:
        above = beta * (energies - energies.min(axis=over, keepdims=True))
        found = jnp.exp(-jnp.minimum(above, HIGHEST))
        return found / found.mean(axis=over, keepdims=True)

    both = known.double + known.single[:, None, :, None] + known.single[None, :, None, :]
    one, two, three = known.triples.T
    all_three = (
        known.triple
        + known.double[one, two][:, :, :, None]
        + known.double[one, three][:, :, None, :]
        + known.double[two, three][:, None, :, :]
        + known.single[one][:, :, None, None]
        + known.single[two][:, None, :, None]
        + known.single[three][:, None, None, :]
    )
    single, double = boltzmann(known.single, (1,)), boltzmann(both, (2, 3))
    return Factors(single, double, boltzmann(all_three, (1, 2, 3)), known.triples)


class Marginals(NamedTuple):
    """Of rotors alone and two by two, at `WIDER` resolutions.

    Attributes:
        single: logarithm of the density, in excess of a free rotor's [L, T, B].
        slope: its derivative, 1/rad.
        double: logarithm of the density of two rotors, less those of each alone [L, T, T, B].
        pull: derivative of that with the angle of the first, 1/rad.
    """

    single: Float[Array, "L T B"]
    slope: Float[Array, "L T B"]
    double: Float[Array, "L T T B"]
    pull: Float[Array, "L T T B"]


class Trios(NamedTuple):
    """Of three rotors, at `TRIO_WIDER` resolutions.

    Attributes:
        density: logarithm, in excess of free rotors' [L, P, B].
        slopes: derivatives with the first, second and third angle, 1/rad [L, 3, P, B].
    """

    density: Float[Array, "L P B"]
    slopes: Float[Array, "L 3 P B"]


@jax.custom_jvp
def marginals(given: Factors, angles: Float[Array, "B T"], sigma: Float[Array, " B"]) -> Marginals:
    """Smoothed by noise of these widths (rad) and wider; derivatives in forward mode, with the angles.

    Args:
        given: Boltzmann factors.
        angles: of the rotors, rad.
        sigma: width of the noise.
    """
    return _marginals(given, angles, angles, sigma)


@marginals.defjvp
def _marginals_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Marginals, Marginals]:
    """Numbers of two rotors depend on two angles, so that two derivatives give all."""
    given, angles, sigma = primals
    ones, zeros = jnp.ones_like(angles), jnp.zeros_like(angles)

    def along(first: Array, second: Array) -> tuple[Marginals, Marginals]:
        return jax.jvp(lambda a, b: _marginals(given, a, b, sigma), (angles, angles), (first, second))

    (found, own), (_, other) = along(ones, zeros), along(zeros, ones)
    moved = tangents[1].T
    left, right = moved[:, None], moved[None]
    return found, Marginals(
        own.single * moved,
        own.slope * moved,
        own.double * left + other.double * right,
        own.pull * left + other.pull * right,
    )


def _marginals(given: Factors, angles: Array, others: Array, sigma: Array) -> Marginals:
    """Of rotors at `angles`, and of those with rotors at `others`."""
    kernel, change = _kernels(angles.T, sigma, WIDER)
    beside = _kernels(others.T, sigma, WIDER)[0]

    def alone(weights: Array) -> Array:
        return jnp.einsum("tg,ltgb->ltb", given.single, weights)

    single, slope = _log_and_slope(alone(kernel), alone(change))
    neighbor = jnp.log(alone(beside) + TINY)
    halfway = jnp.einsum("tugh,luhb->ltugb", given.double, beside)
    double, pull = _log_and_slope(
        jnp.sum(halfway * kernel[:, :, None], axis=3), jnp.sum(halfway * change[:, :, None], axis=3)
    )
    # less the rotors alone, so that what does not interact is 0
    return Marginals(single, slope, double - single[:, :, None] - neighbor[:, None], pull - slope[:, :, None])


@jax.custom_jvp
def trios(given: Factors, angles: Float[Array, "B T"], sigma: Float[Array, " B"]) -> Trios:
    """As `marginals`, of three rotors."""
    return _trios(given, _of_each(given, angles), sigma)


@trios.defjvp
def _trios_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Trios, Trios]:
    """Three derivatives give all."""
    given, angles, sigma = primals
    each, moved = _of_each(given, angles), _of_each(given, tangents[1])
    parts = []
    for place in range(3):
        direction = tuple(jnp.full_like(angle, number == place) for number, angle in enumerate(each))
        found, slope = jax.jvp(lambda x: _trios(given, x, sigma), (each,), (direction,))
        parts.append(Trios(slope.density * moved[place], slope.slopes * moved[place]))
    return found, jax.tree.map(lambda *leaves: sum(leaves), *parts)


def _of_each(given: Factors, angles: Float[Array, "B T"]) -> tuple[Float[Array, "P B"], ...]:
    return tuple(angles.T[column] for column in given.triples.T)


def _trios(given: Factors, each: tuple[Array, ...], sigma: Array) -> Trios:
    (a, da), (b, db), (c, dc) = (_kernels(angle, sigma, TRIO_WIDER) for angle in each)
    last = jnp.einsum("pghk,lpkb->lpghb", given.triple, c)
    last_slope = jnp.einsum("pghk,lpkb->lpghb", given.triple, dc)

    def summed(over: Array, second: Array, first: Array) -> Array:
        return jnp.sum(jnp.sum(over * second[:, :, None], axis=3) * first, axis=2)

    density = summed(last, b, a) + TINY
    slopes = [summed(last, b, da), summed(last, db, a), summed(last_slope, b, a)]
    return Trios(jnp.log(density), jnp.stack(slopes, axis=1) / density[:, None])


def _log_and_slope(density: Array, slope: Array) -> tuple[Array, Array]:
    return jnp.log(density + TINY), slope / (density + TINY)


def _kernels(angles: Float[Array, "R B"], sigma: Float[Array, " B"], wider: tuple[float, ...]) -> tuple[Array, Array]:
    """Wrapped normal densities at the points of the grid, summing to 1, and their derivatives with the angle."""
    widths = jnp.sqrt(jnp.sqrt(sigma**4 + FINEST**4) + jnp.asarray(wider)[:, None] ** 2)  # [L, B]
    away = angles[:, None] - jnp.asarray(grid_angles(), angles.dtype)[:, None]  # [R, G, B]
    away = away - 2 * jnp.pi * jnp.round(away / (2 * jnp.pi))
    turns = 2 * jnp.pi * jnp.arange(-IMAGES, IMAGES + 1).reshape(-1, 1, 1, 1)
    scaled = (away + turns) / widths[:, None, None, None]  # [L, I, R, G, B]
    each = jnp.exp(-0.5 * scaled**2)
    norm = (np.sqrt(2 * np.pi) / GRID) / widths[:, None, None]
    return norm * each.sum(axis=1), -(norm / widths[:, None, None]) * (each * scaled).sum(axis=1)
