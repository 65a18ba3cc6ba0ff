"""Options of active learning: tables of a TOML file beside those of a training run; see `examples/active/`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ergodica.config import from_dict
from ergodica.dynamics.options import MDOptions
from ergodica.errors import InputError
from ergodica.training.options import TrainConfig, parse_config, read_toml

__all__ = ["ActiveConfig", "ExploreOptions", "RoundOptions", "SelectOptions", "TeacherOptions", "read_active_config"]


@dataclass(frozen=True)
class RoundOptions:
    """How often, and with what to begin.

    Attributes:
        count: rounds at most; each trains, explores, selects and labels.
        epochs: passes over the data when a round goes on training the model of the last; 0 for those of [run].
        initial: distorted copies of the start structures to label first, when [data] names no labelled structures.
        displacement: standard deviation of their atoms' displacements, Å.
        strain: standard deviation of the strains of their cells.
    """

    count: int = 5
    epochs: int = 0
    initial: int = 20
    displacement: float = 0.1
    strain: float = 0.02

    def __post_init__(self) -> None:
        if self.count < 1 or self.epochs < 0 or self.initial < 2 or min(self.displacement, self.strain) < 0:
            raise InputError("[rounds] count must be at least 1, initial at least 2, and nothing negative.")


@dataclass(frozen=True)
class ExploreOptions:
    """Where the model walks: dynamics from every start structure at every temperature.

    Attributes:
        structures: files of start structures.
        temperatures: K.
        ensemble: as of `ergodica md`.
        timestep: fs.
        steps: length of a walk.
        every: steps between the frames that are looked at.
        pressure: for "npt", GPa.
    """

    structures: tuple[str, ...] = ()
    temperatures: tuple[float, ...] = (300.0,)
    ensemble: Literal["nve", "langevin", "nose-hoover", "csvr", "npt"] = "langevin"
    timestep: float = 1.0
    steps: int = 1000
    every: int = 10
    pressure: float = 0.0

    def __post_init__(self) -> None:
        if not self.structures or not self.temperatures:
            raise InputError("[explore] needs structures to start from, and temperatures.")
        for temperature in self.temperatures:
            self.dynamics(temperature, 0, 1.0)

    def dynamics(self, temperature: float, seed: int, ceiling: float) -> MDOptions:
        """The options of one walk, which ends where the model is lost."""
        return MDOptions(
            ensemble=self.ensemble,
            temperature=temperature,
            pressure=self.pressure,
            timestep=self.timestep,
            steps=self.steps,
            every=self.every,
            seed=seed,
            max_uncertainty=ceiling,
        )


@dataclass(frozen=True)
class SelectOptions:
    """Which frames are worth a label, by the uncertainty of the force on their worst atom.

    Attributes:
        floor: frames below are known well enough, eV/Å.
        ceiling: frames above are hopeless, and end the walk, eV/Å.
        number: frames a round at most, chosen to be uncertain and unlike each other.
        enough: share of uncertain frames at which the model has learned enough.
    """

    floor: float = 0.1
    ceiling: float = 1.0
    number: int = 10
    enough: float = 0.01

    def __post_init__(self) -> None:
        if not 0 < self.floor < self.ceiling or self.number < 1 or not 0 <= self.enough < 1:
            raise InputError(
                f"[select] needs 0 < floor < ceiling, they are {self.floor} and {self.ceiling} eV/Å; number must be at "
                "least 1, and enough a share below 1."
            )


@dataclass(frozen=True)
class TeacherOptions:
    """Who labels.

    Attributes:
        name: a teacher as `ergodica label` knows it: "emt", "xtb", "pyscf", a model, or "package.module:Class" of an
            ASE calculator.
        kwargs: its keyword arguments.
    """

    name: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ActiveConfig:
    """Everything that defines a run of active learning.

    Attributes:
        train: the model, and how it is trained in every round.
        explore: where it walks.
        select: what is labelled.
        teacher: by whom.
        rounds: how often.
    """

    train: TrainConfig
    explore: ExploreOptions
    teacher: TeacherOptions
    select: SelectOptions = field(default_factory=SelectOptions)
    rounds: RoundOptions = field(default_factory=RoundOptions)

    def defining(self) -> dict[str, Any]:
        """What must not change between the parts of one run (the number of rounds may)."""
        record = asdict(self)
        record["rounds"].pop("count")
        record["train"] = {**self.train.defining(), "epochs": self.train.run.epochs}
        return record


SECTIONS = {"explore": ExploreOptions, "teacher": TeacherOptions, "select": SelectOptions, "rounds": RoundOptions}


def read_active_config(path: str | Path) -> ActiveConfig:
    """Read a TOML file.

    Raises:
        InputError: missing file, bad TOML, unknown key (with a suggestion), wrong type, no teacher or no structures.
    """
    table = read_toml(path)
    for name in ("explore", "teacher"):
        if not isinstance(table.get(name), Mapping):
            raise InputError(f"{path}: active learning needs a table [{name}].")
    parts: dict[str, Any] = {}
    for name, cls in SECTIONS.items():
        if name in table:
            parts[name] = from_dict(cls, table.pop(name), f"{path} [{name}]")
    return ActiveConfig(train=parse_config(table, str(path)), **parts)
