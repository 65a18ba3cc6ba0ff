"""`ergodica data-efficiency`: what more structures would bring, and what a trained model spares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ergodica.cli.common import DEFAULTS, Common, Flag, Many
from ergodica.cli.inputs import OWN_NAMES, LabelKeys
from ergodica.cli.output import emit, progress
from ergodica.cli.session import CompileWatch
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.training.efficiency import CurvePoint

__all__ = ["data_efficiency"]

SHOWN = ("forces_mae_eV_per_A", "forces_rmse_eV_per_A", "energy_mae_eV_per_atom", "mae", "rmse", "r2")


def data_efficiency(  # noqa: PLR0913  one parameter an option
    model: Annotated[str, Parameter(name="MODEL")],
    /,
    *data: str,
    test: Many = (),
    fractions: Annotated[tuple[float, ...], Parameter(consume_multiple=True, negative="")] = (0.03, 0.1, 0.3, 1.0),
    steps: int = 1000,
    batch_size: int = 4,
    learning_rate: float = 5e-4,
    no_scratch: Flag = False,
    learn: str = "",
    unit: str = "",
    total: Flag = False,
    keys: LabelKeys = OWN_NAMES,
    common: Common = DEFAULTS,
) -> None:
    """Fine-tune a model on growing shares of the data, train it from scratch on the same, and test both.

    Every training can be interrupted and the command repeated: it goes on where it stood.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file; -o is the folder of trainings, table and plot.
    data
        Labelled structures to draw from; anything ASE reads, each file with a selection if wanted.
    test
        Labelled structures that no training sees.
    fractions
        Shares of the data to learn from.
    steps
        Optimiser steps of each training, whatever its number of structures.
    batch_size
        Structures a step.
    learning_rate
        Its peak when fine-tuning.
    no_scratch
        Leave out the trainings from random parameters.
    learn
        Name of a property in the info of the structures to predict, instead of energies.
    unit
        Of the property, for people.
    total
        The property is the sum of what the atoms contribute, not their mean.
    """
    if not data or not test:
        raise InputError("Give files of labelled structures after the model, and others after --test.")
    common.start(check_output=False)
    from ergodica.training.efficiency import EfficiencyOptions
    from ergodica.training.efficiency import data_efficiency as library_data_efficiency
    from ergodica.training.options import PropertyOptions
    from ergodica.training.splits import read_all

    options = EfficiencyOptions(
        fractions=fractions,
        scratch=not no_scratch,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        learn=PropertyOptions(learn, unit, not total),
        seed=common.seed,
    )
    structures, tested = (read_all(files, options.loss, bool(learn), keys.given) for files in (data, test))
    with CompileWatch("training", common.quiet), progress(common) as bar:
        task = bar.add_task("training", total=steps)

        def report(name: str, numbers: dict[str, float]) -> None:
            bar.update(task, completed=numbers["step"], description=name)

        points = library_data_efficiency(
            model,
            structures,
            tested,
            common.output or "runs/data-efficiency",
            options,
            overwrite=common.overwrite,
            report=report,
        )
    shown = [key for key in SHOWN if points[0].errors.get(key) is not None]
    heads = ("start", "structures", *(key.replace("_", " ") for key in shown))
    emit(common, [_record(point) for point in points], heads, [_row(point, shown) for point in points])


def _record(point: CurvePoint) -> dict[str, Any]:
    return {"start": point.start, "structures": point.structures, "checkpoint": point.checkpoint, **point.errors}


def _row(point: CurvePoint, keys: list[str]) -> tuple[Any, ...]:
    return point.start, point.structures, *(point.errors[key] for key in keys)
