"""Samplers that learnt from an analytic energy alone: their file, and samples with their density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from ergodica.errors import InputError
from ergodica.potentials.potential import Info
from ergodica.sampling.diffusion.flow import Drawn, Samples, draw_batches, flow
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.sampler_file import load_whole, sampler_path, save_whole
from ergodica.sampling.energies.analytic import ANALYTIC, Landmarks
from ergodica.sampling.samplers.molecule.network import InternalDenoiser, InternalNetworkConfig, fresh_internal

__all__ = ["KIND", "EnergySampler", "draw_from_energy", "load_energy_sampler", "save_energy_sampler"]

KIND = "energy-sampler"
BATCH, STEPS = 512, 20
"""Samples of a call of the device, and steps of Heun's rule."""


@dataclass(frozen=True)
class EnergySampler:
    """A network that was trained on one analytic target.

    Attributes:
        target: its name.
        config: architecture.
        noise: levels that it was trained for, in widths of the target.
        params: of the network.
        info: card.
    """

    target: str
    config: InternalNetworkConfig
    noise: Noise
    params: Any = field(repr=False)
    info: Info = field(default_factory=Info)

    @property
    def known(self) -> Landmarks:
        """The target, where it is and how wide.

        Raises:
            InputError: there is none of that name.
        """
        if self.target not in ANALYTIC:
            raise InputError(f"There is no target '{self.target}': choose one of {', '.join(ANALYTIC)}.")
        return ANALYTIC[self.target]

    def denoiser(self, params: Any = None) -> InternalDenoiser:
        """The denoiser, of other parameters if they are given."""
        return InternalDenoiser(self.params if params is None else params, self.known.space, self.config)


def fresh_energy_sampler(target: str, config: InternalNetworkConfig, noise: Noise, seed: int) -> EnergySampler:
    """One that draws a Gaussian of the width of the target."""
    empty = EnergySampler(target, config, noise, None)
    return replace(
        empty, params=jax.tree.map(np.asarray, fresh_internal(config, empty.known.space, jax.random.key(seed)))
    )


def save_energy_sampler(path: str | Path, sampler: EnergySampler) -> None:
    """Write a sampler as one model file."""
    save_whole(path, KIND, sampler)


def load_energy_sampler(path: str | Path) -> EnergySampler:
    """A sampler by the path of its file.

    Raises:
        InputError: there is none, or the file is damaged, of another kind or from a newer version.
    """

    def fresh(sampler: EnergySampler) -> Any:
        return fresh_internal(sampler.config, sampler.known.space, jax.random.key(0))

    return load_whole(EnergySampler, sampler_path(path), KIND, fresh)


def draw_from_energy(
    sampler: EnergySampler,
    count: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    report: Callable[[float], None] = lambda part: None,
) -> Samples:
    """Draw independent samples, in coordinates of the sampler, with their density; energies are minus `log_boltzmann`.

    Args:
        sampler: trained.
        count: how many.
        seed: of the random numbers.
        steps: of Heun's rule.
        report: is told what part is done.
    """
    denoiser, known = sampler.denoiser(), sampler.known
    calls = 2 * steps * (1 + known.space.dimensions)

    def batch(key: Array) -> tuple[Drawn, Array]:
        return _batch(denoiser, key, known, sampler.noise, steps)

    return draw_batches(batch, count, BATCH, seed=seed, calls=calls, report=report)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _batch(denoiser: InternalDenoiser, key: Array, known: Landmarks, noise: Noise, steps: int) -> tuple[Drawn, Array]:
    drawn = flow(denoiser, known.space, known.space.prior(key, BATCH, noise.largest), noise=noise, steps=steps)
    return drawn, -known.log_boltzmann(drawn.x)
