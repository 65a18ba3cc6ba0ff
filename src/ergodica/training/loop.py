"""The one training loop: every network of the package is trained, resumed and fine-tuned by `train`."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ergodica.checkpoint import load_tree, save_model, save_tree
from ergodica.elements import symbols_of
from ergodica.errors import InputError, WorkFailed
from ergodica.potentials.potential import EnergyScale, Info, Potential
from ergodica.system import System
from ergodica.training.data import Loader, Sample, chunks, fit_reference, force_scale, prepare
from ergodica.training.objective import (
    Errors,
    TrainState,
    learning_rate,
    loss_and_errors,
    make_chunk_step,
    make_evaluate,
    make_transformation,
)
from ergodica.training.options import TrainConfig
from ergodica.training.record import Record, summary
from ergodica.training.start import starting_potential, trainable_mask

__all__ = ["Splits", "TrainResult", "train"]

CHECKPOINT, BEST, FINAL = "checkpoint.safetensors", "best.safetensors", "model.safetensors"


@dataclass(frozen=True)
class Splits:
    """Labelled structures of a run: what is fitted, what chooses the best step, and earlier data for replay."""

    train: Sequence[System]
    validation: Sequence[System]
    replay: Sequence[System] = ()


@dataclass(frozen=True)
class TrainResult:
    """Outcome of a run.

    Attributes:
        potential: the best model by validation loss.
        best_step: the step it was found at.
        validation: its validation errors, keys with units.
        checkpoint: its file.
        steps: steps done in all.
        seconds: training time in all parts of the run.
    """

    potential: Potential
    best_step: int
    validation: dict[str, float]
    checkpoint: Path
    steps: int
    seconds: float


@dataclass
class Progress:
    """Where a run stands; kept in the header of its checkpoint."""

    epoch: int = 0
    chunk: int = 0
    step: int = 0
    best: float = float("inf")
    best_step: int = 0
    best_errors: dict[str, float] = field(default_factory=dict)
    waited: int = 0
    since_drop: int = 0
    seconds: float = 0.0


class _Interrupt:
    """Ctrl-C asks the loop to stop after the current chunk, so that nothing is lost; a second one is immediate."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def watching(self) -> Iterator[_Interrupt]:
        def request(*_: Any) -> None:
            if self.requested:
                raise KeyboardInterrupt
            self.requested = True

        try:
            previous = {s: signal.signal(s, request) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: the caller looks after signals
            previous = {}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


class _Run:
    """State and compiled functions of one run; `train` drives it."""

    def __init__(self, config: TrainConfig, splits: Splits) -> None:
        self.config = config
        self.folder = Path(config.output)
        self.devices = config.run.devices or jax.local_device_count()
        if self.devices > jax.local_device_count():
            raise InputError(f"{self.devices} devices asked for, {jax.local_device_count()} found.")
        self.potential = starting_potential(config, splits.train)
        scale = self.potential.energy_scale
        run, cutoff, loops = config.run, self.potential.cutoff, self.potential.config.loops

        def prepared(systems: Sequence[System]) -> list[Sample]:
            return prepare(systems, cutoff, scale)

        fresh, earlier = prepared(splits.train), prepared(splits.replay)
        count = round(config.start.replay_ratio * len(fresh))
        length = run.steps_per_call
        self.loader = Loader(
            [*fresh, *earlier], run.batch_size, length, loops, self.devices, replay=len(earlier), replay_count=count
        )
        self.validation = Loader(prepared(splits.validation), run.batch_size, length, loops)
        self.steps_per_epoch = self.loader.steps()
        self._compile()
        self.progress = Progress()
        self.state = self._initial_state()

    def _compile(self) -> None:
        model, scale, config = self.potential.config, self.potential.energy_scale.scale, self.config

        def loss(params: Any, batch: Any, targets: Any) -> Any:
            return loss_and_errors(model, scale, config.loss, params, batch, targets)

        mask = trainable_mask(self.potential.params, config.start.freeze)
        self.rate = learning_rate(config.optimizer, config.run.epochs * self.steps_per_epoch)
        self.advance = make_chunk_step(loss, config.optimizer, self.rate, mask, self.devices)
        self.errors_of = make_evaluate(loss)

    def _initial_state(self) -> TrainState:
        params = jax.tree.map(jnp.asarray, self.potential.params)
        optimizer = make_transformation(self.config.optimizer).init(params)
        copy = jax.tree.map(jnp.array, params)
        return TrainState(params, optimizer, copy, jnp.zeros((), jnp.int32), jnp.ones(()))

    def place(self, chunk: Any) -> Any:
        """Spread the device axis of a chunk over the devices."""
        if self.devices == 1:
            return chunk
        mesh = jax.make_mesh((self.devices,), ("data",))
        along = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "data"))
        whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        return replace(
            chunk,
            batch=jax.device_put(chunk.batch, along),
            targets=jax.device_put(chunk.targets, along),
            active=jax.device_put(chunk.active, whole),
        )

    def averaged(self) -> Any:
        """The parameters that are validated and shipped."""
        return self.state.ema if self.config.optimizer.ema else self.state.params

    def validate(self) -> Errors:
        """Errors of the averaged parameters on the validation set."""
        parts = [self.errors_of(self.averaged(), self.validation.chunk(*p)) for p in self.validation.plan(None)]
        return jax.tree.map(lambda *leaves: float(np.sum(leaves)), *parts)

    def save(self) -> None:
        """Write the checkpoint; a crash leaves the one before."""
        header = {
            "format": "ergodica-training",
            "progress": vars(self.progress),
            "defining": self.config.defining(),
            "energy_scale": {**vars(self.potential.energy_scale)},
        }
        save_tree(self.folder / CHECKPOINT, self.state, header)

    def restore(self) -> None:
        """Continue from the checkpoint in the output folder.

        Raises:
            InputError: the configuration or the data is not the one the checkpoint was made with.
        """
        state, header = load_tree(self.folder / CHECKPOINT, self.state)
        defining = json.loads(json.dumps(self.config.defining()))
        changed = [key for key in defining if defining[key] != header["defining"].get(key)]
        if changed:
            raise InputError(
                f"The checkpoint in '{self.folder}' was made with another [{changed[0]}]: use the same configuration to "
                "resume, or another output folder."
            )
        scale = {**vars(self.potential.energy_scale)}
        if json.loads(json.dumps(scale)) != header["energy_scale"]:
            raise InputError(f"The checkpoint in '{self.folder}' was made with other training data.")
        self.state = jax.tree.map(jnp.asarray, state)
        self.progress = Progress(**header["progress"])

    def finished(self, info: Info) -> Potential:
        """The potential with the averaged parameters and its card."""
        return replace(self.potential, params=jax.tree.map(np.asarray, self.averaged()), info=info)


