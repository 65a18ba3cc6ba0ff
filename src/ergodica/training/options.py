"""Options of a training run: frozen dataclasses that are the API, the TOML file and the record in one.

A configuration file has one table per dataclass; see `examples/train/` for annotated ones.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from ergodica.config import from_dict
from ergodica.errors import InputError
from ergodica.potentials.ensemble import EnsembleConfig
from ergodica.potentials.potential import CONFIGS, Info, ModelConfig
from ergodica.potentials.visnet import ViSNetConfig

__all__ = [
    "DataOptions",
    "LossOptions",
    "OptimizerOptions",
    "PropertyOptions",
    "RunOptions",
    "StartOptions",
    "TaskOptions",
    "TrainConfig",
    "read_config",
    "read_toml",
]


def _require(values: Mapping[str, float], holds: Callable[[float], bool], what: str) -> None:
    """Raise `InputError` for the first value that does not hold."""
    for name, value in values.items():
        if not holds(value):
            raise InputError(f"{name} {what}, it is {value}.")


@dataclass(frozen=True)
class DataOptions:
    """Where the labelled structures are.

    Attributes:
        train: files, each optionally with a selection ("water.extxyz@0:900", "ethanol.npz@train1[0:950]").
        validation: files for early stopping and for choosing the best step.
        validation_fraction: share of `train` set aside when `validation` is empty.
        test: files evaluated once, with the final model.
        shuffle_split: draw the validation share at random (False takes the last ones).
        partial: whether structures may lack energies or forces, as relaxed crystals of which a table says no more than
            where their atoms are.
        energy_key: where energies stand in the files, when not under ASE's own name ("REF_energy").
        forces_key: the same of the forces.
        stress_key: the same of the stresses.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    validation_fraction: float = 0.1
    test: tuple[str, ...] = ()
    shuffle_split: bool = True
    partial: bool = False
    energy_key: str = ""
    forces_key: str = ""
    stress_key: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """Names of labels that are not ASE's own, as `read_structures` takes them."""
        given = {name: getattr(self, name) for name in ("energy_key", "forces_key", "stress_key")}
        return {name: key for name, key in given.items() if key}


@dataclass(frozen=True)
class LossOptions:
    """Weighted sum of errors of energy per atom (eV), force components (eV/Å) and stress components (eV/Å³).

    Attributes:
        kind: "mse"; "mae"; or "huber", which is quadratic below the deltas and linear above.
        energy: weight of the energy term.
        forces: weight of the force term.
        stress: weight of the stress term.
        energy_delta: Huber transition, eV/atom.
        forces_delta: Huber transition, eV/Å.
        stress_delta: Huber transition, eV/Å³.
    """

    kind: Literal["mse", "mae", "huber"] = "huber"
    energy: float = 1.0
    forces: float = 1.0
    stress: float = 0.0
    energy_delta: float = 0.001
    forces_delta: float = 0.01
    stress_delta: float = 0.001

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("energy", "forces", "stress")}
        _require(weights, lambda value: value >= 0, "must not be negative")
        _require({"energy, forces and stress": sum(weights.values())}, lambda value: value > 0, "must not all be 0")
        deltas = {f"{name}_delta": getattr(self, f"{name}_delta") for name in weights}
        _require(deltas, lambda value: value > 0, "must be positive")


@dataclass(frozen=True)
class OptimizerOptions:
    """Muon, AdamW or AMSGrad with warm-up, schedule, clipping and an exponential moving average of the parameters.

    Attributes:
        kind: "muon", "adamw" or "amsgrad"; all take learning rates of one scale.
        learning_rate: peak value.
        min_learning_rate: floor of every schedule.
        weight_decay: decoupled decay.
        clip: largest global norm of a gradient; 0 turns clipping off.
        ema: decay of the moving average that is validated and shipped; 0 turns it off.
        warmup: steps of linear warm-up, cut to a tenth of the run.
        schedule: "constant", "cosine" to the end of the run, or "plateau".
        plateau_factor: factor on the rate when validation has not improved for `plateau_patience` validations.
        plateau_patience: see `plateau_factor`.
    """

    kind: Literal["muon", "adamw", "amsgrad"] = "adamw"
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-6
    weight_decay: float = 0.0
    clip: float = 10.0
    ema: float = 0.999
    warmup: int = 1000
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    plateau_factor: float = 0.8
    plateau_patience: int = 30

    def __post_init__(self) -> None:
        _require({"learning_rate": self.learning_rate}, lambda value: value > 0, "must be positive")
        _require({"ema": self.ema}, lambda value: 0 <= value < 1, "must be at least 0 and less than 1")
        rest = {name: getattr(self, name) for name in ("min_learning_rate", "weight_decay", "clip", "warmup")}
        _require(rest, lambda value: value >= 0, "must not be negative")


@dataclass(frozen=True)
class RunOptions:
    """Length and rhythm of a run.

    Attributes:
        epochs: passes over the training set.
        batch_size: structures a step, on each device; their mean number where structures differ in size.
        steps_per_call: optimiser steps fused into one call of the device.
        validate_every: epochs between validations.
        patience: validations without improvement before the run ends; 0 never ends it early.
        checkpoint_minutes: time between checkpoints.
        seed: seed of parameters, splits and order.
        devices: devices to train on; 0 takes all.
    """

    epochs: int = 100
    batch_size: int = 8
    steps_per_call: int = 20
    validate_every: int = 1
    patience: int = 0
    checkpoint_minutes: float = 5.0
    seed: int = 0
    devices: int = 1

    def __post_init__(self) -> None:
        counts = {name: getattr(self, name) for name in ("epochs", "batch_size", "steps_per_call", "validate_every")}
        _require(counts, lambda value: value >= 1, "must be at least 1")
        rest = {name: getattr(self, name) for name in ("patience", "checkpoint_minutes", "seed", "devices")}
        _require(rest, lambda value: value >= 0, "must not be negative")


