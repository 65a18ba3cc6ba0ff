"""A run in pieces is the run in a stretch, bit for bit, and no accident loses the last checkpoint."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from ergodica.checkpoint import load_tree
from ergodica.errors import InputError, WorkFailed
from ergodica.training import Splits, train
from tests.training.conftest import config, splits, toy

SCRIPT = """
import sys
from ergodica.training import train
from tests.training.conftest import config, splits
train(config(sys.argv[1], checkpoint_minutes=0.0), splits())
"""


def state(folder):
    """Everything a checkpoint holds, by name."""
    tree, header = load_tree(folder / "checkpoint.safetensors")
    leaves = {}

    def walk(node, name):
        for key, value in node.items():
            walk(value, f"{name}/{key}") if isinstance(value, dict) else leaves.update({f"{name}/{key}": value})

    walk(tree, "")
    return leaves, {key: value for key, value in header["progress"].items() if key != "seconds"}


def assert_same(one, other):
    """Equal to the last bit, progress and model file included."""
    (left, progress), (right, same) = state(one), state(other)
    assert progress == same and left.keys() == right.keys()
    assert all(np.array_equal(left[name], right[name]) for name in left)
    models = [load_tree(folder / "model.safetensors")[0] for folder in (one, other)]
    assert str(models[0]) == str(models[1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run in one stretch."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    train(config(folder), splits())
    return folder


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """A run stopped by Ctrl-C in the middle of its second epoch."""
    folder = tmp_path_factory.mktemp("runs") / "broken"

    def report(numbers):
        if numbers["epoch"] == 1 and "loss" in numbers:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(config(folder), splits(), report=report)
    assert (state(folder)[1]["epoch"], state(folder)[1]["chunk"]) == (1, 1)
    return folder


@pytest.mark.parametrize(
    ("change", "data", "hint"),
    [
        (lambda c: replace(c, loss=replace(c.loss, forces=2.0)), splits(), "loss"),
        (lambda c: replace(c, run=replace(c.run, seed=1)), splits(), "run"),
        (lambda c: c, Splits(toy(7)[1:], toy(8)[6:]), "other structures"),
    ],
)
def test_another_configuration_or_data(broken, change, data, hint):
    with pytest.raises(InputError, match=hint):
        train(change(config(broken)), data, resume=True)


def test_a_run_is_not_overwritten(broken, whole):
    for folder in (broken, whole):
        with pytest.raises(InputError, match="holds a run already"):
            train(config(folder), splits())


def test_truncated_checkpoint(broken, tmp_path):
    content = (broken / "checkpoint.safetensors").read_bytes()
    (tmp_path / "checkpoint.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="not a complete"):
        train(config(tmp_path), splits(), resume=True)


def test_resumed_equals_uninterrupted(broken, whole):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    train(config(broken), splits(), resume=True)
    assert_same(broken, whole)
    assert len((broken / "metrics.jsonl").read_text().splitlines()) == 3 * 2 + 3
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_disk_full(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def report(numbers):
        if numbers["epoch"] == 1:
            monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(WorkFailed, match="No space left"):
        train(config(tmp_path, checkpoint_minutes=0.0), splits(), report=report)
    assert state(tmp_path)[1]["epoch"] == 0


@pytest.mark.slow
def test_killed(tmp_path, whole, cache):
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": os.pathsep.join(["src", ".", *sys.path]),
    }
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], env=environment) as process:
        while not (folder / "checkpoint.safetensors").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0.0, 0.5))
        process.kill()
    assert state(folder)[1]["step"] >= 1
    train(config(folder), splits(), resume=True)
    assert_same(folder, whole)
