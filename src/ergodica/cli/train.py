"""`ergodica train`: one training run as a TOML file says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ergodica.cli.common import RECIPE, Flag, Recipe, Shared
from ergodica.cli.output import emit, progress, say
from ergodica.cli.session import CompileWatch
from ergodica.errors import ErgodicaError, WorkFailed

if TYPE_CHECKING:
    from ergodica.system import System
    from ergodica.training import TrainConfig
    from ergodica.training.loop import Outcome

__all__ = ["overridden", "run_training", "shown", "train"]

T = TypeVar("T")


def train(config: Path, /, *, resume: Flag = False, common: Recipe = RECIPE) -> None:
    """Train a model as a TOML file says.

    Parameters
    ----------
    config
        TOML file with tables [model], [data], [loss], [optimizer], [run], [start],
        [learn] and [info]; -o overrides its output, --seed its seed.
    resume
        Continue from the last checkpoint, if there is one.
    """
    common.start(check_output=False)
    from ergodica.dft.learned import training as functionals
    from ergodica.sampling.samplers.adatoms import training as adatoms
    from ergodica.sampling.samplers.analytic import training as energies
    from ergodica.sampling.samplers.molecule import training as molecules
    from ergodica.sampling.samplers.particles import training as particles
    from ergodica.sampling.samplers.torsions import training as torsions
    from ergodica.training import read_config
    from ergodica.training.options import model_kind

    others: dict[str | None, tuple[type, Callable[..., Outcome]]] = {
        functionals.KIND: (functionals.FunctionalTraining, functionals.train_functional),
        torsions.KIND: (torsions.SamplerTraining, torsions.train_sampler),
        particles.KIND: (particles.ParticleTraining, particles.train_particles),
        molecules.KIND: (molecules.InternalTraining, molecules.train_internal),
        energies.KIND: (energies.EnergyTraining, energies.train_from_energy),
        adatoms.KIND: (adatoms.AdatomTraining, adatoms.train_adatoms),
    }
    kind = model_kind(config)
    if kind in others:
        return _train_other(config, *others[kind], resume, common)
    run_training(read_config(config), resume, common)


def run_training(config: TrainConfig, resume: bool, common: Recipe) -> None:
    """Train, evaluate the test set with the final model, and print the outcome."""
    from ergodica.training import read_splits
    from ergodica.training import train as library_train

    config = overridden(config, common)
    splits, test = read_splits(config)
    say(common, f"{len(splits.train)} structures to train on, {len(splits.validation)} to validate.")
    shown(
        lambda report: library_train(config, splits, resume=resume, overwrite=common.overwrite, report=report),
        config.run.epochs,
        test,
        common,
    )


def _train_other(path: Path, configuration: type, train: Callable[..., Outcome], resume: bool, common: Recipe) -> None:
    """Train what is no potential; there is no test set, as its errors are those of what is made with it."""
    from ergodica.training.options import parse_task, read_toml

    config: Any = parse_task(configuration, read_toml(path), str(path))
    config = overridden(config, common)
    shown(
        lambda report: train(config, resume=resume, overwrite=common.overwrite, report=report),
        config.run.epochs,
        (),
        common,
    )


def overridden(config: T, common: Recipe) -> T:
    """A configuration of a training with the output folder and the seed of the command line."""
    changed: Any = config
    if common.output is not None:
        changed = replace(changed, output=str(common.output))
    if common.seed is not None:
        changed = replace(changed, run=replace(changed.run, seed=common.seed))
    return changed


def shown(
    training: Callable[[Callable[[dict[str, float]], None]], Outcome],
    epochs: int,
    test: Sequence[System],
    common: Shared,
) -> None:
    """Run a training with a progress bar, evaluate the test set with its model, and print the outcome.

    Args:
        training: takes what is to be called with the running errors.
        epochs: length of the run.
        test: structures to evaluate at the end.
        common: options of every verb.
    """
    from ergodica.training.loop import TrainResult

    with CompileWatch("training", common.quiet), progress(common) as bar:
        task = bar.add_task("training", total=epochs)

        def report(numbers: dict[str, float]) -> None:
            validated = "validation_loss" in numbers
            line = f"step {numbers['step']}  {_errors(numbers, 'validation_' if validated else '')}"
            if validated and not common.quiet:  # stays, on a terminal and in a log file
                bar.console.print(f"epoch {numbers['epoch']}  {line} (validation)", markup=False, highlight=False)
            elif not validated:
                bar.update(task, completed=numbers["epoch"], description=line)

        result = training(report)
    tested, failure = None, ""
    if test and isinstance(result, TrainResult):
        try:
            tested = _test(result.potential, test, common)
        except ErgodicaError as error:  # what was trained is told all the same
            failure = str(error)
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
    if failure:
        raise WorkFailed(f"The model is trained ('{result.checkpoint}'), but the test failed: {failure}")


def _errors(numbers: dict[str, float], prefix: str) -> str:
    """Running errors for the eye: "forces 12.3 meV/Å  energy 0.45 meV/atom"."""
    shown = (
        ("forces_mae_eV_per_A", "forces", 1e3, " meV/Å"),
        ("energy_mae_eV_per_atom", "energy", 1e3, " meV/atom"),
        ("property_mae", "error", 1.0, ""),
        ("score_error", "score", 1.0, ""),
        ("physics_score_error", "physics alone", 1.0, ""),
        ("ground_energy_mae_mHa", "energy", 1.0, " mHa"),
        ("gradient_error_root_mHa", "gradient", 1.0, " √mHa"),
        ("nuclear_gradient_error_mHa_per_Bohr", "nuclear", 1.0, " mHa/Bohr"),
    )
    found = ((numbers.get(prefix + key), name, factor, unit) for key, name, factor, unit in shown)
    return "  ".join(f"{name} {factor * value:.4g}{unit}" for value, name, factor, unit in found if value is not None)


def _test(potential: Any, systems: Sequence[System], common: Shared) -> dict[str, Any]:
    from ergodica.potentials.property import PropertyConfig
    from ergodica.prediction import predict
    from ergodica.training.metrics import errors, property_errors

    found: Any = predict(potential, systems, precision=common.precision)
    config = potential.config
    return property_errors(found, systems) if isinstance(config, PropertyConfig) else errors(found, systems)
