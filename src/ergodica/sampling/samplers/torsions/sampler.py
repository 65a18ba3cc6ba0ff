"""Trained samplers of torsions: their file, and angles drawn from them with their density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ergodica.errors import InputError
from ergodica.potentials.potential import Info
from ergodica.sampling.coordinates.landscape import Landscape
from ergodica.sampling.diffusion.flow import Drawn, Samples, draw_batches, flow
from ergodica.sampling.diffusion.sampler_file import load_whole, sampler_path, save_whole
from ergodica.sampling.samplers.torsions.network import Seen, TorsionNetwork, TorsionNetworkConfig
from ergodica.sampling.samplers.torsions.score import EVEN, NOISE, ODD, PAIR_EVEN, PAIR_ODD, TorsionScore, torsion_score
from ergodica.sampling.spaces import Torus
from ergodica.sampling.walks.tempering import check_temperature
from ergodica.units import KB

__all__ = ["KIND", "TorsionSampler", "draw", "fresh_params", "load_sampler", "save_sampler"]

KIND = "torsion-sampler"
PHYSICS = "physics"
BATCH, STEPS = 256, 24
"""Samples of a call of the device, and steps of Heun's rule."""


@dataclass(frozen=True)
class TorsionSampler:
    """A network that was trained on the torsions of many molecules.

    Attributes:
        config: architecture.
        params: of the network; None for physics alone.
        temperatures: between which it was trained, K.
        force_field: whose ensembles it was trained on.
        info: card.
    """

    config: TorsionNetworkConfig
    params: Any = field(repr=False)
    temperatures: tuple[float, float]
    force_field: str
    info: Info


def fresh_params(config: TorsionNetworkConfig, key: Array) -> Any:
    """Parameters that change nothing yet."""
    shapes = ((1, 2, EVEN), (1, 2, ODD), (1, 2, 2, PAIR_EVEN), (1, 2, 2, PAIR_ODD))
    even, odd, pair_even, pair_odd = (jnp.zeros(shape) for shape in shapes)
    return jax.jit(TorsionNetwork(config).init)(key, Seen(even, odd, pair_even, pair_odd, jnp.ones((1, 2), bool)))


def save_sampler(path: str | Path, sampler: TorsionSampler) -> None:
    """Write a sampler as one model file."""
    save_whole(path, KIND, sampler)


def load_sampler(name_or_path: str | Path) -> TorsionSampler:
    """A sampler by the path of its file, the name of a shipped one, or "physics" for the score that needs no network.

    Raises:
        InputError: there is none, or the file is damaged, of another kind or from a newer version.
    """
    if name_or_path == PHYSICS:
        return TorsionSampler(TorsionNetworkConfig(), None, (0.0, np.inf), "any", Info(name=PHYSICS))

    def fresh(sampler: TorsionSampler) -> Any:
        return fresh_params(sampler.config, jax.random.key(0))

    return load_whole(TorsionSampler, sampler_path(name_or_path, PHYSICS), KIND, fresh)


def draw(
    sampler: TorsionSampler,
    known: Landscape,
    temperature: float,
    count: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    report: Callable[[float], None] = lambda part: None,
) -> Samples:
    """Draw independent angles of a molecule, rad, in [-π, π]; energies in eV.

    Args:
        sampler: trained.
        known: the molecule.
        temperature: K.
        count: how many.
        seed: of the random numbers.
        steps: of Heun's rule.
        report: is told what part is done.

    Raises:
        InputError: the temperature is not positive, or not one that the sampler was trained for.
    """
    check_temperature(temperature)
    low, high = sampler.temperatures
    if not low <= temperature <= high:
        raise InputError(f"The sampler was trained between {low:g} and {high:g} K, not for {temperature:g} K.")
    rotors = int(np.sum(known.valid))
    score = torsion_score(known, 1 / (KB * temperature), sampler.params, sampler.config)

    def batch(key: Array) -> tuple[Drawn, Array]:
        return _batch(score, key, rotors, steps)

    return draw_batches(batch, count, BATCH, seed=seed, calls=2 * steps * (1 + rotors), report=report)


@partial(jax.jit, static_argnums=(2, 3))
def _batch(score: TorsionScore, key: Array, rotors: int, steps: int) -> tuple[Drawn, Array]:
    space = Torus(rotors)
    drawn = flow(score.denoise, space, space.prior(key, BATCH, NOISE.largest), noise=NOISE, steps=steps)
    energies = score.known.energy(drawn.x)
    return drawn._replace(x=drawn.x - 2 * jnp.pi * jnp.round(drawn.x / (2 * jnp.pi))), energies
