"""Fine-tuning in one call: a trained model and a few labelled structures in, a better model for them out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ergodica.system import System, as_systems
from ergodica.training.loop import TrainResult, train
from ergodica.training.options import (
    DataOptions,
    LossOptions,
    OptimizerOptions,
    PropertyOptions,
    RunOptions,
    StartOptions,
    TrainConfig,
)
from ergodica.training.property import with_property
from ergodica.training.splits import Splits, hold_out

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["finetune", "level_of_theory"]


def finetune(  # noqa: PLR0913  one parameter an option
    model: str | Path,
    structures: Sequence[System | Atoms],
    *,
    output: str | Path,
    validation: Sequence[System | Atoms] = (),
    validation_fraction: float = 0.1,
    freeze: Sequence[str] = (),
    replay: Sequence[System | Atoms] = (),
    replay_ratio: float = 0.5,
    epochs: int = 50,
    batch_size: int = 4,
    learning_rate: float = 1e-4,
    loss: LossOptions | None = None,
    learn: PropertyOptions | None = None,
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> TrainResult:
    """Go on training a model with your own data; for more options write a `TrainConfig` and call `train`.

    Reference energies are refitted first, so that the data may be of another level of theory.

    Args:
        model: name of a shipped model, or path of a model file.
        structures: labelled structures to learn from.
        output: folder of checkpoints, metrics and the final model.
        validation: labelled structures to choose the best step by.
        validation_fraction: share of `structures` set aside when there is no `validation`.
        freeze: beginnings of the names of parameters to leave alone, such as "embedding" or "layer_0".
        replay: earlier data mixed in, against forgetting.
        replay_ratio: replayed structures for each new one.
        epochs: passes over the data.
        batch_size: structures a step.
        learning_rate: its peak.
        loss: what is minimised.
        learn: a property in the info of the structures, to be predicted instead of energies from now on.
        seed: of split and order.
        resume: continue from the checkpoint in `output`, if there is one.
        overwrite: replace the run that `output` holds.
        report: called with a dictionary of running errors, as by `train`.

    Raises:
        InputError: as `train` does.
        WorkFailed: as `train` does.
    """
    from ergodica.potentials import load

    start, learn = load(str(model)), learn or PropertyOptions()
    fitted, checked, earlier = as_systems(structures), as_systems(validation), as_systems(replay)
    if learn.key:
        fitted, checked, earlier = (with_property(part, learn) for part in (fitted, checked, earlier))
    aside = "validation structures of its own" if checked else f"{100 * validation_fraction:g} % of them, at random"
    if not checked:
        fitted, checked = hold_out(fitted, validation_fraction, True, seed)
    name = start.info.name
    new_name = f"{name}-{learn.key or 'finetuned'}"
    config = TrainConfig(
        model=start.config,
        data=DataOptions(validation_fraction=validation_fraction),
        loss=loss or LossOptions(),
        optimizer=OptimizerOptions(learning_rate=learning_rate, warmup=100),
        run=RunOptions(epochs=epochs, batch_size=batch_size, seed=seed),
        start=StartOptions(model=str(model), freeze=tuple(freeze), replay_ratio=replay_ratio),
        learn=learn,
        info=replace(
            start.info,
            name=new_name,
            level_of_theory=level_of_theory(fitted),
            training_data=f"{start.info.training_data}; then {len(fitted)} structures",
            split=f"{aside} chose the step",
            reproduce=f"ergodica finetune {model}",
            errors={},
            notes=f"Fine-tuned from {name}.",
        ),
        output=str(output),
    )
    splits = Splits(fitted, checked, earlier)
    return train(config, splits, resume=resume, overwrite=overwrite, report=report)


def level_of_theory(systems: Sequence[System]) -> str:
    """What the labels of all structures say, "unknown" where they differ or say nothing."""
    told = {system.labels.level_of_theory for system in systems}
    return (told.pop() or "unknown") if len(told) == 1 else "unknown"
