"""The one training loop: every network of the package is trained, resumed and fine-tuned by `train`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ergodica.checkpoint import load_tree, save_tree
from ergodica.errors import InputError, WorkFailed
from ergodica.potentials.potential import Potential
from ergodica.prediction import scope
from ergodica.runtime import keep_freed_memory
from ergodica.training.data import chunks
from ergodica.training.interrupt import Interrupt
from ergodica.training.objective import TrainState, make_chunk_step, make_evaluate
from ergodica.training.optimizer import learning_rate, make_transformation
from ergodica.training.options import TrainConfig
from ergodica.training.record import Record
from ergodica.training.splits import Splits
from ergodica.training.task import PotentialTask, Task

__all__ = ["Outcome", "TrainResult", "run_task", "train"]

CHECKPOINT, BEST, FINAL = "checkpoint.safetensors", "best.safetensors", "model.safetensors"

_DIVERGED = (
    "The loss is not a number after step {step}: lower the learning rate, or look for broken labels. "
    "The last checkpoint, if any, is from before."
)


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        best_step: the step of the least validation loss.
        validation: validation errors there, keys with units.
        checkpoint: file of the model it gave.
        steps: steps done in all.
        seconds: training time in all parts of the run.
    """

    best_step: int
    validation: dict[str, float]
    checkpoint: Path
    steps: int
    seconds: float


@dataclass(frozen=True)
class TrainResult(Outcome):
    """What a run of a potential came to.

    Attributes:
        potential: the best model by validation loss.
    """

    potential: Potential


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

    def __init__(self, task: Task) -> None:
        self.task, self.config = task, task.config
        self.folder = Path(self.config.output)
        self.devices = self.config.run.devices or jax.local_device_count()
        if self.devices > jax.local_device_count():
            raise InputError(f"{self.devices} devices asked for, {jax.local_device_count()} found.")
        self.loader, self.validation = task.loaders(self.devices)
        self.steps_per_epoch = self.loader.steps()
        self._compile()
        self.progress = Progress()
        self.state = self._initial_state()

    def _compile(self) -> None:
        task, options = self.task, self.config.optimizer
        self.rate = learning_rate(options, self.config.run.epochs * self.steps_per_epoch)
        self.advance = make_chunk_step(task.loss, options, self.rate, task.trainable, self.devices, task.members)
        self.errors_of = make_evaluate(task.loss)

    def _initial_state(self) -> TrainState:
        params = jax.tree.map(jnp.asarray, self.task.params)
        init = make_transformation(self.config.optimizer).init
        optimizer = jax.vmap(init)(params) if self.task.members else init(params)
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

    def validate(self) -> Any:
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
            "data": self.task.fingerprint,
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
        if header.get("data", self.task.fingerprint) != self.task.fingerprint:
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

    def write(self, name: str, params: Any) -> Path:
        """Write parameters as a model with the errors of the best step on its card."""
        errors = {f"validation_{key}": value for key, value in self.progress.best_errors.items() if key != "loss"}
        self.task.save(self.folder / name, jax.tree.map(np.asarray, params), errors)
        return self.folder / name


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
    from ergodica.potentials.modelfile import load_model

    outcome = run_task(lambda: PotentialTask(config, splits), config.output, resume, overwrite, report)
    return TrainResult(**vars(outcome), potential=load_model(outcome.checkpoint))


def run_task(
    make: Callable[[], Task],
    output: str | Path,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Outcome:
    """Train whatever a task describes; `train` is this for potentials.

    Args:
        make: makes the task, in single precision.
        output: its folder.
        resume: as for `train`, as are the others and what is raised.
        overwrite: replace the run that the folder holds.
        report: called with a dictionary of running errors.
    """
    keep_freed_memory()
    folder = Path(output)
    going_on = resume and (folder / CHECKPOINT).exists()
    if not going_on and not overwrite:
        _check_free(folder, resume)
    with scope("float32"):
        run = _Run(make())
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
    numbers = run.task.summary(errors)
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
    numbers = run.task.summary(run.validate())
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
        run.write(BEST, run.averaged())
        return
    progress.waited += 1
    progress.since_drop += 1
    if options.schedule == "plateau" and progress.since_drop >= options.plateau_patience:
        run.state = replace(run.state, rate_factor=run.state.rate_factor * options.plateau_factor)
        progress.since_drop = 0


def _exhausted(run: _Run) -> bool:
    patience = run.config.run.patience
    return bool(patience) and run.progress.waited >= patience


def _result(run: _Run) -> Outcome:
    best = run.task.load(run.folder / BEST)
    progress = run.progress
    return Outcome(
        best_step=progress.best_step,
        validation=progress.best_errors,
        checkpoint=run.write(FINAL, best),
        steps=progress.step,
        seconds=progress.seconds,
    )
