"""Whole runs on a toy set, and what they leave behind."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from ergodica.errors import InputError
from ergodica.potentials.modelfile import load_model, save_model
from ergodica.potentials.potential import EnergyScale, Info, Potential
from ergodica.prediction import predict
from ergodica.system import Labels, System
from ergodica.training import Splits, finetune, train
from ergodica.training.finetune import level_of_theory
from ergodica.training.options import LossOptions, OptimizerOptions, RunOptions, StartOptions, parse_config
from ergodica.training.splits import hold_out
from ergodica.training.task import PotentialTask
from tests.training.conftest import MODEL, OFFSETS, config, splits, toy


def lines(folder, kind):
    """Entries of the metrics file."""
    entries = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [entry for entry in entries if entry["kind"] == kind]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run of 40 epochs."""
    folder = tmp_path_factory.mktemp("runs") / "learned"
    return folder, train(config(folder, epochs=40, validate_every=5), splits())


def test_learns(learned):
    folder, result = learned
    losses = [entry["loss"] for entry in lines(folder, "train")]
    assert np.mean(losses[-4:]) < 0.3 * np.mean(losses[:4])
    assert result.steps == 3 * 40 and 0 < result.best_step <= 120
    assert len(lines(folder, "validation")) == 8


def test_leaves_behind(learned):
    folder, result = learned
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    card = load_model(result.checkpoint).info
    assert card.elements == ("H", "C")
    assert card.errors["validation_forces_mae_eV_per_A"] == result.validation["forces_mae_eV_per_A"]


def test_reported_errors_are_those_of_the_model(learned):
    data = splits().validation
    found = predict(learned[1].potential, data)
    mae = np.mean([np.abs(p.forces - s.labels.forces).mean() for p, s in zip(found, data, strict=True)])
    assert mae == pytest.approx(learned[1].validation["forces_mae_eV_per_A"], rel=1e-4)
    energy = np.mean([abs(p.energy - s.labels.energy) for p, s in zip(found, data, strict=True)])
    assert energy == pytest.approx(learned[1].validation["energy_mae_eV"], rel=1e-3)


@pytest.mark.slow
def test_plateau_and_early_end(tmp_path):
    start = config(tmp_path, epochs=20, patience=3)
    frozen = replace(start.optimizer, learning_rate=1e-30, min_learning_rate=0.0, plateau_patience=1)
    result = train(replace(start, optimizer=frozen), splits())
    assert result.steps == 3 * 4 and result.best_step == 3
    rates = [entry["learning_rate"] / 1e-30 for entry in lines(tmp_path, "train")]
    assert rates == pytest.approx([1, 1, 1, 1, 0.8, 0.8, 0.64, 0.64], rel=1e-5)


def test_finetune(learned, tmp_path):
    shift = {"H": -3.0, "C": 7.0}
    offsets = {symbol: OFFSETS[symbol] + shift[symbol] for symbol in shift}
    result = finetune(
        learned[1].checkpoint,
        toy(8, offsets=offsets)[:6],
        validation=toy(8, offsets=offsets)[6:],
        replay=toy(4, seed=1, offsets=offsets),
        output=tmp_path / "tuned",
        freeze=("embedding",),
        epochs=2,
        batch_size=2,
        learning_rate=1e-5,
    )
    assert result.steps == 2 * 5  # six structures and half as many replayed, in pairs
    assert result.potential.info.level_of_theory == "unknown"  # nothing says that it is that of before
    old, new = learned[1].potential, result.potential
    change = {s: new.energy_scale.reference[s] - old.energy_scale.reference[s] for s in shift}
    assert change == pytest.approx(shift, abs=0.1)
    assert np.array_equal(
        old.params["params"]["embedding"]["embedding"], new.params["params"]["embedding"]["embedding"]
    )
    assert result.validation["energy_mae_eV"] < 2 * learned[1].validation["energy_mae_eV"] + 0.05
    with pytest.raises(InputError, match="holds a run already"):
        finetune(learned[1].checkpoint, toy(4), output=tmp_path / "tuned")


def test_replayed_data_of_another_level_keep_their_own_reference(learned, tmp_path):
    """Energies that nothing but the level of theory changes ask for nothing."""
    start = replace(config(tmp_path), start=StartOptions(model=str(learned[1].checkpoint)))
    offsets = {symbol: OFFSETS[symbol] - 50.0 for symbol in OFFSETS}
    task = PotentialTask(start, Splits(toy(6, offsets=offsets), toy(2, offsets=offsets), toy(6)))
    fresh, replayed = np.split(np.array([sample.energy for sample in task.loaders(1)[0].samples]), 2)
    np.testing.assert_allclose(replayed, fresh, atol=1e-3)


