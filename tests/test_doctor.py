"""The doctor finds what is broken: a bad jax, wrong numbers, damaged weights, a folder that can't be written."""

from __future__ import annotations

import json

import jax.numpy as jnp
import pytest

from ergodica import doctor
from ergodica.cli import main
from ergodica.errors import InputError
from ergodica.report.checks import Check, Report


def test_this_machine_is_sound():
    assert doctor.compiler_check().passed, doctor.compiler_check().figure
    assert doctor.jax_check().passed
    assert doctor.devices_check().passed


def test_wrong_numbers_are_noticed(monkeypatch):
    def wrong(rows):
        return rows[:, 0] + (len(rows) > 20000) * (jnp.arange(len(rows)) == 17000)

    monkeypatch.setattr(doctor, "triclinic_distances", wrong)
    check = doctor.compiler_check()
    assert not check.passed
    assert "float64: 1 of 32773 rows wrong" in check.figure


def test_all_shipped_models_are_those_of_the_checksums():
    check = doctor.weights_check()
    assert check.passed, check.figure


@pytest.mark.parametrize("bad", doctor.BAD_JAX)
def test_broken_releases_are_named(monkeypatch, bad):
    monkeypatch.setattr(doctor, "version", lambda _: bad)
    check = doctor.jax_check()
    assert not check.passed and bad in check.advice


def test_weights_are_compared_with_their_checksums(tmp_path):
    with pytest.raises(InputError, match="no model file"):
        doctor.write_checksums(tmp_path)
    assert doctor.weights_check(tmp_path).passed
    (tmp_path / "a.safetensors").write_bytes(b"weights")
    assert "a.safetensors has no checksum" in doctor.weights_check(tmp_path).figure
    sums = doctor.write_checksums(tmp_path).read_text()
    assert sums.endswith("  a.safetensors\n") and len(sums.split()[0]) == 64
    assert doctor.weights_check(tmp_path).passed
    (tmp_path / "a.safetensors").write_bytes(b"weightz")
    assert "a.safetensors differs" in doctor.weights_check(tmp_path).figure
    (tmp_path / "a.safetensors").unlink()
    assert "a.safetensors is missing" in doctor.weights_check(tmp_path).figure


def test_cache_that_cannot_be_written_is_a_warning(tmp_path):
    assert doctor.cache_check(tmp_path / "new").passed
    (tmp_path / "file").touch()
    check = doctor.cache_check(tmp_path / "file" / "below")
    assert not check.passed and not check.required
    assert Report((check,)).passed


def test_command(monkeypatch, capsys):
    good = Check("jax version", True, "jax 1")
    monkeypatch.setattr(doctor, "examine", lambda cache: Report((good,)))
    assert main(["doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["passed"] and answer["checks"][0]["name"] == "jax version"
    bad = Check("compiler", False, "1 row wrong", "Install another jax.")
    monkeypatch.setattr(doctor, "examine", lambda cache: Report((good, bad)))
    assert main(["doctor", "--json"]) == 1
    captured = capsys.readouterr()
    assert not json.loads(captured.out)["passed"] and "Install another jax." in captured.err
