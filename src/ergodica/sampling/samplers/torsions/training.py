"""Training of torsion samplers with the one loop of the package: what is minimised, and the task the loop is given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.sampling.diffusion.noise import score_target
from ergodica.sampling.energies.mmff94 import Variant
from ergodica.sampling.samplers.torsions.feed import TorsionBatch, TorsionFeed, TorsionTargets
from ergodica.sampling.samplers.torsions.marginals import factors
from ergodica.sampling.samplers.torsions.network import TorsionNetwork, TorsionNetworkConfig
from ergodica.sampling.samplers.torsions.sampler import KIND, TorsionSampler, fresh_params, load_sampler, save_sampler
from ergodica.sampling.samplers.torsions.score import EXACT, NOISE, view
from ergodica.sampling.walks.references import Reference, read_names, references
from ergodica.training.loop import Outcome, run_task
from ergodica.training.options import TaskOptions

__all__ = ["KIND", "SamplerTask", "SamplerTraining", "train_sampler"]

CLEAN = 0.25
"""Noise (rad) at which noise itself and torques of clean states say as much about the score."""


@dataclass(frozen=True)
class MoleculeData:
    """What is learnt from.

    Attributes:
        train: file of SMILES, one at the beginning of each line.
        validation: SMILES for choosing the best step.
        packed: file of equilibrium states that come with the package's data.
        references: folder of equilibrium states of one molecule each; what is neither there nor packed is drawn.
        force_field: whose ensembles are drawn.
        states: of a molecule in a batch.
        draws: how often an epoch has each molecule.
    """

    train: str = ""
    validation: str = ""
    packed: str = ""
    references: str = "runs/references"
    force_field: Variant = "MMFF94"
    states: int = 64
    draws: int = 4


@dataclass(frozen=True, kw_only=True)
class SamplerTraining(TaskOptions):
    """Everything that defines the training of a sampler.

    Attributes:
        model: architecture.
        data: molecules.
    """

    model: TorsionNetworkConfig = field(default_factory=TorsionNetworkConfig)
    data: MoleculeData = field(default_factory=MoleculeData)
    output: str = "runs/sampler"

    def defining(self) -> dict[str, Any]:
        """What must not change between the parts of one run (length and rhythm may)."""
        record = super().defining()
        for key in ("references", "packed"):
            record["data"].pop(key)
        return record


def train_sampler(
    config: SamplerTraining,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Outcome:
    """Train a sampler; arguments and errors are those of `ergodica.training.train`."""

    def make() -> SamplerTask:
        data = config.data
        sets = [
            references(read_names(names), data.references, data.force_field, packed=data.packed)
            for names in (data.train, data.validation)
        ]
        return SamplerTask(config, *sets)

    return run_task(make, config.output, resume, overwrite, report)


class Errors(NamedTuple):
    """Sums over a batch of squared errors of the score, times σ², and how many rotors' there are."""

    loss: Float[Array, ""]
    squared: Float[Array, ""]
    physics: Float[Array, ""]
    angles: Float[Array, ""]
    batches: Float[Array, ""]


class SamplerTask:
    """A sampler and its molecules.

    Args:
        config: what to do.
        train: molecules to learn from.
        validation: molecules to choose the best step by.

    Raises:
        InputError: there are no molecules, or only such as physics knows all of.
    """

    members = 0

    def __init__(self, config: SamplerTraining, train: Sequence[Reference], validation: Sequence[Reference]) -> None:
        if not train or not validation:
            raise InputError("A sampler needs molecules to train on and to validate: set [data] train and validation.")
        train, validation = ([one for one in part if one.rotors > EXACT] for part in (train, validation))
        if not train or not validation:
            raise InputError(f"No molecule to train on, or none to validate, has more than {EXACT} rotors.")
        self.config, self.train, self.validation = config, train, validation
        self.fingerprint = _fingerprint([*train, *validation])
        self.params = jax.tree.map(np.asarray, fresh_params(config.model, jax.random.key(config.run.seed)))
        self.trainable = jax.tree.map(lambda _: 1.0, self.params)
        self.network = TorsionNetwork(config.model)

    def loaders(self, devices: int) -> tuple[TorsionFeed, TorsionFeed]:
        """Batches to train on and to validate with."""
        run, data = self.config.run, self.config.data

        def feed(references: Sequence[Reference], draws: int, spread: int) -> TorsionFeed:
            return TorsionFeed(references, run.batch_size, data.states, draws, run.steps_per_call, NOISE, spread)

        return feed(self.train, data.draws, devices), feed(self.validation, VALIDATED, 1)

    def loss(self, params: Any, batch: TorsionBatch, targets: TorsionTargets, *_: Array) -> tuple[Array, Errors]:
        """Mean over rotors of σ² times the squared error of the score.

        Integrated over log σ this bounds the divergence of the model (Song et al. 2021, arXiv:2101.09258).
        """
        seen = jax.vmap(lambda known, beta, *rest: view(known, factors(known, beta), beta, *rest))(
            batch.known, batch.beta, batch.angles, batch.sigma
        )
        seen = jax.lax.stop_gradient(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), seen))
        correction = seen.unit * self.network.apply(params, seen.seen)
        sigma = batch.sigma[..., None]
        target = score_target(batch.beta[:, None, None] * targets.torques, targets.noise, sigma, CLEAN)
        physics = seen.physics.reshape(target.shape)
        weight = targets.weight[:, None, None] * batch.known.valid[:, None] * sigma**2

        def squared(score: Array) -> Array:
            return jnp.sum(weight * (score - target) ** 2)

        found, bare = squared(physics + correction.reshape(target.shape)), squared(physics)
        angles = jnp.sum(targets.weight[:, None] * batch.known.valid) * batch.sigma.shape[1]
        loss = found / jnp.maximum(angles, 1.0)
        return loss, Errors(loss, found, bare, angles, 1.0 * (angles > 0))

    def summary(self, errors: Errors) -> dict[str, float]:
        """Means of summed errors by name; most of them is the noise of the targets."""
        angles = max(float(errors.angles), 1.0)
        return {
            "loss": float(errors.squared) / angles,
            "score_error": float(errors.squared) / angles,
            "physics_score_error": float(errors.physics) / angles,
        }

    def save(self, path: Path, params: Any, errors: dict[str, float]) -> None:
        """Write the sampler with its card."""
        info, data = self.config.info, self.config.data
        temperatures = np.concatenate([one.temperatures for one in self.train])
        span = float(temperatures.min()), float(temperatures.max())
        card = replace(info, errors={**info.errors, **errors})
        save_sampler(path, TorsionSampler(self.config.model, params, span, data.force_field, card))

    def load(self, path: Path) -> Any:
        """Parameters out of a model file."""
        return load_sampler(path).params


VALIDATED = 8
"""Draws of each molecule that validate."""


def _fingerprint(references: Sequence[Reference]) -> str:
    """A hash of all molecules and states."""
    found = hashlib.sha256()
    for one in references:
        found.update(one.smiles.encode())
        for value in (one.temperatures, one.angles, one.torques):
            found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()