def test_the_card_says_the_level_of_theory_that_all_labels_say():
    told = [replace(one, labels=replace(one.labels, level_of_theory="SCAN")) for one in toy(2)]
    assert level_of_theory(told) == "SCAN"
    assert level_of_theory([*told, *toy(1)]) == level_of_theory(toy(1)) == "unknown"


@pytest.mark.parametrize(
    ("data", "loss", "hint"),
    [
        (Splits([], toy(1)), LossOptions(), "no training structures"),
        (Splits(toy(1), []), LossOptions(), "no validation structures"),
        (splits(), LossOptions(stress=1.0), "No training structure has stress"),
        (Splits([s.with_labels(Labels(forces=s.labels.forces)) for s in toy(2)], toy(1)), LossOptions(), "has energy"),
    ],
)
def test_unusable_data(tmp_path, data, loss, hint):
    with pytest.raises(InputError, match=hint):
        train(config(tmp_path / "run", loss), data)
    assert not (tmp_path / "run").exists()


def test_what_the_best_step_is_chosen_by_must_have_been_learnt(tmp_path):
    strange = [System([79], np.zeros((1, 3)), labels=Labels(energy=1.0, forces=np.zeros((1, 3))), name="gold")]
    with pytest.raises(InputError, match="gold, to validate with, holds Au, which nothing trains"):
        train(config(tmp_path / "run"), Splits(toy(2), strange))


def test_a_classical_potential_has_nothing_to_learn(tmp_path):
    with pytest.raises(InputError, match="no parameters: there is nothing to train"):
        finetune("emt", toy(4), output=tmp_path / "run", validation=toy(1), epochs=1)


def test_more_devices_than_there_are(tmp_path):
    with pytest.raises(InputError, match="99 devices"):
        train(config(tmp_path, devices=99), splits())


def test_averaging_models_are_not_finetuned(tmp_path):
    save_model(tmp_path / "mean.safetensors", Potential.create(MODEL, energy_scale=EnergyScale(reduce="mean")))
    with pytest.raises(InputError, match="averages"):
        finetune(tmp_path / "mean.safetensors", toy(4), output=tmp_path / "run")


def test_unknown_parameter_to_freeze(tmp_path):
    save_model(tmp_path / "start.safetensors", Potential.create(MODEL, info=Info(name="start")))
    with pytest.raises(InputError, match="'embeding' fits no parameter"):
        finetune(tmp_path / "start.safetensors", toy(4), output=tmp_path / "run", freeze=("embeding",))


@pytest.mark.parametrize(
    ("table", "hint"),
    [
        ({"run": {"epoch": 3}}, "did you mean 'epochs'"),
        ({"rum": {}}, "unknown table 'rum'"),
        ({"run": 3}, "must be a table"),
        ({"model": {"kind": "visnot"}}, "visnot"),
        ({"run": {"batch_size": 0}}, "batch_size must be at least 1"),
        ({"loss": {"energy": 0.0, "forces": 0.0}}, "must not all be 0"),
        ({"loss": {"forces_delta": 0.0}}, "forces_delta must be positive"),
        ({"optimizer": {"ema": 1.0}}, "ema must be"),
        ({"model": "visnet"}, "must be a table"),
        ({"data": {"train": "cu.xyz"}}, "is not a list"),
        ({"data": {"shuffle_split": "false"}}, "is not true or false"),
        ({"run": {"epochs": 1.9}}, "is not a whole number"),
        ({"run": {"epochs": True}}, "is not a whole number"),
        ({"optimizer": {"clip": "1"}}, "is not a number"),
        ({"loss": {"kind": "rmse"}}, "is not one of"),
    ],
)
def test_bad_options(table, hint):
    with pytest.raises(InputError, match=hint):
        parse_config(table, "train.toml")


def test_good_options():
    found = parse_config({"run": {"epochs": 7}, "start": {"freeze": ["a"]}, "output": "x"}, "train.toml")
    assert found.run == RunOptions(epochs=7) and found.optimizer == OptimizerOptions()
    assert found.start == StartOptions(freeze=("a",)) and found.output == "x"


def test_hold_out():
    systems = toy(5)
    kept, aside = hold_out(systems, 0.01, False, 0)
    assert kept == systems[:4] and aside == systems[4:]
    for fraction in (0.0, 1.0):
        with pytest.raises(InputError, match="leaves nothing"):
            hold_out(systems, fraction, True, 0)
