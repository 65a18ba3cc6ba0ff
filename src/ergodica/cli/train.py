"""`ergodica train`: one training run as a TOML file says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ergodica.cli.common import DEFAULTS, Common, Flag
from ergodica.cli.output import emit, progress, say
from ergodica.cli.session import CompileWatch
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.training import TrainConfig

__all__ = ["run_training", "train"]


def train(config: Path, /, *, resume: Flag = False, common: Common = DEFAULTS) -> None:
    """Train a model as a TOML file says.

    Parameters
    ----------
    config
        TOML file with tables [model], [data], [loss], [optimizer], [run], [start] and [info]; -o overrides its output.
    resume
        Continue from the last checkpoint, if there is one.
    """
    common.start(check_output=False)
    from ergodica.training import read_config

    run_training(read_config(config), resume, common)


def run_training(config: TrainConfig, resume: bool, common: Common) -> None:
    """Train, evaluate the test set with the final model, and print the outcome."""
    from ergodica.cli.splits import read_splits
    from ergodica.training import train as library_train

    if common.output is not None:
        config = replace(config, output=str(common.output))
    _claim(Path(config.output), resume, common)
    splits, test = read_splits(config)
    say(common, f"{len(splits.train)} structures to train on, {len(splits.validation)} to validate.")
    with CompileWatch("training", common.quiet), progress(common) as bar:
        task = bar.add_task("training", total=config.run.epochs)

        def report(numbers: dict[str, float]) -> None:
            shown = (
                f"{key} {numbers[key]:.4g}"
                for key in ("forces_mae_eV_per_A", "energy_mae_eV_per_atom")
                if key in numbers
            )
            bar.update(
                task, completed=numbers.get("epoch", 0), description=f"step {numbers['step']}  {'  '.join(shown)}"
            )

        result = library_train(config, splits, resume=resume, report=report)
    tested = _test(result.potential, test, common) if test else None
    record = {
        "best_step": result.best_step,
        "validation": result.validation,
        "test": tested,
        "checkpoint": result.checkpoint,
        "steps": result.steps,
        "seconds": result.seconds,
    }
    rows: list[tuple[str, Any]] = [(key, record[key]) for key in ("best_step", "steps", "seconds", "checkpoint")]
    for name, numbers in (("validation", result.validation), ("test", tested or {})):
        rows += [(f"{name} {key}", value) for key, value in numbers.items() if key != "per_element"]
    emit(common, record, ("", "result"), [(key.replace("_", " "), value) for key, value in rows])


def _claim(folder: Path, resume: bool, common: Common) -> None:
    """Refuse to train into a folder that holds a run, unless it is to be continued or replaced."""
    if folder.is_file():
        raise InputError(f"The output '{folder}' is a file: training needs a folder.")
    if not resume and not common.overwrite and any(folder.glob("*.safetensors")):
        raise InputError(f"'{folder}' holds a run already: continue it with --resume, or replace it with --overwrite.")


def _test(potential: Any, systems: list[Any], common: Common) -> dict[str, Any]:
    from ergodica.prediction import predict
    from ergodica.training.metrics import errors

    return errors(predict(potential, systems, precision=common.precision), systems)  # type: ignore[arg-type]
