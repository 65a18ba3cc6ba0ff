"""What the training loop must know of what it trains, and the task that is a potential."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import jax
from jaxtyping import Array

from ergodica.elements import SYMBOLS, symbols_of
from ergodica.errors import InputError
from ergodica.potentials import load
from ergodica.potentials.potential import EnergyScale, Info, Potential
from ergodica.system import Batch, System
from ergodica.training.data import Feed, Loader, Sample, Targets, prepare
from ergodica.training.objective import Errors, loss_and_errors
from ergodica.training.options import TrainConfig
from ergodica.training.record import summary
from ergodica.training.splits import Splits
from ergodica.training.start import members_of, refitted, starting_potential, trainable_mask

__all__ = ["PotentialTask", "Task"]


class Task(Protocol):
    """Something to be trained.

    Attributes:
        config: how.
        params: parameters at step 0.
        trainable: tree of 0/1 factors on their updates.
        members: of an ensemble, trained side by side; 0 for a single model.
        fingerprint: a hash of the data.
    """

    config: Any
    params: Any
    trainable: Any
    members: int
    fingerprint: str

    def loaders(self, devices: int) -> tuple[Feed, Feed]:
        """Batches to train on and to validate with."""
        ...

    def loss(self, params: Any, batch: Any, targets: Any, *member: Array) -> tuple[Array, Any]:
        """Loss and errors of a batch; the errors are a tuple of sums with a field `batches`, 0 for an empty batch."""
        ...

    def summary(self, errors: Any) -> dict[str, float]:
        """Means of summed errors by name and unit, among them "loss"."""
        ...

    def save(self, path: Path, params: Any, errors: dict[str, float]) -> None:
        """Write the model file, with errors on its card."""
        ...

    def load(self, path: Path) -> Any:
        """Parameters out of a model file."""
        ...


def start_of(config: TrainConfig) -> str:
    """By which the start model is told from others of its name."""
    return f" {load(config.start.model).fingerprint}" if config.start.model else ""


class PotentialTask:
    """A potential and its labelled structures.

    Args:
        config: what to do.
        splits: labelled structures.

    Raises:
        InputError: data or configuration can't be used, or there is nothing to train.
    """

    def __init__(self, config: TrainConfig, splits: Splits) -> None:
        _check_labels(config, splits)
        self.config, self.splits = config, splits
        self.fingerprint = splits.fingerprint + start_of(config)
        self.potential = starting_potential(config, splits.train)
        self.params = self.potential.params
        if not jax.tree.leaves(self.params):
            raise InputError(f"'{self.potential.info.name}' has no parameters: there is nothing to train.")
        _check_elements(self.potential, splits)
        self.trainable = trainable_mask(self.params, config.start.freeze)
        self.members = members_of(self.potential.config)

    def loaders(self, devices: int) -> tuple[Loader, Loader]:
        """Batches to train on, earlier data mixed in, and to validate with."""
        run, loops = self.config.run, self.potential.config.loops

        def prepared(systems: Sequence[System], scale: EnergyScale) -> list[Sample]:
            return prepare(systems, self.potential.cutoff, scale)

        scale, replay = self.potential.energy_scale, self.splits.replay
        fine_tuned = self.config.start.model and not self.config.learn.key
        # the earlier data may be of another level of theory, whose reference energies are others
        before = refitted(self.potential, replay).energy_scale if replay and fine_tuned else scale
        fresh, earlier = prepared(self.splits.train, scale), prepared(replay, before)
        count = round(self.config.start.replay_ratio * len(fresh))
        length, samples = run.steps_per_call, [*fresh, *earlier]
        training = Loader(samples, run.batch_size, length, loops, devices, replay=len(earlier), replay_count=count)
        return training, Loader(prepared(self.splits.validation, scale), run.batch_size, length, loops)

    def loss(self, params: Any, batch: Batch, targets: Targets, *member: Array) -> tuple[Array, Errors]:
        """Loss and errors of a batch."""
        model, scale = self.potential.config, self.potential.energy_scale.scale
        return loss_and_errors(model, scale, self.config.objective(), params, batch, targets, *member)

    def summary(self, errors: Errors) -> dict[str, float]:
        """Means of summed errors by name and unit."""
        return summary(errors, self.config.learn)

    def save(self, path: Path, params: Any, errors: dict[str, float]) -> None:
        """Write the potential with its card."""
        from ergodica.potentials.modelfile import save_model

        save_model(path, replace(self.potential, params=params, info=self._card(errors)))

    def load(self, path: Path) -> Any:
        """Parameters out of a model file."""
        from ergodica.potentials.modelfile import load_model

        return load_model(path).params

    def _card(self, errors: dict[str, float]) -> Info:
        info, systems = self.config.info, (*self.splits.train, *self.splits.replay)
        numbers = {int(z) for s in systems for z in s.numbers}
        if self.config.learn.key:  # its elements are those of the trunk
            numbers |= {SYMBOLS.index(symbol) for symbol in self.potential.info.elements}
        return replace(info, elements=symbols_of(numbers), errors={**info.errors, **errors})


def _check_elements(potential: Potential, splits: Splits) -> None:
    """What the best step is chosen by must be made of what is learnt, or was by the start model."""
    learnt = {int(z) for system in (*splits.train, *splits.replay) for z in system.numbers}
    if max(learnt, default=0) >= potential.config.max_z:
        raise InputError(f"{SYMBOLS[max(learnt)]} is beyond the element tables of this model: set [model] max_z.")
    learnt |= {SYMBOLS.index(symbol) for symbol in potential.info.elements}
    for system in splits.validation:
        if strange := {int(z) for z in system.numbers} - learnt:
            raise InputError(f"{system.name}, to validate with, holds {SYMBOLS[min(strange)]}, which nothing trains.")


def _check_labels(config: TrainConfig, splits: Splits) -> None:
    """Every term of the loss needs labels, and the best step needs structures to be chosen by."""
    if splits.train and not splits.validation:
        raise InputError("There are no validation structures: the best step could not be chosen.")
    for name in ("energy", "forces", "stress"):
        labels = [getattr(s.labels, name) for s in splits.train]
        if labels and getattr(config.objective(), name) > 0 and all(label is None for label in labels):
            raise InputError(f"No training structure has {name} labels: add them, or set [loss] {name} = 0.")
