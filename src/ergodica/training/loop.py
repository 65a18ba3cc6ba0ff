"""The one training loop: every network of the package is trained, resumed and fine-tuned by `train`."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ergodica.checkpoint import load_tree, save_model, save_tree
from ergodica.elements import SYMBOLS, symbols_of
from ergodica.errors import InputError, WorkFailed
from ergodica.potentials.potential import Info, Potential
from ergodica.prediction import scope
from ergodica.runtime import keep_freed_memory
from ergodica.system import System
from ergodica.training.data import Loader, Sample, chunks, prepare
from ergodica.training.interrupt import Interrupt
from ergodica.training.objective import (
    Errors,
    TrainState,
    loss_and_errors,
    make_chunk_step,
    make_evaluate,
)
from ergodica.training.optimizer import learning_rate, make_transformation
from ergodica.training.options import TrainConfig
from ergodica.training.record import Record, summary
from ergodica.training.splits import Splits
from ergodica.training.start import members_of, starting_potential, trainable_mask

__all__ = ["TrainResult", "train"]

CHECKPOINT, BEST, FINAL = "checkpoint.safetensors", "best.safetensors", "model.safetensors"

_DIVERGED = (
    "The loss is not a number after step {step}: lower the learning rate, or look for broken labels. "
    "The last checkpoint, if any, is from before."
)


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


class _Run:
    """State and compiled functions of one run; `train` drives it."""

    def __init__(self, config: TrainConfig, splits: Splits) -> None:
        self.config = config
        self.folder = Path(config.output)
        self.devices = config.run.devices or jax.local_device_count()
        if self.devices > jax.local_device_count():
            raise InputError(f"{self.devices} devices asked for, {jax.local_device_count()} found.")
        _check_labels(config, splits)
        self.fingerprint = _fingerprint(splits)
        self.potential = starting_potential(config, splits.train)
        self.members = members_of(self.potential.config)
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

        def loss(params: Any, batch: Any, targets: Any, *member: Any) -> Any:
            return loss_and_errors(model, scale, config.objective(), params, batch, targets, *member)

        mask = trainable_mask(self.potential.params, config.start.freeze)
        self.rate = learning_rate(config.optimizer, config.run.epochs * self.steps_per_epoch)
        self.advance = make_chunk_step(loss, config.optimizer, self.rate, mask, self.devices, self.members)
        self.errors_of = make_evaluate(loss)

    def _initial_state(self) -> TrainState:
        params = jax.tree.map(jnp.asarray, self.potential.params)
        init = make_transformation(self.config.optimizer).init
        optimizer = jax.vmap(init)(params) if self.members else init(params)
        copy = jax.tree.map(jnp.array, params)
        return TrainState(params, optimizer, copy, jnp.zeros((), jnp.int32), jnp.ones(()))

    def place(self, chunk: Any) -> Any:
        """Spread the device axis of a chunk over the devices."""
        if self.devices == 1:
            return chunk
        # not make_mesh, whose axes are explicit: then every gather of the network would have to name its sharding
        mesh = jax.sharding.Mesh(np.array(jax.local_devices()[: self.devices]), ("data",))
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
        """Write the checkpoint; a crash leaves the one before.

        Raises:
            WorkFailed: the disk is full, or the last step left parameters that are no numbers.
        """
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(self.state.params)):
            raise WorkFailed(_DIVERGED.format(step=self.progress.step))
        header = {
            "format": "ergodica-training",
            "progress": vars(self.progress),
            "defining": self.config.defining(),
            "data": self.fingerprint,
            "devices": self.devices,
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
                f"The checkpoint in '{self.folder}' was made with another [{changed[0]}]: use the same configuration "
                "to resume, or another output folder."
            )
        if header.get("data", self.fingerprint) != self.fingerprint:
            raise InputError(
                f"The checkpoint in '{self.folder}' was made with other structures: resume with the same files, or use "
                "another output folder."
            )
        if header.get("devices", self.devices) != self.devices:
            raise InputError(
                f"The checkpoint in '{self.folder}' was made on {header['devices']} devices, this run is on "
                f"{self.devices}: set [run] devices."
            )
        # files hold numbers as arrays of one
        self.state = jax.tree.map(lambda leaf, like: jnp.asarray(leaf).reshape(like.shape), state, self.state)
        self.progress = Progress(**header["progress"])

    def numbers(self, errors: Errors) -> dict[str, float]:
        """Means of summed errors, by name and unit."""
        return summary(errors, self.config.learn)

    def finished(self, info: Info) -> Potential:
        """The potential with the averaged parameters and its card."""
        return replace(self.potential, params=jax.tree.map(np.asarray, self.averaged()), info=info)


def train(
    config: TrainConfig,
    splits: Splits,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> TrainResult:
    """Train a network, or go on training it.

    Checkpoints are written every `checkpoint_minutes`, at the end of the run and on Ctrl-C; `resume=True` continues
    exactly where the last one stands, so that a run in pieces gives the same bits as one in a stretch.

    Args:
        config: what to do.
        splits: labelled structures.
        resume: continue from the checkpoint in `config.output`, if there is one.
        overwrite: replace the run that `config.output` holds.
        report: called with a dictionary of running errors after every chunk (for a progress bar).

    Raises:
        InputError: unusable data or configuration, a checkpoint that doesn't fit, or a folder that holds another run.
        WorkFailed: the loss is not finite, or the disk is full (the last checkpoint stands).
        KeyboardInterrupt: after Ctrl-C, with the checkpoint written.
    """
    keep_freed_memory()
    folder = Path(config.output)
    going_on = resume and (folder / CHECKPOINT).exists()
    if not going_on and not overwrite:
        _check_free(folder, resume)
    with scope("float32"):
        run = _Run(config, splits)
        if going_on:
            run.restore()
        else:
            for name in (CHECKPOINT, BEST, FINAL):
                (folder / name).unlink(missing_ok=True)
        record = Record(folder, run.progress.step, validated=run.progress.chunk == 0)
        with Interrupt().watching() as interrupt:
            _learn(run, record, interrupt, report)
        record.plot()
        return _result(run)


def _check_free(folder: Path, resume: bool) -> None:
    """Refuse a folder that holds a run, so that none is lost.

    With `resume` only a final model without its checkpoint is in the way.
    """
    if folder.is_file():
        raise InputError(f"The output '{folder}' is a file: training needs a folder.")
    if any((folder / name).exists() for name in ((FINAL,) if resume else (CHECKPOINT, BEST, FINAL))):
        remedy = "replace it with overwrite (--overwrite), or choose another folder"
        remedy = remedy if resume else f"continue it with resume (--resume), {remedy}"
        raise InputError(f"'{folder}' holds a run already: {remedy}.")


def _check_labels(config: TrainConfig, splits: Splits) -> None:
    """Every term of the loss needs labels, and the best step needs structures to be chosen by."""
    if splits.train and not splits.validation:
        raise InputError("There are no validation structures: the best step could not be chosen.")
    for name in ("energy", "forces", "stress"):
        labels = [getattr(s.labels, name) for s in splits.train]
        if labels and getattr(config.objective(), name) > 0 and all(label is None for label in labels):
            raise InputError(f"No training structure has {name} labels: add them, or set [loss] {name} = 0.")


def _fingerprint(splits: Splits) -> str:
    """A hash of all structures and labels."""
    found = hashlib.sha256()
    for systems in (splits.train, splits.validation, splits.replay):
        found.update(f"{len(systems)}|".encode())
        for s in systems:
            labels = s.labels
            for value in (s.numbers, s.positions, s.cell, s.pbc, s.charge, labels.energy, labels.forces, labels.stress):
                found.update(b"-" if value is None else np.asarray(value).tobytes())
    return found.hexdigest()


def _learn(run: _Run, record: Record, interrupt: Interrupt, report: Callable[[dict[str, float]], None] | None) -> None:
    """The epochs, with checkpoints in between and one at the end."""
    options, progress = run.config.run, run.progress
    saved = time.monotonic()
    while progress.epoch < options.epochs and not _exhausted(run):
        for chunk in chunks(run.loader, options.seed, progress.epoch, progress.chunk):
            _advance(run, chunk, record, report)
            if interrupt.requested or time.monotonic() - saved > 60 * options.checkpoint_minutes:
                run.save()
                record.plot()
                saved = time.monotonic()
            if interrupt.requested:
                raise KeyboardInterrupt
        progress.epoch, progress.chunk = progress.epoch + 1, 0
        if progress.epoch == options.epochs or progress.epoch % options.validate_every == 0:
            _validated(run, record, report)
    if not progress.best_errors:  # resumed with fewer epochs than are done, before the first validation
        _validated(run, record, report)
    run.save()


def _advance(run: _Run, chunk: Any, record: Record, report: Callable[[dict[str, float]], None] | None) -> None:
    started = time.monotonic()
    run.state, errors = run.advance(run.state, run.place(chunk))
    numbers = run.numbers(errors)
    progress = run.progress
    progress.step = int(run.state.step)
    progress.chunk += 1
    progress.seconds += time.monotonic() - started
    if not np.isfinite(numbers["loss"]):
        raise WorkFailed(_DIVERGED.format(step=progress.step))
    rate = float(run.rate(run.state.step, run.state.rate_factor))
    entry = {"step": progress.step, "epoch": progress.epoch, "seconds": progress.seconds, "learning_rate": rate}
    record.add("train", entry | numbers)
    if report:
        report(entry | numbers)


def _validated(run: _Run, record: Record, report: Callable[[dict[str, float]], None] | None) -> None:
    """Validate, keep the best model, lower the rate on a plateau."""
    numbers = run.numbers(run.validate())
    progress, options = run.progress, run.config.optimizer
    if not np.isfinite(numbers["loss"]):
        raise WorkFailed(_DIVERGED.format(step=progress.step))
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
    if run.config.learn.key:  # its elements are those of the trunk
        numbers |= {SYMBOLS.index(symbol) for symbol in run.potential.info.elements}
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
