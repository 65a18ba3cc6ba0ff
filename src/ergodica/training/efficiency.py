"""How the error falls with the number of structures to learn from, fine-tuned and from scratch."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.errors import InputError
from ergodica.files import atomic_write
from ergodica.pictures import write_picture
from ergodica.potentials import load
from ergodica.potentials.modelfile import load_model
from ergodica.potentials.property import PropertyConfig
from ergodica.prediction import predict
from ergodica.system import System
from ergodica.training.loop import CHECKPOINT, FINAL, train
from ergodica.training.metrics import check_labels, errors, property_errors
from ergodica.training.options import (
    LossOptions,
    OptimizerOptions,
    PropertyOptions,
    RunOptions,
    StartOptions,
    TrainConfig,
)
from ergodica.training.property import values_of, with_property
from ergodica.training.splits import Splits, hold_out
from ergodica.training.task import start_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CurvePoint", "EfficiencyOptions", "data_efficiency", "plot_efficiency"]

FINE_TUNED, FROM_SCRATCH = "fine-tuned", "from scratch"
FEWEST = 2
CLAIM = "training.json"
"""What a training is of, so that another one is not taken for it."""


@dataclass(frozen=True)
class EfficiencyOptions:
    """How to measure data efficiency.

    Attributes:
        fractions: shares of the training structures, each set within the next.
        scratch: whether to train from random parameters, too.
        steps: optimiser steps of every training, whatever its number of structures.
        batch_size: structures a step.
        learning_rate: peak value when fine-tuning.
        scratch_rate: peak value from scratch.
        loss: what is minimised.
        learn: a property to predict instead of energies.
        seed: of subsets, order and random parameters.
    """

    fractions: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    scratch: bool = True
    steps: int = 1000
    batch_size: int = 4
    learning_rate: float = 5e-4
    scratch_rate: float = 3e-3
    loss: LossOptions = field(default_factory=LossOptions)
    learn: PropertyOptions = field(default_factory=PropertyOptions)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.fractions or not all(0 < share <= 1 for share in self.fractions):
            raise InputError(f"fractions={self.fractions}: give shares greater than 0 and up to 1.")
        if self.steps < 1:
            raise InputError(f"steps={self.steps} must be at least 1.")


@dataclass(frozen=True)
class CurvePoint:
    """One training and what came of it.

    Attributes:
        start: "fine-tuned" or "from scratch".
        structures: how many were learnt from, those that chose the best step included.
        errors: on the test set (`errors`, or `property_errors`).
        checkpoint: its model file.
    """

    start: str
    structures: int
    errors: dict[str, Any]
    checkpoint: str


def data_efficiency(
    model: str | Path,
    structures: Sequence[System],
    test: Sequence[System],
    output: str | Path,
    options: EfficiencyOptions | None = None,
    *,
    overwrite: bool = False,
    report: Callable[[str, dict[str, float]], None] | None = None,
) -> list[CurvePoint]:
    """Train on growing shares of the structures, from a model and from scratch, and test each.

    Every training has a folder of its own; whoever calls again with the same arguments goes on where the last call
    stood. All trainings take the same number of steps. A tenth of each share chooses the best step.

    Args:
        model: name or path of the model to start from; from scratch its architecture is kept.
        structures: labelled structures to draw from.
        test: labelled structures that no training sees.
        output: folder; `efficiency.json` and `efficiency.png` are written after each training.
        options: how.
        overwrite: begin anew the trainings that the folder holds.
        report: called with the name of a training and its running errors.

    Raises:
        InputError: unusable data, a share of fewer than two structures, or a folder with trainings of another kind.
        WorkFailed: a training failed; those before it are kept.
    """
    options, folder = options or EfficiencyOptions(), Path(output)
    _check_test(test, options)
    if options.learn.key:
        structures = with_property(structures, options.learn)
    order = np.random.default_rng(options.seed).permutation(len(structures))
    counts = sorted({round(share * len(structures)) for share in options.fractions})
    if counts[0] < FEWEST:
        raise InputError(f"The smallest share of {len(structures)} structures is {counts[0]}: {FEWEST} are needed.")
    points = []
    for count in counts:
        chosen = [structures[index] for index in order[:count]]
        for start in (FINE_TUNED, FROM_SCRATCH)[: 1 + options.scratch]:
            name = f"{start.replace(' ', '-')}-{count}"
            config = _config(model, start, count, folder / name, options)
            checkpoint = _trained(config, chosen, overwrite, partial(report, name) if report else None)
            points.append(CurvePoint(start, count, _tested(checkpoint, test), str(checkpoint)))
            atomic_write(folder / "efficiency.json", json.dumps([asdict(p) for p in points], indent=1).encode())
            write_picture(folder / "efficiency.png", plot_efficiency(points))
    return points


def _check_test(test: Sequence[System], options: EfficiencyOptions) -> None:
    if not test:
        raise InputError("There are no test structures: errors on the training set say nothing about new ones.")
    if options.learn.key:
        values_of(test, options.learn.key)
    else:
        check_labels(test)


def _config(model: str | Path, start: str, count: int, folder: Path, options: EfficiencyOptions) -> TrainConfig:
    known = load(str(model))
    fine = start == FINE_TUNED
    fitted = count - max(round(0.1 * count), 1)
    per_epoch = -(-fitted // options.batch_size)
    epochs = max(options.steps // per_epoch, 1)
    rate = options.learning_rate if fine else options.scratch_rate
    return TrainConfig(
        model=known.config,
        loss=options.loss,
        optimizer=OptimizerOptions(kind="muon", learning_rate=rate, warmup=100, ema=0.99),
        run=RunOptions(
            epochs=epochs,
            batch_size=options.batch_size,
            steps_per_call=10,
            validate_every=max(epochs // 20, 1),
            seed=options.seed,
        ),
        start=StartOptions(model=str(model) if fine else ""),
        learn=options.learn,
        info=replace(known.info, name=folder.name, errors={}),
        output=str(folder),
    )


def _trained(
    config: TrainConfig,
    systems: Sequence[System],
    overwrite: bool,
    report: Callable[[dict[str, float]], None] | None,
) -> Path:
    """The model file of a training, which is finished, gone on with, or begun."""
    folder = Path(config.output)
    splits = Splits(*hold_out(systems, 0.1, True, config.run.seed))
    claim = {**config.defining(), "epochs": config.run.epochs, "structures": splits.fingerprint + start_of(config)}
    what = json.dumps(claim, sort_keys=True)
    if (folder / FINAL).exists() and not (folder / CHECKPOINT).exists() and not overwrite:
        if not (folder / CLAIM).exists() or (folder / CLAIM).read_text() != what:
            raise InputError(
                f"'{folder}' holds a training of another model, other options or other structures: use another output "
                "folder, or --overwrite."
            )
        return folder / FINAL
    atomic_write(folder / CLAIM, what.encode())
    checkpoint = train(config, splits, resume=not overwrite, overwrite=overwrite, report=report).checkpoint
    (folder / CHECKPOINT).unlink()  # that the model stands alone says that its training is over
    return checkpoint


def _tested(checkpoint: Path, test: Sequence[System]) -> dict[str, Any]:
    potential = load_model(checkpoint)
    found: Any = predict(potential, test)
    return property_errors(found, test) if isinstance(potential.config, PropertyConfig) else errors(found, test)


def plot_efficiency(points: Sequence[CurvePoint]) -> Figure:
    """Errors against the number of structures."""
    from matplotlib.figure import Figure

    panels = [
        ("forces_mae_eV_per_A", "force MAE, meV/Å", 1e3),
        ("energy_mae_eV_per_atom", "energy MAE, meV/atom", 1e3),
        ("mae", "MAE", 1.0),
    ]
    panels = [panel for panel in panels if points[0].errors.get(panel[0]) is not None]
    figure = Figure(figsize=(4.5 * len(panels), 3.8), layout="constrained")
    for axes, (key, label, factor) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for start, color in ((FINE_TUNED, "#1b6ca8"), (FROM_SCRATCH, "#c8553d")):
            own = [(point.structures, factor * point.errors[key]) for point in points if point.start == start]
            if own:
                axes.loglog(*np.array(own).T, "o-", color=color, label=start)
        axes.set(xlabel="structures", ylabel=label)
        axes.grid(alpha=0.3, which="both")
        axes.legend(frameon=False)
    return figure
