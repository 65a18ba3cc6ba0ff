"""Training of functionals with the one loop of the package: what is minimised, and the task the loop is given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dft.labels.conformer import Conformer
from ergodica.dft.learned.examples import Example, examples, fit_reference, less_reference
from ergodica.dft.learned.feed import DensityBatch, DensityTargets, ExampleFeed
from ergodica.dft.learned.functional import (
    FunctionalConfig,
    LearnedFunctional,
    Target,
    composition,
    fresh_functional,
    load_functional,
    save_functional,
)
from ergodica.dft.learned.loss import DensityLoss, Errors, ResponseMetric, density_errors, predicted
from ergodica.dft.learned.network import NetworkConfig
from ergodica.elements import symbols_of
from ergodica.errors import InputError
from ergodica.training.loop import Outcome, run_task
from ergodica.training.options import TaskOptions

__all__ = ["KIND", "FunctionalTask", "FunctionalTraining", "train_functional"]


@dataclass(frozen=True)
class DensityData:
    """Where the labels are.

    Attributes:
        train: label files, each optionally with a selection ("water.h5@0:200").
        validation: files for choosing the best step.
        densities: labels of a conformer in a batch, the ground state among them.
        noise: standard deviation of random moves of densities, √Hartree (see `ExampleFeed`).
        focus: distance from the ground state at which a density counts half, √Hartree; 0 counts all alike.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    densities: int = 6
    noise: float = 0.003
    focus: float = 0.0

    def __post_init__(self) -> None:
        if min(self.densities, self.noise, self.focus) < 0:
            raise InputError("[data] densities, noise and focus must not be negative.")


@dataclass(frozen=True)
class DensityStart:
    """Start from a trained functional instead of from random parameters.

    Attributes:
        model: name or file; empty for a fresh start. Its reference is kept.
    """

    model: str = ""


@dataclass(frozen=True, kw_only=True)
class FunctionalTraining(TaskOptions):
    """Everything that defines the training of a functional.

    Attributes:
        model: architecture; that of the start if there is one.
        target: what is learnt.
        general: it is for molecules of any composition of its elements, not only those it learns from.
        data: labels.
        loss: what is minimised.
        start: functional to go on from.
    """

    model: NetworkConfig = field(default_factory=NetworkConfig)
    target: Target = "T_S+E_XC"
    general: bool = False
    data: DensityData = field(default_factory=DensityData)
    loss: DensityLoss = field(default_factory=DensityLoss)
    start: DensityStart = field(default_factory=DensityStart)
    output: str = "runs/functional"

    def defining(self) -> dict[str, Any]:
        """What must not change between the parts of one run."""
        record = super().defining()
        if not self.start.model:  # checkpoints of before there were starts go on
            record.pop("start")
        if not self.loss.curvature:  # nor was there this
            record["loss"].pop("curvature")
        return record


KIND = "density-functional"


