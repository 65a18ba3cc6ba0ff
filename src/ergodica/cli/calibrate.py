"""`ergodica calibrate`: from the spread of a model to bounds of its error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ergodica.cli.common import DEFAULTS, Common, Many
from ergodica.cli.inputs import OWN_NAMES, LabelKeys, read_items
from ergodica.cli.output import emit, say
from ergodica.cli.session import CompileWatch
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.potentials.potential import Potential
    from ergodica.system import System

__all__ = ["calibrate"]


def calibrate(
    model: Annotated[str, Parameter(name="MODEL")],
    /,
    *data: str,
    level: float = 0.9,
    train: Many = (),
    samples: int = 16,
    keys: LabelKeys = OWN_NAMES,
    common: Common = DEFAULTS,
) -> None:
    """Find the factors that make bounds of a model's spread, on labelled structures it was not trained on.

    A single model has no spread: it first gets a posterior of its last layer, from the files of --train or from half
    of the data. Its predictions stay what they are.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file; -o is the file to write.
    data
        Labelled structures that took no part in training; anything ASE reads, with a selection if wanted.
    level
        Share of cases whose error is to stay within its bound.
    train
        Files of training structures, for the posterior of a single model.
    samples
        Samples of the posterior of a single model.
    """
    if common.output is None:
        raise InputError("Say where to write the model, for example -o calibrated.safetensors.")
    common.start()
    from ergodica.potentials import load
    from ergodica.potentials.ensemble import EnsembleConfig
    from ergodica.potentials.modelfile import save_model
    from ergodica.training.calibration import calibrate as library_calibrate

    systems = [item.system for item in read_items(data, **keys.given)]
    fitted = [item.system for item in read_items(train, **keys.given)] if train else []
    potential = load(model)
    with CompileWatch("the calibration", common.quiet):
        if not isinstance(potential.config, EnsembleConfig):
            potential, systems = _with_posterior(potential, systems, fitted, samples, common)
        elif fitted:
            raise InputError(f"Model '{potential.info.name}' is an ensemble: --train is for single models.")
        known = library_calibrate(potential, systems, level=level, data=" ".join(data), precision=common.precision)
    save_model(common.output, known)
    found = known.calibration
    assert found is not None
    record = {
        "path": str(common.output),
        "confidence": found.level,
        "n_structures": found.structures,
        "energy_factor": found.energy,
        "forces_factor": found.forces,
        "stress_factor": found.stress,
    }
    emit(common, record, ("", known.info.name), [(key.replace("_", " "), value) for key, value in record.items()])


def _with_posterior(
    potential: Potential, systems: list[System], fitted: list[System], samples: int, common: Common
) -> tuple[Potential, list[System]]:
    """The model with a posterior of its last layer, and the structures left for the calibration."""
    from ergodica.training.laplace import posterior_ensemble
    from ergodica.training.splits import hold_out

    if not fitted:
        fitted, systems = hold_out(systems, 0.5, True, common.seed)
    say(common, f"Posterior of the last layer from {len(fitted)} structures, {samples} samples.")
    return posterior_ensemble(potential, fitted, samples=samples, seed=common.seed), systems
