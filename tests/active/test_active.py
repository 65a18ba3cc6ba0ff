"""Active learning: a killed run gives the same rounds, frames are chosen as told, the teacher is asked once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones

from ergodica.active import ActiveConfig, learn_actively, read_active_config
from ergodica.active import loop as rounds_module
from ergodica.active.explore import _judged
from ergodica.active.loop import labeller_of
from ergodica.active.options import ExploreOptions, RoundOptions, SelectOptions, TeacherOptions
from ergodica.errors import InputError, WorkFailed
from ergodica.files import write_structures
from ergodica.potentials import Potential, ViSNetConfig
from ergodica.potentials.combine import combine
from ergodica.potentials.ensemble import EnsembleConfig
from ergodica.potentials.modelfile import load_model
from ergodica.system import Labels, System, as_system
from ergodica.training.options import DataOptions, OptimizerOptions, RunOptions, StartOptions, TrainConfig

TETRAHEDRON = 2.2 / np.sqrt(8.0) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
MEMBER = ViSNetConfig(hidden=8, layers=1, heads=2, num_rbf=4, lmax=1, max_z=10)
TEACHER = TeacherOptions("ase.calculators.lj:LennardJones", {"sigma": 2.0, "epsilon": 0.1, "rc": 20.0})


@pytest.fixture
def config(tmp_path) -> ActiveConfig:
    """Two rounds of a tetrahedron of carbon labelled by Lennard-Jones; hardly anything is uncertain enough to stop."""
    write_structures(tmp_path / "start.extxyz", Atoms("C4", TETRAHEDRON))
    train = TrainConfig(
        model=EnsembleConfig(MEMBER, 2),
        data=DataOptions(validation_fraction=0.25),
        optimizer=OptimizerOptions(learning_rate=3e-3, warmup=0),
        run=RunOptions(epochs=2, batch_size=2, steps_per_call=4),
        output=str(tmp_path / "run"),
    )
    return ActiveConfig(
        train=train,
        explore=ExploreOptions((str(tmp_path / "start.extxyz"),), (300.0,), steps=8, every=2),
        teacher=TEACHER,
        select=SelectOptions(floor=1e-9, ceiling=1e3, number=4),
        rounds=RoundOptions(count=2, epochs=1, initial=8),
    )


def files(folder):
    """Content of everything that defines the rounds, by name."""
    names = sorted(
        p for p in folder.rglob("*") if p.suffix == ".extxyz" or p.name in ("round.json", "model.safetensors")
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_rounds(config, tmp_path, monkeypatch):
    whole = learn_actively(config)
    first, second = whole.rounds
    assert (first.structures, second.structures) == (8, 12) and second.new_forces_mae is not None
    assert len(first.selected) == 4 and not whole.converged and first.frames == 5
    assert load_model(whole.model).config == config.train.model

    killed = replace(config, train=replace(config.train, output=str(tmp_path / "killed")))
    asked = []

    def counting(structures, folder):
        asked.append(len(structures))
        return labeller_of(TEACHER)(structures, folder)

    for stage in ("train", "explore", "write_structures"):  # dies once in each
        with monkeypatch.context() as patch:
            patch.setattr(rounds_module, stage, _dies)
            with pytest.raises(KeyboardInterrupt):
                learn_actively(killed, labeller=counting)
    again = learn_actively(killed, labeller=counting)
    assert again.rounds == whole.rounds
    assert files(tmp_path / "killed") == files(tmp_path / "run")
    assert asked == [8, 4]  # every structure once
    assert learn_actively(killed, labeller=_dies).rounds == whole.rounds  # nothing left to do
    with pytest.raises(InputError, match=r"\[explore\] differs"):
        learn_actively(replace(killed, explore=replace(killed.explore, steps=9)))


def _dies(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.slow
def test_enough_is_enough(config):
    satisfied = replace(config, select=SelectOptions(floor=1e2, ceiling=1e3))
    result = learn_actively(satisfied)
    assert result.converged and len(result.rounds) == 1 and result.rounds[0].selected == ()


def test_teacher_is_asked_once_and_may_refuse(tmp_path):
    copper, strange = System([29] * 4, TETRAHEDRON), System([79, 92], [[0, 0, 0], [0, 0, 2.5]])
    journal = tmp_path / "labels.jsonl"
    for _ in range(2):
        (found,) = labeller_of(TeacherOptions("emt"))([copper, strange], journal)
    assert found.labels.energy is not None and found.labels.forces.shape == (4, 3)
    lines = journal.read_text().splitlines()
    assert len(lines) == 3 and "No EMT-potential for U" in lines[2]


def test_nothing_could_be_labelled(config):
    with pytest.raises(WorkFailed, match="none of 8 structures"):
        learn_actively(config, labeller=lambda structures, folder: [])


class Moody(LennardJones):
    """Fails until its licence is there."""

    licence = False

    def calculate(self, *arguments, **options):
        if not self.licence:
            raise RuntimeError("licence server down")
        super().calculate(*arguments, **options)


def test_a_teacher_that_failed_with_all_is_asked_again(tmp_path, monkeypatch):
    labeller = labeller_of(TeacherOptions(f"{__name__}:Moody"))
    systems, journal = [System([6] * 4, TETRAHEDRON)], tmp_path / "labels.jsonl"
    assert labeller(systems, journal) == [] and len(journal.read_text().splitlines()) == 2
    monkeypatch.setattr(Moody, "licence", True)
    (found,) = labeller(systems, journal)
    assert found.labels.energy is not None


def test_earlier_data_and_frozen_parameters_are_heeded_in_all_rounds(config, monkeypatch):
    seen = []

    def stop(config, splits, **_):
        seen.append((config.start.freeze, len(splits.replay)))
        raise KeyboardInterrupt

    monkeypatch.setattr(rounds_module, "train", stop)
    copies = [replace(as_system(Atoms("C4", TETRAHEDRON)), labels=Labels(-1.0, np.zeros((4, 3))))] * 3
    write_structures(Path(config.explore.structures[0]).parent / "old.extxyz", copies)
    old = str(Path(config.explore.structures[0]).parent / "old.extxyz")
    changed = replace(config.train, start=StartOptions(freeze=("embedding",), replay=(old,)))
    with pytest.raises(KeyboardInterrupt):
        learn_actively(replace(config, train=changed))
    assert seen == [(("embedding",), 3)]


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"train": TrainConfig(model=EnsembleConfig(MEMBER, 2), data=DataOptions(test=("a.xyz",)))}, "test out"),
        ({"train": TrainConfig(model=MEMBER)}, "knows its uncertainty"),
        ({"teacher": TeacherOptions("nobody")}, "no teacher 'nobody'"),
        ({"teacher": TeacherOptions("ase.calculators.emt:EMTT")}, "EMTT"),
        ({"teacher": TeacherOptions("ase.calculators.singlepoint:SinglePointCalculator")}, "does not take"),
    ],
)
def test_bad_use(config, change, hint):
    with pytest.raises(InputError, match=hint):
        learn_actively(replace(config, **change))


TOML = """
[model]
members = 2
[explore]
structures = ["start.extxyz"]
[teacher]
name = "ase.calculators.lj:LennardJones"
kwargs = {sigma = 2.0}
"""


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ("[teacher]", "[techer]", r"needs a table \[teacher\]"),
        ('structures = ["start.extxyz"]', "", "needs structures"),
        ("[teacher]", "stps = 3\n[teacher]", "did you mean 'steps'"),
        ("[teacher]", "timestep = -1.0\n[teacher]", "must be positive"),
        ("[model]", "[select]\nfloor = 2.0\n[model]", "0 < floor < ceiling"),
        ("[model]", "[rounds]\ncount = 0\n[model]", "count must be at least 1"),
        ("[model]", "[rum]\n[model]", "unknown table 'rum'"),
    ],
)
def test_bad_configurations(tmp_path, old, new, hint):
    path = tmp_path / "active.toml"
    path.write_text(TOML)
    assert read_active_config(path).teacher.kwargs == {"sigma": 2.0}
    path.write_text(TOML.replace(old, new))
    with pytest.raises(InputError, match=hint):
        read_active_config(path)


def test_example_is_valid(monkeypatch):
    from pathlib import Path

    root = Path(__file__).parents[2]
    found = read_active_config(root / "examples" / "active" / "copper.toml")
    assert (root / found.explore.structures[0]).exists() and found.train.model.members == 3
    assert json.dumps(found.defining())


def test_frames_that_the_model_has_no_answer_for_are_left_out():
    potential = combine([Potential.create(MEMBER, seed=seed) for seed in (0, 1)])
    apart = System([6, 6], [[0, 0, 0], [1.3, 0, 0]])
    known, found = _judged(potential, [apart, System([6, 6], np.zeros((2, 3))), apart, apart])
    assert len(known) == len(found) == 3 and all(one.uncertainty is not None for one in found)
