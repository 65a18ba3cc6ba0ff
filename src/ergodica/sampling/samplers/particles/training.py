"""Training of particle samplers with the one loop of the package: from the energy alone, by states of a walk on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ergodica.errors import InputError
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.score_matching import (
    States,
)
from ergodica.sampling.diffusion.score_task import ScoreTask
from ergodica.sampling.samplers.particles.network import ParticleNetworkConfig
from ergodica.sampling.samplers.particles.sampler import (
    KIND,
    ParticleSampler,
    load_particles,
    particles,
    save_particles,
)
from ergodica.sampling.samplers.particles.score import fresh_params
from ergodica.sampling.spaces import Centred
from ergodica.sampling.walks.hamiltonian import Walk, Walked, walk
from ergodica.training.loop import Outcome, run_task
from ergodica.training.options import TaskOptions

__all__ = ["KIND", "ParticleTask", "ParticleTraining", "train_particles"]


@dataclass(frozen=True)
class ParticleData:
    """What is learnt from.

    Attributes:
        target: name of the system, one of `ergodica.sampling.energies.analytic.PARTICLES`.
        walk: that gives states to learn from; one of another seed and an eighth as many chains validates.
        seed: of the walks.
        steps: of an epoch.
        smallest: level of noise where sampling ends, in units of length.
        largest: where it starts, in widths of the data.
        rho: how much denser levels are at small noise.
    """

    target: str = "dw4"
    walk: Walk = field(default_factory=Walk)
    seed: int = 0
    steps: int = 200
    smallest: float = 0.01
    largest: float = 30.0
    rho: float = 7.0


@dataclass(frozen=True, kw_only=True)
class ParticleTraining(TaskOptions):
    """Everything that defines the training of a sampler of particles.

    Attributes:
        model: architecture.
        data: the system and how to walk in it.
    """

    model: ParticleNetworkConfig = field(default_factory=ParticleNetworkConfig)
    data: ParticleData = field(default_factory=ParticleData)
    output: str = "runs/particles"


def train_particles(
    config: ParticleTraining,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Outcome:
    """Train a sampler of particles; arguments and errors are those of `ergodica.training.train`."""

    def make() -> ParticleTask:
        data, target = config.data, particles(config.data.target)
        fewer = replace(data.walk, chains=max(1, data.walk.chains // 8))
        return ParticleTask(config, walk(target, data.walk, seed=data.seed), walk(target, fewer, seed=data.seed + 1))

    return run_task(make, config.output, resume, overwrite, report)


class ParticleTask(ScoreTask):
    """A sampler of particles and states of its system.

    Args:
        config: what to do.
        train: states to learn from.
        validation: states to choose the best step by.

    Raises:
        InputError: all states are one.
    """

    def __init__(self, config: ParticleTraining, train: Walked, validation: Walked) -> None:
        data = config.data
        width = float(np.sqrt(np.mean(train.x.astype(float) ** 2)))
        if not width > 0:
            raise InputError("All states of the walk are one: nothing can be learnt from them.")
        noise = Noise(data.smallest, data.largest * width, data.rho)
        shape = particles(data.target).shape
        params = jax.tree.map(np.asarray, fresh_params(config.model, shape, jax.random.key(config.run.seed)))
        sampler = ParticleSampler(data.target, config.model, noise, width, params)
        super().__init__(config, sampler, Centred(shape), met(train), met(validation), train.calls + validation.calls)

    def save(self, path: Path, params: Any, errors: dict[str, float]) -> None:
        """Write the sampler with its card."""
        save_particles(path, self.trained(params, errors))

    def load(self, path: Path) -> Any:
        """Parameters out of a model file."""
        return load_particles(path).params


def met(walked: Walked) -> States:
    """All states of a walk."""
    return States(*(part.reshape(-1, *part.shape[2:]) for part in (walked.x, walked.forces)))
