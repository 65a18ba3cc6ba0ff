"""The package as a newcomer meets it: cheap to import, honest about what is missing."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ergodica
from ergodica._extras import require
from ergodica.errors import ErgodicaError, InputError, WorkFailed


def test_import_loads_nothing_heavy():
    code = "import sys, ergodica; dir(ergodica); ergodica.__version__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ergodica" in done.stdout.split()
    assert not {"jax", "numpy", "ase", "flax", "importlib.metadata"} & set(done.stdout.split())


@pytest.mark.parametrize("name", ergodica.__all__)
def test_public_names_exist(name):
    assert name in dir(ergodica)
    assert getattr(ergodica, name) is getattr(ergodica, name)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        ergodica.lode


def test_errors_are_what_python_expects():
    assert issubclass(InputError, ErgodicaError) and issubclass(InputError, ValueError)
    assert issubclass(WorkFailed, ErgodicaError) and issubclass(WorkFailed, RuntimeError)


def test_require_imports_what_is_there():
    assert require("os.path", "dft").join("a", "b")


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.part"])
def test_require_names_the_command_that_helps(module):
    with pytest.raises(InputError, match=r"needs no_such_package: pip install 'ergodica\[phonons\]'"):
        require(module, "phonons")


def test_require_passes_on_a_broken_installation(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import missing_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="missing_dependency"):
        require("broken_package", "dft")