def train_functional(
    config: FunctionalTraining,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Outcome:
    """Train a functional; arguments and errors are those of `ergodica.training.train`."""

    def make() -> FunctionalTask:
        sets = [_read(files) for files in (config.data.train, config.data.validation)]
        return FunctionalTask(config, *sets)

    return run_task(make, config.output, resume, overwrite, report)


def _read(files: Sequence[str]) -> list[Conformer]:
    from ergodica.dft.labels.file import read_labels

    return [conformer for file in files for conformer in read_labels(file)]


class FunctionalTask:
    """A functional and its labelled conformers.

    Args:
        config: what to do.
        train: conformers to learn from.
        validation: conformers to choose the best step by.

    Raises:
        InputError: there are no conformers, or those of the validation have elements that the others lack; a curvature
            is to be learnt that the labels don't know.
    """

    members = 0

    def __init__(self, config: FunctionalTraining, train: Sequence[Conformer], validation: Sequence[Conformer]) -> None:
        if not train or not validation:
            raise InputError("A functional needs labels to train on and to validate: set [data] train and validation.")
        if all(len(one.densities.kinetic) < 2 for one in train):
            raise InputError("The training labels are ground states alone: label more densities of each (--count).")
        start = load_functional(config.start.model)[0] if config.start.model else None
        self.config, self.fingerprint = config, _fingerprint([*train, *validation], start)
        functional = _begun(config, train, validation, start)
        fitted, checked = (examples(part, functional) for part in (train, validation))
        if config.loss.curvature and any(one.curvature is None for one in [*fitted, *checked]):
            raise InputError(
                "[loss] curvature asks labels of second order (of T_S or T_S+E_XC): label without --no-curvature."
            )
        reference = start.reference if start else fit_reference(fitted, functional)
        self.fitted, self.checked = (less_reference(part, reference, functional) for part in (fitted, checked))
        if start is None:
            fresh = fresh_functional(functional, jax.random.key(config.run.seed))
            start = replace(fresh, reference=reference, scale=jnp.asarray(_scale(self.fitted)))
        self.functional = replace(start, config=functional)
        self.metric = ResponseMetric.of(np.asarray(reference.curvature), functional.layout)
        self.params = jax.tree.map(np.asarray, self.functional.network)
        self.trainable = jax.tree.map(lambda _: 1.0, self.params)
        self.single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), self.functional)
        self._heights = jax.jit(self._height)

    def loaders(self, devices: int) -> tuple[ExampleFeed, ExampleFeed]:
        """Batches to train on and to validate with."""
        run, data = self.config.run, self.config.data
        shape = (run.batch_size, data.densities, run.steps_per_call)
        focus, probing = data.focus, self.config.loss.curvature > 0
        training = ExampleFeed(self.fitted, *shape, devices, data.noise, focus, probing)
        known = all(one.curvature is not None for one in self.checked)
        return training, ExampleFeed(
            self.checked, *shape, noise=data.noise if known else 0.0, focus=focus, probing=probing
        )

    def loss(self, params: Any, batch: DensityBatch, targets: DensityTargets, *_: Array) -> tuple[Array, Errors]:
        """Loss and errors of a batch."""
        functional = replace(self.single, network=params)
        return density_errors(functional, self.metric, self.config.loss, batch, targets)

    def summary(self, errors: Errors) -> dict[str, float]:
        """Means of summed errors by name and unit."""
        return errors.summary()

    def save(self, path: Path, params: Any, errors: dict[str, float]) -> None:
        """Write the functional with its card, its energies levelled."""
        info, reference = self.config.info, self.functional.reference
        card = replace(info, elements=self.functional.config.elements, errors={**info.errors, **errors})
        constants = jnp.asarray(reference.energy).at[:, -1].add(-self._excess(params))
        levelled = replace(reference, energy=constants)
        save_functional(path, replace(self.functional, network=params, reference=levelled), card)

    def _excess(self, params: Any) -> Float[np.ndarray, " E"]:
        """Energy by which minima of the conformers to validate with are too high, as a sum over their atoms, Hartree.

        That a minimum lies below the energy of the right density is foreseen: by half of δg·A⁻¹ δg, with δg the
        gradient that should be zero and A the curvature of the whole energy, or of the reference where it isn't known.
        """
        feed = ExampleFeed(self.checked, 1, 1, 1)
        counts, above = [], []
        for number, one in enumerate(self.checked):
            batch, targets = feed.row(number)
            height, wrong, fall = jax.device_get(self._heights(params, batch, targets))
            if one.spread is not None:
                fall = 0.5 * np.sum((wrong[: len(one.normal)] @ one.spread) ** 2)
            counts.append(np.bincount(one.species, minlength=len(self.functional.config.elements)))
            above.append(float(height - fall))
        rows = np.array(counts, float)
        return np.linalg.solve(rows.T @ rows + np.eye(rows.shape[1]), rows.T @ np.array(above))

    def _height(self, params: Any, one: DensityBatch, targets: DensityTargets) -> tuple[Array, Array, Array]:
        """Errors of a ground state's energy and gradient, and by how much the latter lowers the minimum."""
        energy, gradient, _ = predicted(replace(self.single, network=params), one)
        wrong = gradient - targets.gradient
        fall = 0.5 * self.metric.sizes(one, targets.normal, wrong)[0] ** 2
        return (energy - targets.energy)[0], wrong[0], fall

    def load(self, path: Path) -> Any:
        """Parameters out of a model file."""
        return load_functional(path)[0].network


def _begun(
    config: FunctionalTraining,
    train: Sequence[Conformer],
    validation: Sequence[Conformer],
    start: LearnedFunctional | None,
) -> FunctionalConfig:
    """What is trained: the start's elements, target and network if there is one, for the compositions trained on."""
    elements, others = ({int(z) for one in part for z in one.system.numbers} for part in (train, validation))
    if others - elements:
        raise InputError(f"No training conformer holds {symbols_of(others - elements)[0]}, one to validate does.")
    formulas = () if config.general else tuple(sorted({composition(one.system) for one in train}))
    if start is None:
        return FunctionalConfig(symbols_of(elements), config.target, config.model, formulas)
    unknown = sorted(set(symbols_of(elements)) - set(start.config.elements))
    if unknown:
        raise InputError(f"'{config.start.model}' was not trained on {unknown[0]}: leave it out, or start afresh.")
    if start.config.target != config.target:
        raise InputError(f"'{config.start.model}' is of {start.config.target}: set target = \"{start.config.target}\".")
    return replace(start.config, formulas=formulas)


def _scale(fitted: Sequence[Example]) -> float:
    """Energies by which labels differ for what gradients are left: these ask more of the network than energies do."""
    shares = [np.mean(np.abs(((one.natural - one.natural[0]) * one.gradient).sum(axis=1))) for one in fitted]
    return float(np.mean(shares))


def _fingerprint(conformers: Sequence[Conformer], start: LearnedFunctional | None) -> str:
    """A hash of all conformers and labels, and of the functional to go on from."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(start):
        found.update(np.ascontiguousarray(leaf).tobytes())
    for one in conformers:
        second = () if one.second is None else vars(one.second).values()
        for value in (one.system.numbers, one.system.positions, one.gradient, *vars(one.densities).values(), *second):
            found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()
