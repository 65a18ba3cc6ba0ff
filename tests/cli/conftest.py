"""A tiny random model and a molecule on disk, and a way to call the command in process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ase.build import bulk, molecule
from ase.io import write

from ergodica.cli import main
from ergodica.potentials import EnergyScale, Info, Potential, ViSNetConfig
from ergodica.potentials.modelfile import save_model


class Answer(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """A folder with tiny.safetensors, ethanol.xyz and silicon.xyz."""
    folder = tmp_path_factory.mktemp("files")
    config = ViSNetConfig(hidden=16, layers=2, heads=4, num_rbf=8)
    potential = Potential.create(config, energy_scale=EnergyScale(scale=0.1), info=Info(name="tiny"))
    save_model(folder / "tiny.safetensors", potential)
    write(folder / "ethanol.xyz", molecule("CH3CH2OH"), format="extxyz")
    silicon = bulk("Si", cubic=True)
    silicon.rattle(0.05, seed=1)
    write(folder / "silicon.xyz", silicon, format="extxyz")
    return folder


@pytest.fixture
def ergodica(files, capsys, monkeypatch, tmp_path):
    """Call the command with the tiny model, in an empty folder; "{f}" stands for the folder of files."""
    monkeypatch.setenv("ERGODICA_CACHE", str(files / "cache"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, model: bool = True) -> Answer:
        words = [str(argument).replace("{f}", str(files)) for argument in arguments]
        capsys.readouterr()
        code = main([*words, *(["-m", str(files / "tiny.safetensors")] if model else [])])
        return Answer(code, *capsys.readouterr())

    return call


def is_one_sentence(text: str) -> bool:
    """One line from the program itself, no traceback."""
    return text.startswith("ergodica: ") and text.count("\n") == 1 and "Traceback" not in text


def stopped(work: Callable[..., Iterator[Any]], count: int) -> Callable[..., Iterator[Any]]:
    """The same generator, stopped by Ctrl-C after so many results."""

    def some(*arguments: Any, **options: Any) -> Iterator[Any]:
        yield from islice(work(*arguments, **options), count)
        raise KeyboardInterrupt

    return some
