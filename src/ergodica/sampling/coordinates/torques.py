"""Torques of atom pairs on rotors, and their derivatives, without differentiating through the geometry.

Rotors turn rigid bodies, so a distance has its first and second derivatives in closed form (Gō, Noguti and Nishikawa
1983, doi:10.1073/pnas.80.12.3696): of two rotors between two atoms, the one turns the other's axis as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.sampling.coordinates.landscape import Landscape
from ergodica.sampling.coordinates.torsions import RigidEnergy
from ergodica.sampling.energies.mmff94 import charges, dispersion
from ergodica.units import KCAL_PER_MOL

__all__ = ["BLUNT", "Pull", "pull"]

SHARP = 2.0
BLUNT = (4.0, 8.0)
"""Lengths that are added in quadrature to distances, Å for a rad of noise: what turns move atoms by. The first is for
the whole energy, the others for what several rotors decide together, which move atoms further."""


class Pull(NamedTuple):
    """Torques -∂U/∂θ (eV/rad), and the energies of a rotor's part of the rest (eV).

    Attributes:
        whole: of the whole energy, slightly blunt [T, B].
        rest: of what three rotors or more decide together, at `BLUNT` resolutions, dispersion and charges [C, T, B].
        energies: of the same, summed over the atom pairs that a rotor moves.
    """

    whole: Float[Array, "T B"]
    rest: Float[Array, "C T B"]
    energies: Float[Array, "C T B"]


class Motion(NamedTuple):
    """How pairs move, the first atom held.

    Attributes:
        apart: from the first atom to the second, Å [3, M, B].
        axes: of the rotors, turning the second atom in the positive sense, unit vectors [T, 3, M, B].
        moves: of the second atom with each angle, Å [T, 3, M, B].
        slope: derivative of half the squared distance, Å² [T, M, B].
    """

    apart: Float[Array, "3 M B"]
    axes: Float[Array, "T 3 M B"]
    moves: Float[Array, "T 3 M B"]
    slope: Float[Array, "T M B"]


class Strength(NamedTuple):
    """Energies of pairs by channel: sharp, then blunt ones (eV), and derivatives with half the squared distance.

    Attributes:
        energy: of blunt pairs that several rotors move [C, M, B].
        first: derivative [1 + C, M, B].
        second: derivative of that [1 + C, M, B].
    """

    energy: Float[Array, "C M B"]
    first: Float[Array, "K M B"]
    second: Float[Array, "K M B"]


@jax.custom_jvp
def pull(known: Landscape, angles: Float[Array, "B T"], sigma: Float[Array, " B"]) -> Pull:
    """Torques and energies; derivatives in forward mode, with the angles.

    Args:
        known: the molecule.
        angles: of the rotors, rad.
        sigma: width of the noise, rad; distances are blunt in proportion.
    """
    motion = _motion(known.energy, angles)
    return _pull(known, angles, sigma, motion, _strength(known, motion, sigma))


@pull.defjvp
def _pull_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Pull, Pull]:
    """The whole Jacobian at once, so that asking for several directions costs hardly more than one."""
    known, angles, sigma = primals
    energy, by = known.energy, tangents[1]
    motion = _motion(energy, angles)
    strength = _strength(known, motion, sigma)
    bend = _bend(energy, motion)
    twice = motion.slope[:, None] * motion.slope[None]
    hessian = jnp.einsum("kmb,tumb->ktub", strength.second, twice) + jnp.einsum("kmb,tumb->ktub", strength.first, bend)
    sums = jnp.einsum("tm,kmub->ktub", jnp.abs(energy.senses), _pushed(strength, motion))
    own = _derivative(lambda x: _derivative(lambda y: energy.turning(y, sigma), x), angles).T

    def chained(matrix: Float[Array, "... T U B"]) -> Float[Array, "... T B"]:
        return jnp.einsum("...tub,bu->...tb", matrix, by)

    tangent = Pull(-chained(hessian[0]) - own * by.T, -chained(hessian[1:]), chained(sums))
    return _pull(known, angles, sigma, motion, strength), tangent


def _pushed(strength: Strength, motion: Motion) -> Float[Array, "C M T B"]:
    """Derivatives of blunt energies with the angles."""
    return strength.first[1:, :, None] * motion.slope.swapaxes(0, 1)[None]


def _pull(known: Landscape, angles: Array, sigma: Array, motion: Motion, strength: Strength) -> Pull:
    torque = -jnp.einsum("kmb,tmb->ktb", strength.first, motion.slope)
    own = _derivative(lambda x: known.energy.turning(x, sigma), angles).T
    energies = jnp.einsum("tm,kmb->ktb", jnp.abs(known.energy.senses), strength.energy)
    return Pull(torque[0] - own, torque[1:], energies)


def _motion(energy: RigidEnergy, angles: Float[Array, "B T"]) -> Motion:
    places = energy.torsions.places(angles)
    first, second = (jnp.moveaxis(places[column], 1, 0) for column in energy.pairs.atoms.T)
    feet = places[energy.torsions.atoms[:, 1]]
    axes = places[energy.torsions.atoms[:, 2]] - feet
    axes = axes / jnp.sqrt(jnp.sum(axes**2, axis=1, keepdims=True))
    axes = axes[:, :, None] * energy.senses[:, None, :, None]
    moves = jnp.cross(axes, second - feet[:, :, None], axis=1)
    apart = second - first
    return Motion(apart, axes, moves, jnp.sum(apart * moves, axis=1))


def _bend(energy: RigidEnergy, motion: Motion) -> Float[Array, "T U M B"]:
    """Second derivatives of half the squared distances.

    Of two rotors the one nearer to the first atom, r, turns what the other, s, does: uᵣ·uₛ + w·(aᵣ × uₛ).
    """
    torsions, senses = energy.torsions, energy.senses
    beyond = torsions.moved[:, torsions.atoms[:, 1]] | torsions.moved[:, torsions.atoms[:, 2]]  # s on r's moved side
    nearer = (senses[:, None] > 0) == beyond[..., None]
    turned = jnp.cross(motion.apart[None], motion.axes, axis=1)
    carried = jnp.einsum("txmb,uxmb->tumb", turned, motion.moves)
    carried = jnp.where(nearer[..., None], carried, carried.swapaxes(0, 1))
    return jnp.einsum("txmb,uxmb->tumb", motion.moves, motion.moves) + carried


def _strength(known: Landscape, motion: Motion, sigma: Float[Array, " B"]) -> Strength:
    values, several = known.energy.pairs.values, known.several[:, None]
    square = jnp.sum(motion.apart**2, axis=0)

    def of(kind: Callable[..., Array], blunt: Array | float) -> tuple[Array, Array, Array]:
        length = jnp.sqrt(square + blunt**2)

        def energy(far: Array) -> Array:
            return KCAL_PER_MOL * kind(far, values)

        first, second = _with_derivative(lambda far: _derivative(energy, far), length)
        return energy(length), first / length, (second - first / length) / length**2

    sharp = [of(kind, SHARP * sigma) for kind in (dispersion, charges)]
    blunt = [of(kind, soft * sigma) for soft in BLUNT for kind in (dispersion, charges)]
    energies, *derivatives = (jnp.stack(part) * several for part in zip(*blunt, strict=True))
    whole = (one + other for one, other in zip(sharp[0][1:], sharp[1][1:], strict=True))
    return Strength(energies, *(jnp.concatenate([a[None], b]) for a, b in zip(whole, derivatives, strict=True)))


def _derivative(function: Callable[[Array], Array], x: Array) -> Array:
    """Of a function that acts on each number by itself."""
    return _with_derivative(function, x)[1]


def _with_derivative(function: Callable[[Array], Array], x: Array) -> tuple[Array, Array]:
    return jax.jvp(function, (x,), (jnp.ones_like(x),))
