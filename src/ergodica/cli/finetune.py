"""`ergodica finetune`: a trained model goes on learning from your data."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from ergodica.cli.common import SHARED, Flag, Many, Shared
from ergodica.cli.inputs import OWN_NAMES, LabelKeys
from ergodica.cli.output import say
from ergodica.cli.train import shown
from ergodica.errors import InputError

__all__ = ["finetune"]


def finetune(  # noqa: PLR0913  one parameter an option
    model: Annotated[str, Parameter(name="MODEL")],
    /,
    *data: str,
    validation: Many = (),
    test: Many = (),
    replay: Many = (),
    freeze: Many = (),
    epochs: int = 50,
    batch_size: int = 4,
    learning_rate: float = 1e-4,
    stress_weight: float = 0.0,
    learn: str = "",
    unit: str = "",
    total: Flag = False,
    keys: LabelKeys = OWN_NAMES,
    resume: Flag = False,
    common: Shared = SHARED,
) -> None:
    """Go on training a model with your own data.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    data
        Labelled structures to learn from; anything ASE reads, each file with a selection if wanted (data.xyz@0:900).
    validation
        Files to choose the best step by; a tenth of the data by default.
    test
        Files to evaluate once, at the end.
    replay
        Files of earlier data mixed in, against forgetting.
    freeze
        Beginnings of the names of parameters to leave alone, such as embedding or layer_0.
    epochs
        Passes over the data.
    batch_size
        Structures a step.
    learning_rate
        Its peak.
    stress_weight
        Of the errors of stresses (eV/Å³), beside 1 for energies an atom and 1 for forces; by default they don't count.
    learn
        Name of a property that the structures have in their info, such as bulk_modulus: the model is made to predict
        it, instead of energies.
    unit
        Of the property, for people.
    total
        The property is the sum of what the atoms contribute, such as a heat of formation, not their mean.
    resume
        Continue from the last checkpoint, if there is one.
    """
    if not data:
        raise InputError("Give at least one file of labelled structures after the model.")
    common.start(check_output=False)
    from ergodica.training import finetune as library_finetune
    from ergodica.training.options import LossOptions, PropertyOptions
    from ergodica.training.property import values_of
    from ergodica.training.splits import read_all

    loss = LossOptions(stress=stress_weight)
    structures, chosen_by, earlier, tested = (
        read_all(files, loss, bool(learn), keys.given) for files in (data, validation, replay, test)
    )
    if learn:
        values_of(tested, learn)
    say(common, f"{len(structures)} structures to learn from.")
    shown(
        lambda report: library_finetune(
            model,
            structures,
            output=common.output or "runs/finetuned",
            validation=chosen_by,
            freeze=freeze,
            replay=earlier,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            loss=loss,
            learn=PropertyOptions(learn, unit, not total),
            seed=common.seed,
            resume=resume,
            overwrite=common.overwrite,
            report=report,
        ),
        epochs,
        tested,
        common,
    )
