"""Bad input of every kind: the right exit code and exactly one sentence on stderr."""

from __future__ import annotations

import errno
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ergodica.checkpoint import load_tree, save_tree
from tests.cli.conftest import is_one_sentence

LATTICE = 'Lattice="{}" Properties=species:S:1:pos:R:3'

STRUCTURES = {
    "empty": ("", "empty"),
    "truncated": ("9\nProperties=species:S:1:pos:R:3\nC 0 0 0\nC 0 0 1.5\n", "damaged"),
    "unknown element": ("1\nProperties=species:S:1:pos:R:3\nQq 0 0 0\n", "Qq"),
    "dummy atom": ("1\nProperties=species:S:1:pos:R:3\nX 0 0 0\n", "unknown element"),
    "not a number": ("2\nProperties=species:S:1:pos:R:3\nC 0 0 0\nC 0 nan 1\n", "not a finite number"),
    "two atoms on one place": ("2\nProperties=species:S:1:pos:R:3\nC 0 0 0\nC 0 0 0\n", ""),
    "flat cell": (f"1\n{LATTICE.format('4 0 0 0 4 0 4 4 0')}\nC 0 0 0\n", "zero volume"),
    "binary": ("\x00\x01\x02", ""),
}


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("verb", ["predict", "relax", "md"])
def test_bad_structures(ergodica, tmp_path, verb, kind):
    content, hint = STRUCTURES[kind]
    (tmp_path / "bad.xyz").write_text(content)
    answer = ergodica(verb, "bad.xyz", "--json")
    assert answer.code == 2 and answer.out == ""
    assert is_one_sentence(answer.err) and hint in answer.err


@pytest.mark.parametrize("verb", ["predict", "evaluate", "relax", "md"])
def test_missing_structure_file(ergodica, verb):
    answer = ergodica(verb, "nowhere.xyz")
    assert answer.code == 2 and is_one_sentence(answer.err) and "nowhere.xyz" in answer.err


@pytest.mark.parametrize("verb", ["predict", "evaluate", "relax"])
def test_no_file_at_all(ergodica, verb):
    answer = ergodica(verb)
    assert answer.code == 2 and is_one_sentence(answer.err)


def _truncated(path: Path, whole: bytes) -> None:
    path.write_bytes(whole[: len(whole) // 2])


def _foreign(path: Path, whole: bytes) -> None:
    save_file({"x": np.zeros(3)}, path)


def _text(path: Path, whole: bytes) -> None:
    path.write_text("hello")


def _newer(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    tree, header = load_tree(path)
    save_tree(path, tree, {**header, "version": 99})


def _unknown_kind(path: Path, whole: bytes) -> None:
    path.write_bytes(whole)
    tree, header = load_tree(path)
    save_tree(path, tree, {**header, "kind": "oracle"})


MODELS = {"truncated": _truncated, "foreign": _foreign, "text": _text, "newer": _newer, "unknown kind": _unknown_kind}


@pytest.mark.parametrize("kind", MODELS)
def test_bad_models(ergodica, files, tmp_path, kind):
    path = tmp_path / "bad.safetensors"
    MODELS[kind](path, (files / "tiny.safetensors").read_bytes())
    answer = ergodica("predict", "{f}/ethanol.xyz", "-m", path, model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and "bad.safetensors" in answer.err


@pytest.mark.parametrize("name", ["no-such-model", "nowhere.safetensors"])
def test_missing_model(ergodica, name):
    answer = ergodica("predict", "{f}/ethanol.xyz", "-m", name, model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and name in answer.err


class Malicious:
    def __reduce__(self):
        return (os.system, ("touch owned",))


def test_a_malicious_checkpoint_is_refused_and_not_run(ergodica, tmp_path):
    with zipfile.ZipFile("evil.pt", "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps({"state_dict": Malicious()}, protocol=2))
    answer = ergodica("models", "import", "evil.pt", "-o", "out.safetensors", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err)
    assert not (tmp_path / "owned").exists() and not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("kwargs", ["{", "[1]", '"text"'])
def test_import_with_bad_kwargs(ergodica, tmp_path, kwargs):
    (tmp_path / "a.pt").write_bytes(b"")
    answer = ergodica("models", "import", "a.pt", "-o", "out.safetensors", "--kwargs", kwargs, model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and "--kwargs" in answer.err


def test_import_needs_an_output(ergodica):
    answer = ergodica("models", "import", "a.pt", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and "-o" in answer.err


def test_full_disk_leaves_the_old_file(ergodica, tmp_path, monkeypatch):
    (tmp_path / "out.xyz").write_text("old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    answer = ergodica("predict", "{f}/ethanol.xyz", "-o", "out.xyz", "--overwrite", "--quiet")
    assert answer.code == 1 and is_one_sentence(answer.err) and "No space left" in answer.err
    assert (tmp_path / "out.xyz").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.xyz"]


@pytest.mark.slow
def test_full_disk_during_dynamics(ergodica, monkeypatch):
    from ase.io.trajectory import TrajectoryWriter

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(TrajectoryWriter, "write", full)
    answer = ergodica("md", "{f}/ethanol.xyz", "--steps", "2", "--quiet")
    assert answer.code == 1 and is_one_sentence(answer.err) and "No space left" in answer.err


def test_unwritable_output(ergodica, tmp_path):
    answer = ergodica("predict", "{f}/ethanol.xyz", "-o", tmp_path)
    assert answer.code == 2 and is_one_sentence(answer.err) and "folder" in answer.err


@pytest.mark.parametrize("verb", ["predict", "relax", "select", "dft minimize", "dft ks", "neb"])
def test_structures_of_no_known_format_are_refused_before_anything_is_read(ergodica, verb):
    answer = ergodica(*verb.split(), "nowhere.xyz", "-o", "out.nonsense", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and "ends in .xyz or .cif" in answer.err


@pytest.mark.parametrize("verb", ["evaluate", "dft scan --dihedral 0 1 2 3 -f vw", "analyze"])
def test_pictures_of_no_known_format_are_refused_before_anything_is_read(ergodica, verb):
    answer = ergodica(*verb.split(), "nowhere.xyz", "-o", "out.nonsense", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and ".png, .pdf or .svg" in answer.err


def test_element_the_model_does_not_know(ergodica, files, tmp_path):
    tree, header = load_tree(files / "tiny.safetensors")
    save_tree(
        tmp_path / "organic.safetensors", tree, {**header, "info": {**header["info"], "elements": ["H", "C", "O"]}}
    )
    answer = ergodica("predict", "{f}/silicon.xyz", "-m", "organic.safetensors", model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and "Si" in answer.err


def test_json_stays_empty_on_failure(ergodica):
    answer = ergodica("predict", "nowhere.xyz", "--json")
    with pytest.raises(json.JSONDecodeError):
        json.loads(answer.out)
