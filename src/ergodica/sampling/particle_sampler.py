"""Trained samplers of particles: their file, and positions drawn from them with their density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float

from ergodica.checkpoint import load_shaped
from ergodica.config import from_dict
from ergodica.errors import InputError
from ergodica.potentials.potential import Info
from ergodica.sampling.blurred_pairs import blurred_pairs
from ergodica.sampling.flow import Drawn, flow
from ergodica.sampling.noise import Noise
from ergodica.sampling.particle_network import ParticleNetworkConfig
from ergodica.sampling.particle_score import ParticleDenoiser, fresh_params
from ergodica.sampling.sampler_file import read_sampler_header, sampler_path, save_sampler_tree
from ergodica.sampling.spaces import Centred
from ergodica.sampling.targets import PARTICLES, Particles

__all__ = ["KIND", "DrawnParticles", "ParticleSampler", "draw_particles", "load_particles", "save_particles"]

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
        return ParticleDenoiser(params, pairs, width, self.config, self.energy.shape)  # type: ignore[arg-type]


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
    record = asdict(sampler)
    save_sampler_tree(path, KIND, record.pop("params"), record)


def load_particles(name_or_path: str | Path) -> ParticleSampler:
    """A sampler by the path of its file or the name of a shipped one.

    Raises:
        InputError: there is none, or the file is damaged, of another kind or from a newer version.
    """
    path = sampler_path(name_or_path)
    header = read_sampler_header(path, KIND)
    config = from_dict(ParticleNetworkConfig, header["config"], f"{path}: config")
    noise = from_dict(Noise, header["noise"], f"{path}: noise")
    shape = particles(header["target"]).shape
    params = load_shaped(path, jax.eval_shape(lambda: fresh_params(config, shape, jax.random.key(0))))
    info = from_dict(Info, header["info"], f"{path}: info")
    return ParticleSampler(header["target"], config, noise, header["width"], params, info)


@dataclass(frozen=True)
class DrawnParticles:
    """Independent samples.

    Attributes:
        x: positions about their centre [n, N, D].
        energies: kT [n].
        log_density: natural logarithm of their density [n].
        calls: evaluations of the network, those for derivatives among them.
        folded: share of what was drawn and left out, because a step was not one-to-one there.
    """

    x: Float[np.ndarray, "n N D"]
    energies: Float[np.ndarray, " n"]
    log_density: Float[np.ndarray, " n"]
    calls: int
    folded: float


def draw_particles(
    sampler: ParticleSampler,
    count: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    report: Callable[[float], None] = lambda part: None,
) -> DrawnParticles:
    """Draw independent positions with their density; one call of the energy each.

    Args:
        sampler: trained.
        count: how many.
        seed: of the random numbers.
        steps: of Heun's rule.
        report: is told what part is done.
    """
    target, denoiser = sampler.energy, sampler.denoiser()
    keys = jax.random.split(jax.random.key(seed), -(-count // BATCH))
    parts = []
    for number, key in enumerate(keys):
        drawn = _batch(denoiser, key, sampler.noise, steps)
        parts.append((*jax.tree.map(np.asarray, drawn), np.asarray(target(drawn.x))))
        report((number + 1) / len(keys))
    x, density, upright, energies = (np.concatenate(part)[:count] for part in zip(*parts, strict=True))
    kept = upright & np.isfinite(density)
    energies = np.where(np.isnan(energies), np.inf, energies)  # particles on one place
    calls = 2 * steps * (1 + Centred(target.shape).dimensions) * count
    return DrawnParticles(x[kept], energies[kept], density[kept], calls, 1 - float(kept.mean()))


@partial(jax.jit, static_argnums=(2, 3))
def _batch(denoiser: ParticleDenoiser, key: Array, noise: Noise, steps: int) -> Drawn:
    space = Centred(denoiser.shape)
    return flow(denoiser, space, space.prior(key, BATCH, noise.largest), noise=noise, steps=steps)
