"""Scores of noisy dihedral angles: what the landscape says by itself, and the network's correction.

The physics part is exact for up to three rotors at any noise (but for the grid), and for all at none: scores of the
smoothed densities of one rotor, two and three, summed as Kikuchi does (1951, doi:10.1103/PhysRev.81.988), pass into the
torques -∂U/∂θ/kT where noise fades.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ergodica.sampling.coordinates.landscape import Landscape
from ergodica.sampling.coordinates.torques import BLUNT, Pull, pull
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.samplers.torsions.marginals import (
    FINEST,
    TRIO_WIDER,
    WIDER,
    Factors,
    Marginals,
    Trios,
    factors,
    marginals,
    trios,
)
from ergodica.sampling.samplers.torsions.network import Seen, TorsionNetwork, TorsionNetworkConfig

__all__ = ["EXACT", "NOISE", "TorsionScore", "View", "torsion_score", "view"]

NOISE = Noise(0.04, 3.0, 5.0)
"""Levels of noise, rad; a wrapped normal density of the largest is uniform to 2 %, and importance weights know."""
SHARP = 0.05
"""Noise (rad) at which the physics part is half torques, half smoothed densities."""
COARSE = 0.3
"""Noise beyond which what several rotors decide together is left to the network."""
SOFT = 0.2
"""Width (rad) by which scores are made dimensionless where there is less noise."""
FADING = 0.12
"""Noise below which corrections fade."""
LARGEST = 4.0
"""Dimensionless scores beyond which torques are cut short."""
EXACT = 3
"""Rotors up to which physics needs no correction."""
FAR = 6
"""Bonds between rotors that are told apart."""

EVEN, ODD = len(WIDER) + 2 * len(BLUNT) + 5, len(WIDER) + 2 * len(BLUNT) + len(TRIO_WIDER)
PAIR_EVEN, PAIR_ODD = len(WIDER) + len(TRIO_WIDER) + FAR + 1, 2 * (len(WIDER) + len(TRIO_WIDER))
"""Channels of rotors and of pairs."""


class View(NamedTuple):
    """All that is computed of noisy angles before the network.

    Attributes:
        seen: for the network.
        physics: the physics part of the score, 1/rad [B, T].
        unit: of the correction, 1/rad [B, 1].
    """

    seen: Seen
    physics: Float[Array, "B T"]
    unit: Float[Array, "B 1"]


def view(
    known: Landscape, given: Factors, beta: Float[Array, ""], angles: Float[Array, "B T"], sigma: Float[Array, " B"]
) -> View:
    """Look at noisy angles.

    Args:
        known: the molecule.
        given: its Boltzmann factors at this temperature.
        beta: 1/kT, 1/eV.
        angles: of the rotors, rad.
        sigma: width of the noise, rad.
    """
    density, torque = marginals(given, angles, sigma), pull(known, angles, sigma)
    three = _by_rotors(density, trios(given, angles, sigma), given.triples)
    width = jnp.sqrt(sigma**2 + SOFT**2)
    unsure = (known.valid.sum() > EXACT) * sigma**2 / (sigma**2 + FADING**2)
    physics = _physics(density, three, torque, beta, sigma).T * known.valid
    return View(_seen(known, density, three, torque, beta, sigma), physics, (unsure / width)[:, None])


class Three(NamedTuple):
    """What three rotors do together beyond what they do by twos, summed over the triples.

    Attributes:
        slope: of the log-density with a rotor's angle, 1/rad [L, T, B].
        pair: log-density, of the triples that hold two rotors [L, T, T, B].
        pull: its derivative with the angle of the first [L, T, T, B].
    """

    slope: Float[Array, "L T B"]
    pair: Float[Array, "L T T B"]
    pull: Float[Array, "L T T B"]


def _by_rotors(density: Marginals, found: Trios, triples: Int[Array, "P 3"]) -> Three:
    """Triples taken to the rotors they are of; those of padding hold one rotor thrice and count for nothing."""
    rotors, levels = density.slope.shape[1], len(TRIO_WIDER)
    real = (triples[:, 0] != triples[:, 1])[:, None]
    hot = jax.nn.one_hot(triples, rotors, axis=-1)  # [P, 3, T]
    place = [triples[:, number] for number in range(3)]
    single = [density.single[:levels, one] for one in place]
    beyond = found.density - sum(single)
    slopes = []
    for number, one in enumerate(place):
        rest = [place[other] for other in range(3) if other != number]
        known = density.slope[:levels, one] + sum(density.pull[:levels, one, other] for other in rest)
        slopes.append((found.slopes[:, number] - known) * real)
    for left, right in ((0, 1), (0, 2), (1, 2)):
        beyond = beyond - density.double[:levels, place[left], place[right]]
    beyond = beyond * real
    slope = jnp.stack(slopes, axis=1)  # [L, 3, P, B]
    both = hot[:, :, None, :, None] * hot[:, None, :, None, :] * (1 - jnp.eye(3))[..., None, None]  # [P, 3, 3, T, T]
    return Three(
        jnp.einsum("lxpb,pxt->ltb", slope, hot),
        jnp.einsum("lpb,ptu->ltub", beyond, both.sum(axis=(1, 2))),
        jnp.einsum("lxpb,pxtu->ltub", slope, both.sum(axis=2)),
    )


def _physics(density: Marginals, three: Three, torque: Pull, beta: Array, sigma: Array) -> Float[Array, "T B"]:
    width = jnp.sqrt(sigma**2 + SOFT**2)

    def short(score: Array) -> Array:
        return score * jax.lax.rsqrt(jnp.sqrt(1 + (score * width / LARGEST) ** 4))

    sharp = SHARP**2 / (sigma**2 + SHARP**2)
    coarse = COARSE**2 / (sigma**2 + COARSE**2)
    smooth = density.slope[0] + density.pull[0].sum(axis=1) + three.slope[0]
    smooth = smooth + coarse * short(beta * torque.rest[:2].sum(axis=0))
    return sharp * short(beta * torque.whole) + (1 - sharp) * short(smooth)


def _seen(known: Landscape, density: Marginals, three: Three, torque: Pull, beta: Array, sigma: Array) -> Seen:
    """Channels of the network; squeezed, since torques of atoms that overlap have no bound."""
    width = jnp.sqrt(sigma**2 + SOFT**2)

    def last(channels: Array) -> Array:
        """From channels first and batch last to batch first and channels last."""
        return jnp.moveaxis(jnp.moveaxis(channels, -1, 0), 1, -1)

    level = jnp.log(jnp.sqrt(sigma**2 + FINEST**2))
    waves = jnp.stack([level, jnp.cos(level), jnp.sin(level), jnp.cos(2 * level), jnp.sin(2 * level)])
    rotors = len(known.valid)
    waves = jnp.broadcast_to(waves[:, None], (len(waves), rotors, len(sigma)))
    even = jnp.concatenate([jnp.arcsinh(density.single), jnp.arcsinh(beta * torque.energies), waves])
    strange = jnp.arcsinh(width * jnp.concatenate([beta * torque.rest, three.slope]))
    odd = jnp.concatenate([width * density.slope, strange])
    bonds = jax.nn.one_hot(jnp.minimum(known.apart, FAR), FAR + 1)
    pair_even = last(jnp.arcsinh(jnp.concatenate([density.double, three.pair])))
    bonds = jnp.broadcast_to(bonds, (len(sigma), *bonds.shape))
    own = jnp.concatenate([density.pull, three.pull])
    pair_odd = jnp.concatenate([own, own.swapaxes(1, 2)])
    return Seen(
        last(even),
        last(odd),
        jnp.concatenate([pair_even, bonds], axis=-1),
        last(jnp.arcsinh(width * pair_odd)),
        jnp.broadcast_to(known.valid, (len(sigma), rotors)),
    )


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class TorsionScore:
    """The score of one molecule at one temperature; a pytree.

    Attributes:
        known: the molecule.
        given: its Boltzmann factors.
        beta: 1/kT, 1/eV.
        params: of the network; None leaves physics alone.
        config: of the network.
    """

    known: Landscape
    given: Factors
    beta: Float[Array, ""]
    params: Any
    config: TorsionNetworkConfig = field(metadata={"static": True})

    def __call__(self, angles: Float[Array, "B R"], sigma: Float[Array, ""]) -> Float[Array, "B R"]:
        """∇ log p_σ, 1/rad; angles of padding may be left out."""
        padded = self.known.energy.padded(angles)
        seen = view(self.known, self.given, self.beta, padded, jnp.broadcast_to(sigma, len(angles)))
        score = seen.physics
        if self.params is not None:
            correction: Any = TorsionNetwork(self.config).apply(self.params, seen.seen)
            score = score + seen.unit * correction
        return score[:, : angles.shape[1]]

    def denoise(self, angles: Float[Array, "B R"], sigma: Float[Array, ""]) -> Float[Array, "B R"]:
        """E[angles without noise], on the covering space (Tweedie)."""
        return angles + sigma**2 * self(angles, sigma)


def torsion_score(
    known: Landscape, beta: float, params: Any = None, config: TorsionNetworkConfig | None = None
) -> TorsionScore:
    """Of a molecule at 1/kT = beta (1/eV)."""
    single = jnp.asarray(beta, jnp.float32)
    return TorsionScore(known, jax.jit(factors)(known, single), single, params, config or TorsionNetworkConfig())