def train(
    config: TrainConfig,
    splits: Splits,
    *,
    resume: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> TrainResult:
    """Train a network, or go on training it.

    Checkpoints are written every `checkpoint_minutes`, at the end of the run and on Ctrl-C; `resume=True` continues
    exactly where the last one stands, so that a run in pieces gives the same bits as one in a stretch.

    Args:
        config: what to do.
        splits: labelled structures.
        resume: continue from the checkpoint in `config.output`.
        report: called with a dictionary of running errors after every chunk (for a progress bar).

    Raises:
        InputError: unusable data or configuration, or a checkpoint that doesn't fit.
        WorkFailed: the loss is not finite, or the disk is full (the last checkpoint stands).
        KeyboardInterrupt: after Ctrl-C, with the checkpoint written.
    """
    run = _Run(config, splits)
    if resume and (run.folder / CHECKPOINT).exists():
        run.restore()
    record = Record(run.folder, run.progress.step)
    with _Interrupt().watching() as interrupt:
        saved = time.monotonic()
        while run.progress.epoch < config.run.epochs and not _exhausted(run):
            for chunk in chunks(run.loader, config.run.seed, run.progress.epoch, run.progress.chunk):
                _advance(run, chunk, record, report)
                if interrupt.requested or time.monotonic() - saved > 60 * config.run.checkpoint_minutes:
                    run.save()
                    record.plot()
                    saved = time.monotonic()
                if interrupt.requested:
                    raise KeyboardInterrupt
            run.progress.epoch, run.progress.chunk = run.progress.epoch + 1, 0
            last = run.progress.epoch == config.run.epochs
            if last or run.progress.epoch % config.run.validate_every == 0:
                _validated(run, record, report)
        run.save()
    record.plot()
    return _result(run)


def _advance(run: _Run, chunk: Any, record: Record, report: Callable[[dict[str, float]], None] | None) -> None:
    started = time.monotonic()
    run.state, errors = run.advance(run.state, run.place(chunk))
    numbers = summary(errors)
    progress = run.progress
    progress.step = int(run.state.step)
    progress.chunk += 1
    progress.seconds += time.monotonic() - started
    if not np.isfinite(numbers["loss"]):
        raise WorkFailed(
            f"The loss is not a number after step {progress.step}: lower the learning rate, or look for broken labels. "
            "The last checkpoint is from before."
        )
    rate = float(run.rate(run.state.step) * run.state.rate_factor)
    entry = {"step": progress.step, "epoch": progress.epoch, "seconds": progress.seconds, "learning_rate": rate}
    record.add("train", entry | numbers)
    if report:
        report(entry | numbers)


def _validated(run: _Run, record: Record, report: Callable[[dict[str, float]], None] | None) -> None:
    """Validate, keep the best model, lower the rate on a plateau."""
    numbers = summary(run.validate())
    progress, options = run.progress, run.config.optimizer
    entry = {"step": progress.step, "epoch": progress.epoch, "seconds": progress.seconds}
    record.add("validation", entry | numbers)
    if report:
        report(entry | {f"validation_{key}": value for key, value in numbers.items()})
    if numbers["loss"] < progress.best:
        progress.best, progress.best_step, progress.best_errors = numbers["loss"], progress.step, numbers
        progress.waited = progress.since_drop = 0
        save_model(run.folder / BEST, run.finished(_card(run)))
        return
    progress.waited += 1
    progress.since_drop += 1
    if options.schedule == "plateau" and progress.since_drop >= options.plateau_patience:
        run.state = replace(run.state, rate_factor=run.state.rate_factor * options.plateau_factor)
        progress.since_drop = 0


def _card(run: _Run) -> Info:
    numbers = {int(z) for s in run.loader.samples for z in s.system.numbers}
    errors = {f"validation_{key}": value for key, value in run.progress.best_errors.items() if key != "loss"}
    return replace(run.config.info, elements=symbols_of(numbers), errors={**run.config.info.errors, **errors})


def _exhausted(run: _Run) -> bool:
    patience = run.config.run.patience
    return bool(patience) and run.progress.waited >= patience


def _result(run: _Run) -> TrainResult:
    from ergodica.checkpoint import load_model

    best = load_model(run.folder / BEST)
    best = replace(best, info=_card(run))
    save_model(run.folder / FINAL, best)
    progress = run.progress
    return TrainResult(
        potential=best,
        best_step=progress.best_step,
        validation=progress.best_errors,
        checkpoint=run.folder / FINAL,
        steps=progress.step,
        seconds=progress.seconds,
    )