@dataclass(frozen=True)
class StartOptions:
    """Start from a trained model instead of from random parameters (fine-tuning).

    Attributes:
        model: name or path; empty for a fresh start.
        freeze: beginnings of parameter names that stay as they are ("embedding", "layer_0").
        replay: files of earlier data mixed in, against forgetting.
        replay_ratio: replayed structures for each new one.
    """

    model: str = ""
    freeze: tuple[str, ...] = ()
    replay: tuple[str, ...] = ()
    replay_ratio: float = 0.5


@dataclass(frozen=True)
class PropertyOptions:
    """A property to learn instead of the energy; forces and stresses are then no part of the loss.

    Attributes:
        key: its name in the info of the structures; empty to learn energies.
        unit: for people.
        average: whether it is the mean over the atoms of what each contributes (a modulus), not the sum (an energy).
    """

    key: str = ""
    unit: str = ""
    average: bool = True


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What the configurations of all trainings share; each adds its `model`, its `data` and what else it needs.

    Attributes:
        optimizer: how.
        run: how long.
        info: card of the result; what is measured is filled in.
        output: folder of checkpoints, metrics, plots and the final model.
    """

    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    run: RunOptions = field(default_factory=RunOptions)
    info: Info = field(default_factory=Info)
    output: str = "runs/model"

    def defining(self) -> dict[str, Any]:
        """What must not change between the parts of one run: all but card, output, length and rhythm."""
        record = asdict(self)
        for key in ("output", "info"):
            record.pop(key)
        record["run"] = {key: record["run"][key] for key in ("batch_size", "steps_per_call", "seed")}
        for key in ("energy_key", "forces_key", "stress_key"):  # checkpoints of before there were these go on
            if record.get("data", {}).get(key) == "":
                record["data"].pop(key)
        return record


@dataclass(frozen=True)
class TrainConfig(TaskOptions):
    """Everything that defines the training of a potential.

    Attributes:
        model: architecture; that of the start model when fine-tuning. `members` in the file's table makes an ensemble
            of that many, each from its own random parameters, on the same batches (Lakshminarayanan et al. 2017).
        data: labelled structures.
        loss: what is minimised.
        start: model to fine-tune.
        learn: what to learn instead of the energy.
    """

    model: ModelConfig = field(default_factory=ViSNetConfig)
    data: DataOptions = field(default_factory=DataOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    start: StartOptions = field(default_factory=StartOptions)
    learn: PropertyOptions = field(default_factory=PropertyOptions)

    def objective(self) -> LossOptions:
        """The loss, without forces and stresses where a property is learnt."""
        return replace(self.loss, energy=1.0, forces=0.0, stress=0.0) if self.learn.key else self.loss


T = TypeVar("T")

SECTIONS = {
    "data": DataOptions,
    "loss": LossOptions,
    "optimizer": OptimizerOptions,
    "run": RunOptions,
    "start": StartOptions,
    "learn": PropertyOptions,
    "info": Info,
}


def read_config(path: str | Path) -> TrainConfig:
    """Read a TOML file.

    Raises:
        InputError: missing file, bad TOML, unknown key (with a suggestion), wrong type.
    """
    return parse_config(read_toml(path), str(path))


def model_kind(path: str | Path) -> str | None:
    """What a TOML file says of the model that is to be trained: `[model] kind`."""
    model = read_toml(path).get("model", {})
    return model.get("kind") if isinstance(model, Mapping) else None


def parse_task(configuration: type[T], table: Mapping[str, Any], where: str) -> T:
    """The configuration of a training of something else than a potential; `[model] kind`, which said so, is left out.

    Raises:
        InputError: unknown key (with a suggestion) or wrong type.
    """
    model = {key: value for key, value in _table(table, "model", where).items() if key != "kind"}
    return from_dict(configuration, {**table, "model": model}, where)


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        InputError: missing file or bad TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text())
    except FileNotFoundError as error:
        raise InputError(f"There is no configuration '{path}'.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"'{path}' is not readable TOML: {error}.") from error


def _table(table: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, Mapping):
        raise InputError(f"{where}: '{name}' must be a table, write [{name}].")
    return found


def parse_config(table: Mapping[str, Any], where: str) -> TrainConfig:
    """Build a `TrainConfig` from nested dictionaries (see `read_config`)."""
    table, model = dict(table), dict(_table(table, "model", where))
    table.pop("model", None)
    kind = model.pop("kind", "visnet")
    if kind not in CONFIGS:
        raise InputError(f"{where}: [model] kind '{kind}' is not known; choose one of {', '.join(CONFIGS)}.")
    members = model.pop("members", 1)
    if not isinstance(members, int) or members < 1:
        raise InputError(f"{where}: [model] members must be a whole number, 1 for a single model, it is {members!r}.")
    architecture: Any = from_dict(CONFIGS[kind], model, f"{where} [model]")
    parts: dict[str, Any] = {"model": EnsembleConfig(architecture, members) if members > 1 else architecture}
    if "output" in table:
        parts["output"] = str(table.pop("output"))
    unknown = sorted(set(table) - set(SECTIONS))
    if unknown:
        raise InputError(f"{where}: unknown table '{unknown[0]}'; known: model, output, {', '.join(SECTIONS)}.")
    for name, section in table.items():
        parts[name] = from_dict(SECTIONS[name], _table({name: section}, name, where), f"{where} [{name}]")
    return TrainConfig(**parts)
