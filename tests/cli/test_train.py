"""`train` and `finetune`."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from ergodica.errors import InputError
from ergodica.training.options import DataOptions, TrainConfig
from ergodica.training.splits import read_splits
from tests.cli.conftest import is_one_sentence

CONFIG = """
output = "run"
[model]
hidden = 8
layers = 1
heads = 2
num_rbf = 4
[data]
train = ["water.xyz@0:8"]
test = ["water.xyz@8:10"]
validation_fraction = 0.25
[run]
epochs = 1
batch_size = 2
"""


@pytest.fixture
def water(tmp_path):
    """Ten labelled water molecules and a configuration in the working folder."""
    frames = []
    for seed in range(10):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    write(tmp_path / "water.xyz", frames, format="extxyz")
    (tmp_path / "train.toml").write_text(CONFIG)
    return tmp_path


@pytest.mark.slow
def test_train_then_finetune(ergodica, water):
    answer = ergodica("train", "train.toml", "--json", model=False)
    assert answer.code == 0
    assert set(answer.json) >= {"best_step", "validation", "test", "checkpoint"}
    assert answer.json["test"]["n_structures"] == 2
    again = ergodica("train", "train.toml", model=False)
    assert again.code == 2 and "--resume" in again.err
    tuned = ergodica(
        "finetune", "run/model.safetensors", "water.xyz", "--epochs", "1", "-o", "tuned", "--json", model=False
    )
    assert tuned.code == 0 and tuned.json["checkpoint"] == "tuned/model.safetensors"


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (("hidden = 8", "hiden = 8"), "hidden"),
        (("water.xyz@0:8", "nowhere.xyz"), "nowhere.xyz"),
        (("0.25", "0.0"), "validation"),
        (('train = ["water.xyz@0:8"]', ""), "[data] train"),
        (("[run]", "[run"), "TOML"),
    ],
)
def test_bad_configurations(ergodica, water, change, hint):
    (water / "train.toml").write_text(CONFIG.replace(*change))
    answer = ergodica("train", "train.toml", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err


@pytest.mark.slow
def test_the_seed_of_the_command_line_counts(ergodica, water):
    for seed in "12":
        assert ergodica("train", "train.toml", "--seed", seed, "-o", f"run{seed}", model=False).code == 0
    first, second = ((water / f"run{seed}" / "model.safetensors").read_bytes() for seed in "12")
    assert first != second


def test_unlabelled_data(ergodica, water):
    write(water / "water.xyz", [molecule("H2O")] * 10, format="extxyz")
    answer = ergodica("train", "train.toml", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and "energy" in answer.err


def test_finetune_without_data(ergodica):
    answer = ergodica("finetune", "{f}/tiny.safetensors", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err)


def test_splits_are_disjoint_and_complete(water, monkeypatch):
    monkeypatch.chdir(water)
    config = TrainConfig(data=DataOptions(train=("water.xyz",), validation_fraction=0.3))
    splits, test = read_splits(config)
    positions = [system.positions for part in (splits.train, splits.validation) for system in part]
    assert (len(splits.train), len(splits.validation), test) == (7, 3, [])
    assert len(np.unique(np.array(positions).reshape(10, -1), axis=0)) == 10
    with pytest.raises(InputError, match="leaves nothing"):
        read_splits(TrainConfig(data=DataOptions(train=("water.xyz",), validation_fraction=1.0)))
