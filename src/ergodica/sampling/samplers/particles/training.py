"""Training of particle samplers with the one loop of the package: from the energy alone, by states of a walk on it."""

from __future__ import annotations

import hashlib
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
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.random_feed import RandomFeed
from ergodica.sampling.diffusion.score_matching import (
    Clean,
    Noisy,
    ScoreErrors,
    States,
    mean_error,
    noisy_states,
    score_error,
)
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
from ergodica.training.options import OptimizerOptions, RunOptions, defining_record

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


@dataclass(frozen=True)
class ParticleTraining:
    """Everything that defines the training of a sampler of particles.

    Attributes:
        model: architecture.
        data: the system and how to walk in it.
        optimizer: how.
        run: how long; its batches are of states.
        info: card of the result; errors are filled in.
        output: folder of checkpoints, metrics and the final model.
    """

    model: ParticleNetworkConfig = field(default_factory=ParticleNetworkConfig)
    data: ParticleData = field(default_factory=ParticleData)
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    run: RunOptions = field(default_factory=RunOptions)
    info: Info = field(default_factory=Info)
    output: str = "runs/particles"

    def defining(self) -> dict[str, Any]:
        """What must not change between the parts of one run (length and rhythm may)."""
        return defining_record(self)


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


class ParticleTask:
    """A sampler of particles and states of its system.

    Args:
        config: what to do.
        train: states to learn from.
        validation: states to choose the best step by.

    Raises:
        InputError: all states are one.
    """

    members = 0

    def __init__(self, config: ParticleTraining, train: Walked, validation: Walked) -> None:
        data = config.data
        self.config, self.calls = config, train.calls + validation.calls
        self.train, self.validation = met(train), met(validation)
        width = float(np.sqrt(np.mean(train.x.astype(float) ** 2)))
        if not width > 0:
            raise InputError("All states of the walk are one: nothing can be learnt from them.")
        noise = Noise(data.smallest, data.largest * width, data.rho)
        shape = particles(data.target).shape
        params = jax.tree.map(np.asarray, fresh_params(config.model, shape, jax.random.key(config.run.seed)))
        self.sampler = ParticleSampler(data.target, config.model, noise, width, params)
        self.params, self.trainable = params, jax.tree.map(lambda _: 1.0, params)
        self.space = Centred(shape)
        self.fingerprint = hashlib.sha256(train.x.tobytes() + validation.x.tobytes()).hexdigest()

    def loaders(self, devices: int) -> tuple[RandomFeed, RandomFeed]:
        """Batches to train on and to validate with."""
        size, length = self.config.run.batch_size, self.config.run.steps_per_call
        parts = self.train, self.validation
        training, checked = (partial(noisy_states, part, self.space, self.sampler.noise, size) for part in parts)
        return RandomFeed(training, self.config.data.steps, length, devices), RandomFeed(checked, VALIDATED, length)

    def loss(self, params: Any, batch: Noisy, targets: Clean, *_: Array) -> tuple[Array, ScoreErrors]:
        """Mean over samples and degrees of freedom of σ² times the squared error of the score."""
        return score_error(self.sampler.denoiser(params), self.space.dimensions, batch, targets, self.train.clean)

    def summary(self, errors: ScoreErrors) -> dict[str, float]:
        """Means of summed errors by name."""
        return mean_error(errors)

    def save(self, path: Path, params: Any, errors: dict[str, float]) -> None:
        """Write the sampler with its card."""
        info = self.config.info
        calls = {"energy_calls": float(self.calls)}
        card = replace(info, errors={**info.errors, **errors, **calls})
        save_particles(path, replace(self.sampler, params=params, info=card))

    def load(self, path: Path) -> Any:
        """Parameters out of a model file."""
        return load_particles(path).params


def met(walked: Walked) -> States:
    """All states of a walk."""
    return States(*(part.reshape(-1, *part.shape[2:]) for part in (walked.x, walked.forces)))


VALIDATED = 40
"""Batches that validate."""
