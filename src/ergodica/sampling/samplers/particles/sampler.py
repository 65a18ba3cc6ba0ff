"""Trained samplers of particles: their file, and positions drawn from them with their density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
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
from ergodica.sampling.energies.analytic import PARTICLES, Particles
from ergodica.sampling.samplers.particles.blurred_pairs import blurred_pairs
from ergodica.sampling.samplers.particles.network import ParticleNetworkConfig
from ergodica.sampling.samplers.particles.score import ParticleDenoiser, fresh_params
from ergodica.sampling.spaces import Centred

__all__ = ["KIND", "ParticleSampler", "draw_particles", "load_particles", "save_particles"]

KIND = "particle-sampler"
BATCH, STEPS = 128, 24
"""Samples of a call of the device, and steps of Heun's rule."""


@dataclass(frozen=True)
class ParticleSampler:
    """A network that was trained on one system of particles.

    Attributes:
        target: name of the system.
        config: architecture.
        noise: levels that it was trained for.
        width: standard deviation of a coordinate.
        params: of the network.
        info: card.
    """

    target: str
    config: ParticleNetworkConfig
    noise: Noise
    width: float
    params: Any = field(repr=False)
    info: Info = field(default_factory=Info)

    @property
    def energy(self) -> Particles:
        """The system."""
        return particles(self.target)

    def denoiser(self, params: Any = None) -> ParticleDenoiser:
        """The denoiser, of other parameters if they are given."""
        params = self.params if params is None else params
        pairs, width = blurred_pairs(self.energy, self.noise), np.float32(self.width)
        return ParticleDenoiser(params, pairs, width, self.config)  # type: ignore[arg-type]


def particles(name: str) -> Particles:
    """A system of particles by its name.

    Raises:
        InputError: there is none of that name.
    """
    if name not in PARTICLES:
        raise InputError(f"There is no system of particles '{name}': choose one of {', '.join(PARTICLES)}.")
    return PARTICLES[name]


def save_particles(path: str | Path, sampler: ParticleSampler) -> None:
    """Write a sampler as one model file."""
    save_whole(path, KIND, sampler)


def load_particles(name_or_path: str | Path) -> ParticleSampler:
    """A sampler by the path of its file or the name of a shipped one.

    Raises:
        InputError: there is none, or the file is damaged, of another kind or from a newer version.
    """

    def fresh(sampler: ParticleSampler) -> Any:
        return fresh_params(sampler.config, sampler.energy.shape, jax.random.key(0))

    return load_whole(ParticleSampler, sampler_path(name_or_path), KIND, fresh)


def draw_particles(
    sampler: ParticleSampler,
    count: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    report: Callable[[float], None] = lambda part: None,
) -> Samples:
    """Draw independent positions with their density; one call of the energy each.

    Args:
        sampler: trained.
        count: how many.
        seed: of the random numbers.
        steps: of Heun's rule.
        report: is told what part is done.
    """
    denoiser = sampler.denoiser()
    calls = 2 * steps * (1 + Centred(sampler.energy.shape).dimensions)

    def batch(key: Array) -> tuple[Drawn, Array]:
        return _batch(denoiser, key, sampler.energy, sampler.noise, steps)

    return draw_batches(batch, count, BATCH, seed=seed, calls=calls, report=report)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _batch(denoiser: ParticleDenoiser, key: Array, target: Particles, noise: Noise, steps: int) -> tuple[Drawn, Array]:
    space = Centred(target.shape)
    drawn = flow(denoiser, space, space.prior(key, BATCH, noise.largest), noise=noise, steps=steps)
    return drawn, target(drawn.x)
