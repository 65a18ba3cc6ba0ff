"""The command as a whole: help, version, welcome, exit codes, streams."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ergodica as package
from ergodica.cli import VERBS, failures, main
from ergodica.cli.output import plain
from ergodica.errors import WorkFailed
from tests.cli.conftest import is_one_sentence


def test_no_arguments_shows_what_a_newcomer_does_first(ergodica):
    answer = ergodica(model=False)
    assert answer.code == 0
    for verb in ("doctor", "models", "predict", "relax", "md"):
        assert f"ergodica {verb}" in answer.out


def test_version(ergodica):
    assert ergodica("--version", model=False).out.strip() == package.__version__


STARTS = """
import sys
from ergodica.cli import main, session
def start(device):
    print(" ".join(verb), "jax" in sys.modules)
    raise KeyboardInterrupt
session.start_jax = start
for line in sys.argv[1:]:
    verb = line.split()
    main(verb)
"""


def test_jax_is_imported_when_its_settings_are_made_and_not_before(tmp_path):
    """Else the device can't be chosen any more, and XLA says of every program in the cache that it may not run."""
    verbs = [
        "predict a.xyz -o b.xyz", "relax a.xyz -o b.xyz", "neb a.xyz b.xyz -o path.png", "md a.xyz", "evaluate a.xyz",
        "select a.xyz -m x", "label a.xyz --teacher emt", "phonons a.xyz", "eos a.xyz", "sample CCO", "train a.toml",
        "dft minimize a.xyz -o b.xyz", "dft scan a.xyz --dihedral 0 1 2 3 -f vw -o a.pdf", "density a.xyz", "doctor",
        "generate --elements Al Cu", "path a.xyz b.xyz -m x", "calibrate a.xyz -m x -o y", "finetune x a.xyz", "check",
        "elastic a.xyz", "quasiharmonic a.xyz", "phase-diagram a.xyz b.xyz", "active a.toml", "dft ks a.xyz",
        "data-efficiency x a.xyz --test b.xyz", "dft labels a.xyz -o a.h5", "dft evaluate a.h5 -f x",
    ]  # fmt: skip
    command = [sys.executable, "-c", STARTS, *verbs]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines() == [f"{verb} False" for verb in verbs], done.stderr


@pytest.mark.parametrize(
    "verb",
    [
        [], ["predict"], ["md"], ["train"], ["finetune"], ["ensemble"], ["calibrate"], ["active"], ["models"],
        ["models", "import"], ["check"], ["doctor"], ["phonons"], ["dft", "minimize"],
    ],
)  # fmt: skip
def test_help_imports_nothing_heavy(verb):
    code = (
        "import sys; from ergodica.cli import main; c = main(sys.argv[1:]); print('MODULES', *sys.modules); sys.exit(c)"
    )
    done = subprocess.run([sys.executable, "-c", code, *verb, "--help"], capture_output=True, text=True, check=True)
    help_text, _, modules = done.stdout.partition("MODULES")
    assert not {"jax", "numpy", "ase", "flax", "matplotlib"} & set(modules.split())
    assert help_text.startswith("Example: ")


def test_every_verb_has_an_example(ergodica):
    for line, example in VERBS.values():
        assert line.endswith(".") and "ergodica " in example


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["predict", "a.xyz", "--modle", "x"], "--model"),
        (["predct", "a.xyz"], "predict"),
        (["predict", "a.xyz", "--device", "cpp"], "cpu"),
        (["md", "a.xyz", "--steps", "many"], "--steps"),
        (["md"], "FILE"),
        (["models", "shwo"], "show"),
    ],
)
def test_wrong_usage_is_one_line_with_a_hint(ergodica, arguments, hint):
    answer = ergodica(*arguments, model=False)
    assert answer.code == 2 and not answer.out
    assert is_one_sentence(answer.err) and hint in answer.err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (WorkFailed("No luck."), 1, "No luck."),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (RuntimeError("RESOURCE_EXHAUSTED: out of memory"), 1, "Out of memory"),
        (OSError(28, "No space left on device", "x.json"), 1, "No space left"),
        (ZeroDivisionError("division by zero"), 1, "ERGODICA_DEBUG=1"),
    ],
)
def test_every_failure_is_a_sentence_and_a_code(capsys, monkeypatch, error, code, text):
    monkeypatch.delenv("ERGODICA_DEBUG", raising=False)

    def work():
        raise error

    assert failures.exit_code_of(work) == code
    err = capsys.readouterr().err
    assert is_one_sentence(err) and text in err


def test_interrupt_inside_a_verb_gets_its_sentence(ergodica, monkeypatch):
    """The argument parser must not swallow it."""

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ergodica.potentials.load", interrupted)
    answer = ergodica("models", "show", "visnet-rmd17-ethanol", model=False)
    assert answer.code == 130 and is_one_sentence(answer.err) and "Interrupted" in answer.err


def test_debug_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("ERGODICA_DEBUG", "1")
    assert failures.exit_code_of(lambda: 1 // 0) == 1
    assert "Traceback" in capsys.readouterr().err


def test_broken_pipe_is_quiet(capsys, monkeypatch):
    monkeypatch.setattr(failures, "_silence_stdout", lambda: None)

    def work():
        raise BrokenPipeError

    assert failures.exit_code_of(work) == 141
    assert capsys.readouterr() == ("", "")


def test_program_in_a_shell(files):
    """Once as a user has it: exit code, JSON alone on stdout, stdin, a reader that leaves early."""
    source = str(Path(package.__file__).parents[1])
    environment = {**os.environ, "ERGODICA_CACHE": str(files / "cache"), "PYTHONPATH": source}
    call = f"{sys.executable} -c 'import sys; from ergodica.cli import main; sys.exit(main())'"
    command = (
        f"cat ethanol.xyz | {call} predict - -m tiny.safetensors --json --quiet | head -c 20; exit ${{PIPESTATUS[1]}}"
    )
    done = subprocess.run(
        ["bash", "-c", command], cwd=files, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith('[{"file": "-"') and done.stderr == ""
    assert done.returncode in (0, 141)


def test_absent_device(ergodica):
    answer = ergodica("predict", "{f}/ethanol.xyz", "--device", "tpu")
    assert answer.code == 2 and is_one_sentence(answer.err) and "tpu" in answer.err
    assert "tpu" not in os.environ.get("JAX_PLATFORMS", "")  # what comes next, in this process or below it, may run
    assert ergodica("predict", "{f}/ethanol.xyz", "--json").code == 0


def test_plain_makes_json_of_everything():
    np = pytest.importorskip("numpy")
    value = {"a": np.array([1.0, np.nan]), "b": (np.float32(2), None, True), 3: float("inf")}
    assert plain(value) == {"a": [1.0, None], "b": [2.0, None, True], "3": None}


def test_main_returns_codes_rather_than_leaving(ergodica):
    assert main(["--help"]) == 0
    assert re.search("Usage", ergodica("predict", "--help", model=False).out)
