"""The rounds: train, explore, select, label, and again. Every step leaves a file, so that a killed run is repeated."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ergodica.active.explore import Explored, explore
from ergodica.active.options import ActiveConfig, RoundOptions, TeacherOptions
from ergodica.datasets.labels import label
from ergodica.datasets.selection import choose
from ergodica.datasets.teachers import Teacher
from ergodica.errors import InputError, WorkFailed
from ergodica.files import atomic_write, read_lines, read_structures, write_structures
from ergodica.potentials import load
from ergodica.potentials.ensemble import EnsembleConfig
from ergodica.potentials.modelfile import load_model, save_model
from ergodica.potentials.potential import Potential
from ergodica.prediction import predict
from ergodica.system import Labels, System
from ergodica.training.loop import TrainResult, train
from ergodica.training.metrics import errors
from ergodica.training.options import TrainConfig
from ergodica.training.splits import Splits, hold_out, read_all

__all__ = ["ActiveResult", "Round", "learn_actively"]

Say = Callable[[str], None]

Labeller = Callable[[Sequence[System], Path], list[System]]
"""Structures, and a file that keeps the answers → those that could be labelled, with their labels."""


@dataclass(frozen=True)
class Round:
    """What came of one round.

    Attributes:
        number: from 0.
        structures: labelled ones so far.
        new: labelled in this round.
        refused: structures of this round that the teacher could not label.
        new_forces_mae: error of the last round's model on the new structures, eV/Å; None in the first round.
        forces_mae: validation error of this round's model, eV/Å.
        energy_mae: the same of the energy, eV/atom.
        frames: looked at.
        uncertain: share of them above the floor.
        largest: largest uncertainty below the ceiling, eV/Å.
        complete: share of the walks that reached their length.
        selected: frames for the teacher, with their uncertainty in eV/Å.
    """

    number: int
    structures: int
    new: int
    refused: int
    new_forces_mae: float | None
    forces_mae: float
    energy_mae: float
    frames: int
    uncertain: float
    largest: float
    complete: float
    selected: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class ActiveResult:
    """Outcome of all rounds.

    Attributes:
        rounds: one after the other.
        potential: the last model.
        model: its file.
        converged: whether the walks all ended well and held no more uncertain frames than asked for.
    """

    rounds: tuple[Round, ...]
    potential: Potential
    model: Path
    converged: bool


def learn_actively(
    config: ActiveConfig, *, labeller: Labeller | None = None, report: Say | None = None
) -> ActiveResult:
    """Let a model find out what it has to learn.

    The folder `config.train.output` has one folder a round with its labelled structures, its model, its walks and the
    frames it selected. What is there is not done again: a run that was killed, or is to have more rounds, is called
    again, and gives the same rounds as one in a stretch.

    Args:
        config: what to do.
        labeller: who labels, instead of the calculator of the configuration.
        report: called with a sentence at every step.

    Raises:
        InputError: a single model, structures without labels, or a folder that holds a run of another configuration.
        WorkFailed: the teacher could label nothing, a training diverged, or the disk is full.
    """
    _check_ensemble(config.train)
    if config.train.data.test:
        raise InputError("Active learning has no test of its own: leave [data] test out, and evaluate the last model.")
    folder, say = Path(config.train.output), report or (lambda _: None)
    teacher = labeller or labeller_of(config.teacher)
    starts = [system for file in config.explore.structures for system in read_structures(file)]
    _claim(folder, config)
    rounds: list[Round] = []
    for number in range(config.rounds.count):
        rounds.append(_Step(config, folder, number, starts, teacher, say).run())
        if _learned(config, rounds[-1]) or not rounds[-1].selected:
            break
    potential = load_model(_model_of(folder, len(rounds) - 1))
    save_model(folder / "model.safetensors", potential)
    return ActiveResult(tuple(rounds), potential, folder / "model.safetensors", _learned(config, rounds[-1]))


def _learned(config: ActiveConfig, last: Round) -> bool:
    return last.complete == 1.0 and last.uncertain <= config.select.enough


def labeller_of(options: TeacherOptions) -> Labeller:
    """The labeller of a teacher.

    Raises:
        InputError: there is no such teacher, or it does not take the keyword arguments.
    """
    teacher = Teacher.named(options.name, options.kwargs)
    teacher()

    def labelled(structures: Sequence[System], journal: Path) -> list[System]:
        earlier = journal.exists()
        outcomes = label(structures, teacher, journal=journal)
        if earlier and not any(outcome.labels for outcome in outcomes):  # as for want of a licence, say
            outcomes = label(structures, teacher, journal=journal, retry=True)
        pairs = zip(structures, outcomes, strict=True)
        return [system.with_labels(outcome.labels) for system, outcome in pairs if outcome.labels is not None]

    return labelled


def _check_ensemble(config: TrainConfig) -> None:
    model = load(config.start.model).config if config.start.model else config.model
    if not isinstance(model, EnsembleConfig):
        raise InputError("Active learning needs a model that knows its uncertainty: set [model] members = 3, say.")


def _claim(folder: Path, config: ActiveConfig) -> None:
    """Write down what the folder is for, or see that it is for this."""
    path, wanted = folder / "active.json", json.loads(json.dumps(config.defining()))
    if not path.exists():
        atomic_write(path, json.dumps(wanted, indent=1).encode())
        return
    found = json.loads("\n".join(read_lines(path)))
    changed = [key for key in wanted if wanted[key] != found.get(key)]
    if changed:
        raise InputError(
            f"'{folder}' holds a run of another configuration ([{changed[0]}] differs): go on with the same one, or "
            "use another output folder."
        )


def _round_folder(folder: Path, number: int) -> Path:
    return folder / f"round-{number:03d}"


def _model_of(folder: Path, number: int) -> Path:
    return _round_folder(folder, number) / "model" / "model.safetensors"


@dataclass(frozen=True)
class _Step:
    """One round; its methods each leave a file, or find it."""

    config: ActiveConfig
    folder: Path
    number: int
    starts: Sequence[System]
    teacher: Labeller
    say: Say

    @property
    def own(self) -> Path:
        return _round_folder(self.folder, self.number)

    @property
    def seed(self) -> int:
        return self.config.train.run.seed

    def run(self) -> Round:
        """The record of the round."""
        path = self.own / "round.json"
        if path.exists():
            record = json.loads("\n".join(read_lines(path)))
            return Round(**{**record, "selected": tuple(map(tuple, record["selected"]))})
        asked, data = self._label()
        trained = self._train()
        select = self.config.select
        self.say(f"round {self.number}: exploring")
        seen = explore(
            trained.potential, self.starts, self.config.explore, select.ceiling, [self.seed, self.number], self.own
        )
        record = self._record(asked, data, trained, seen, self._select(seen))
        atomic_write(path, json.dumps(asdict(record), indent=1).encode())
        return record

    def _label(self) -> tuple[int, list[System]]:
        """How many structures the teacher was asked for, and those of this round with their labels."""
        path, files = self.own / "data.extxyz", self.config.train.data.train
        if self.number == 0 and files:
            known = read_all(files, self.config.train.loss, keys=self.config.train.data.keys)
            return len(known), self._kept(path, lambda: known)
        wanted = self._wanted()
        return len(wanted), self._kept(path, lambda: self._asked(wanted))

    def _kept(self, path: Path, make: Callable[[], list[System]]) -> list[System]:
        """Structures of a file that is made if it is not there; read back, as files round off coordinates."""
        if not path.exists():
            write_structures(path, make())
        return read_structures(path)

    def _asked(self, wanted: Sequence[System]) -> list[System]:
        self.say(f"round {self.number}: labelling {len(wanted)} structures")
        journal = self.own / "labels.jsonl"
        labelled = self.teacher(wanted, journal)
        if not labelled:
            raise WorkFailed(f"The teacher could label none of {len(wanted)} structures: see '{journal}'.")
        return labelled

    def _wanted(self) -> list[System]:
        """What the teacher is to label: at first distorted start structures, then what the last round selected."""
        if self.number > 0:
            return read_structures(_round_folder(self.folder, self.number - 1) / "selected.extxyz")
        options = self.config.rounds
        rng = np.random.default_rng([self.seed, 0])
        return [_distorted(self.starts[i % len(self.starts)], options, rng) for i in range(options.initial)]

    def _train(self) -> TrainResult:
        """This round's model: from random parameters, or from the last round's."""
        config = replace(self.config.train, output=str(self.own / "model"))
        if self.number > 0:
            last = _model_of(self.folder, self.number - 1)
            epochs = self.config.rounds.epochs or config.run.epochs
            config = replace(
                config,
                model=load_model(last).config,
                start=replace(config.start, model=str(last)),
                run=replace(config.run, epochs=epochs),
            )
        splits = self._splits()
        self.say(f"round {self.number}: training on {len(splits.train)} structures")
        return train(config, splits, resume=True)

    def _splits(self) -> Splits:
        """Each round's share for validation stays that, so that no model has learned from it."""
        data, start = self.config.train.data, self.config.train.start
        given, earlier = (
            read_all(files, self.config.train.loss, keys=data.keys) for files in (data.validation, start.replay)
        )
        fitted: list[System] = []
        checked: list[System] = []
        for number in range(self.number + 1):
            systems = read_structures(_round_folder(self.folder, number) / "data.extxyz")
            if given or len(systems) < 2:
                fitted += systems
                continue
            kept, aside = hold_out(systems, data.validation_fraction, True, self.seed)
            fitted, checked = fitted + kept, checked + aside
        return Splits(fitted, given or checked, earlier)

    def _select(self, seen: Explored) -> list[tuple[System, float]]:
        """The frames for the teacher, written down."""
        options, score = self.config.select, seen.uncertainty
        able = bool(np.any((score >= options.floor) & (score <= options.ceiling)))
        limits = {"floor": options.floor, "ceiling": options.ceiling}
        best = choose(seen.frames, options.number, score, **limits).tolist() if able else []
        chosen = [(seen.frames[i], float(score[i])) for i in best]
        if chosen:
            write_structures(self.own / "selected.extxyz", [system for system, _ in chosen])
        return chosen

    def _record(
        self,
        asked: int,
        data: Sequence[System],
        trained: TrainResult,
        seen: Explored,
        chosen: Sequence[tuple[System, float]],
    ) -> Round:
        select = self.config.select
        below = seen.uncertainty[seen.uncertainty <= select.ceiling]
        earlier = [_round_folder(self.folder, number) / "data.extxyz" for number in range(self.number)]
        return Round(
            number=self.number,
            structures=len(data) + sum(len(read_structures(path)) for path in earlier),
            new=len(data),
            refused=asked - len(data),
            new_forces_mae=self._surprise(data),
            forces_mae=trained.validation.get("forces_mae_eV_per_A", float("nan")),
            energy_mae=trained.validation.get("energy_mae_eV_per_atom", float("nan")),
            frames=len(seen.frames),
            uncertain=float(np.mean(seen.uncertainty > select.floor)),
            largest=float(below.max()) if len(below) else float("nan"),
            complete=seen.complete,
            selected=tuple((system.name, value) for system, value in chosen),
        )

    def _surprise(self, data: Sequence[System]) -> float | None:
        """Error on this round's structures of the model that asked for them."""
        if self.number == 0:
            return None
        last = load_model(_model_of(self.folder, self.number - 1))
        found: Any = predict(last, data)
        return errors(found, data)["forces_mae_eV_per_A"]


def _distorted(system: System, options: RoundOptions, rng: np.random.Generator) -> System:
    """The structure with its atoms displaced and, if it has one, its cell strained at random."""
    strain = np.eye(3) + options.strain * rng.standard_normal((3, 3)) * bool(system.pbc.any())
    moved = system.positions + options.displacement * rng.standard_normal((len(system), 3))
    return replace(system, positions=moved @ strain, cell=system.cell @ strain, labels=Labels())
