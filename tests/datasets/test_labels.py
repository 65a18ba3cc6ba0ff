"""Labelling: right answers, in order, each computed once whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from ergodica.datasets import TEACHERS, Teacher, label
from ergodica.errors import InputError
from ergodica.potentials import Info, load
from ergodica.potentials.modelfile import save_model
from ergodica.prediction import predict
from ergodica.system import System
from tests.helpers.small import small_potential
from tests.helpers.teachers import Springs

SPRINGS, DEADLY = "tests.helpers.teachers:Springs", "tests.helpers.teachers:Deadly"


def chain(count: int, symbol: str = "Cu") -> list[System]:
    """Clusters of one element, all different."""
    rng = np.random.default_rng(0)
    pair, number = np.array([[0.0], [5.0]]), 29 if symbol == "Cu" else 79
    return [System(np.full(2, number), rng.normal(size=(2, 3)) + pair) for _ in range(count)]


def test_labels_are_those_of_the_calculator_with_its_name():
    copper = bulk("Cu", cubic=True)
    copper.rattle(0.1, seed=0)
    (found,) = label(copper, Teacher.named("emt"))
    copper.calc = EMT()
    assert found.labels is not None and found.labels.stress is not None
    assert found.labels.energy == pytest.approx(copper.get_potential_energy())
    np.testing.assert_allclose(found.labels.forces, copper.get_forces())
    np.testing.assert_allclose(found.labels.stress, copper.get_stress(voigt=False))
    assert found.labels.teacher.startswith("emt 3.") and found.labels.level_of_theory == "effective medium theory"


class Counted(Calculator):
    """The energy is the charge it is told of, by ASE's two ways."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=(), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        told = atoms.info["charge"] if atoms.info.get("charge") else 0.0
        assert told == pytest.approx(atoms.get_initial_charges().sum())
        self.results = {"energy": told, "forces": np.ones((len(atoms), 3))}


def test_charges_reach_the_teacher_and_fixed_atoms_have_forces():
    """Of the same nuclei: calculators remember the last structure, and don't look for charges in its info."""
    nuclei = System(np.array([8, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.97]]))
    ions = [replace(nuclei, charge=charge) for charge in (0.0, -1.0, 1.0)]
    assert [one.labels.energy for one in label(ions, Counted)] == pytest.approx([0.0, -1.0, 1.0])
    (held,) = label(replace(nuclei, fixed=np.array([True, False])), Counted)
    np.testing.assert_array_equal(held.labels.forces, 1.0)


def test_failures_are_told_and_stop_nothing():
    found = label([molecule("H2O"), bulk("Fe"), molecule("CH4")], Springs)
    assert [outcome.labels is None for outcome in found] == [False, True, False]
    assert found[1].error == "NotImplementedError: No iron, please."


def test_an_answer_that_is_not_finite_is_a_failure():
    (found,) = label(molecule("H2O"), partial(Springs, shifts={"O": np.nan}))
    assert found.labels is None and "finite" in found.error


@pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(3)])
def test_order_is_kept_and_equal_structures_are_computed_once(tmp_path, executor):
    systems = chain(5)
    log = tmp_path / "log"
    teacher = Teacher.named(SPRINGS, {"log": str(log)})
    found = label([*systems, *systems[::-1]], teacher, executor=executor)
    energies = [outcome.labels.energy for outcome in found]
    assert energies == energies[::-1] and len(set(energies)) == 5
    assert len(log.read_text().splitlines()) == 5


def test_a_journal_is_not_computed_again_but_failures_are_on_request(tmp_path):
    log, journal = tmp_path / "log", tmp_path / "j.jsonl"
    teacher = Teacher.named(SPRINGS, {"log": str(log)})
    structures = [molecule("H2O"), bulk("Fe")]
    first = label(structures, teacher, journal=journal)
    again = label(structures, teacher, journal=journal)
    assert len(log.read_text().splitlines()) == 2
    assert again[0].labels.energy == first[0].labels.energy and again[1].error == first[1].error
    np.testing.assert_array_equal(again[0].labels.forces, first[0].labels.forces)
    label(structures, teacher, journal=journal, retry=True)
    assert log.read_text().splitlines() == ["H2O", "Fe", "Fe"]
    with pytest.raises(InputError, match="another teacher"):
        label(structures, Teacher.named(SPRINGS, {"stiffness": 2.0}), journal=journal)


SCRIPT = """
import sys
from ergodica.datasets import Teacher, label
from tests.datasets.test_labels import SPRINGS, chain
label(chain(200), Teacher.named(SPRINGS, {"log": sys.argv[1], "pause": 0.02}), journal=sys.argv[2], workers=0)
"""


def test_kill_minus_nine_loses_nothing_that_was_finished(tmp_path):
    log, journal = tmp_path / "log", tmp_path / "j.jsonl"
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "src"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(log), str(journal)], env={**os.environ, "PYTHONPATH": paths}
    )
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        if journal.exists() and journal.read_text().count("\n") > 5:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = [line for line in journal.read_text().splitlines()[1:] if line.endswith("}")]
    computed = len(log.read_text().splitlines())
    assert 5 <= len(finished) < 200 and computed - len(finished) <= 1
    with journal.open("a") as file:
        file.write('{"key": "torn')
    found = label(chain(200), Teacher.named(SPRINGS, {"log": str(log), "pause": 0.02}), journal=journal)
    assert all(outcome.labels for outcome in found)
    assert len(log.read_text().splitlines()) == 200 + computed - len(finished)
    expected = label(chain(200), Springs)
    assert [o.labels.energy for o in found] == [o.labels.energy for o in expected]


@pytest.mark.slow
def test_a_structure_that_kills_its_process_is_found_and_left_out():
    systems = [*chain(2), *chain(1, "Au"), *chain(4)[2:]]
    found = label(systems, Teacher.named(DEADLY), workers=1)
    assert [outcome.labels is None for outcome in found] == [False, False, True, False, False]
    assert "process died" in found[2].error


def test_a_model_of_ergodica_is_a_teacher(tmp_path):
    potential = small_potential()
    path = tmp_path / "small.safetensors"
    save_model(path, potential)
    structures = [bulk("Si"), bulk("Au")]
    found = label(structures, Teacher.named(str(path)))
    assert found[1].labels is None and "Au" in found[1].error
    (expected,) = predict(potential, structures[0])
    assert found[0].labels.energy == pytest.approx(expected.energy, abs=1e-5)
    np.testing.assert_allclose(found[0].labels.stress, expected.stress, atol=1e-6)


def test_a_classical_model_is_asked_with_its_keyword_arguments():
    (first, *_) = systems = chain(2)
    teacher = Teacher.named("lj", {"sigma": 2.3, "epsilon": 0.4, "precision": "float64"})
    expected = predict(load("lj", sigma=2.3, epsilon=0.4), systems, precision="float64")
    found = label(systems, teacher)
    assert [one.labels.energy for one in found] == pytest.approx([one.energy for one in expected], abs=1e-9)
    assert predict(load("lj"), first)[0].energy != pytest.approx(expected[0].energy, rel=1e-2)
    atoms = first.to_ase()
    atoms.calc = teacher()
    assert atoms.get_potential_energy() == pytest.approx(expected[0].energy, abs=1e-9)
    for wrong in ({"model": "emt"}, {"nonsense": 3}):
        with pytest.raises(InputError):
            Teacher.named("lj", wrong)


class Spinning(Counted):
    """The energy is the spin."""

    def calculate(self, atoms=None, properties=(), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results["energy"] = atoms.info["spin"]


def test_structures_of_different_spin_are_different():
    (one,) = chain(1)
    found = label([replace(one, info={"spin": spin}) for spin in (0, 1)], Spinning)
    assert [outcome.labels.energy for outcome in found] == [0, 1]


def test_labels_of_a_model_file_that_changed_are_not_taken_for_its_own(tmp_path):
    path, journal = tmp_path / "model.safetensors", tmp_path / "labels.jsonl"
    for seed in (0, 1):
        save_model(path, replace(small_potential(seed=seed), info=Info(level_of_theory="PBE")))
        if seed == 0:
            label(bulk("Si"), Teacher.named(str(path)), journal=journal)
            assert Teacher.named(str(path)) == Teacher.named(str(path))
    with pytest.raises(InputError, match="labels of another teacher"):
        label(bulk("Si"), Teacher.named(str(path)), journal=journal)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpt", "no teacher 'gpt'"),
        ("no_such_package.calc:Calc", "can't be imported"),
        ("ase.calculators.emt:EMP", "has no 'EMP'"),
        ("missing.safetensors", "no model file"),
    ],
)
def test_unknown_teachers_are_told(name, hint):
    with pytest.raises(InputError, match=hint):
        Teacher.named(name)


@pytest.mark.parametrize("name", ["chgnet", "sevenn", "xtb", "pyscf"])
def test_a_missing_package_gives_the_command_that_installs_it(name, monkeypatch):
    package = {"xtb": "tblite", "pyscf": "pyscf"}.get(name, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match="pip install") as found:
        Teacher.named(name)() if name == "pyscf" else Teacher.named(name)
    assert "\n" not in str(found.value)


def test_wrong_keyword_arguments_are_told():
    (found,) = label(molecule("H2O"), Teacher.named(SPRINGS, {"stifness": 1.0}))
    assert "does not take" in found.error and "stifness" in found.error


def test_teachers_survive_the_way_to_another_process():
    teacher = Teacher.named("emt", {"asap_cutoff": True})
    assert hash(teacher) == hash(Teacher.named("emt", {"asap_cutoff": True}))
    assert json.loads(teacher.options) == {"asap_cutoff": True}
    assert set(TEACHERS) == {"chgnet", "sevenn", "xtb", "pyscf", "emt"}


def test_xtb_labels_water_near_its_minimum():
    pytest.importorskip("tblite")
    (found,) = label(molecule("H2O"), Teacher.named("xtb"))
    assert found.labels.energy == pytest.approx(-137.97, abs=0.1)
    assert np.linalg.norm(found.labels.forces, axis=1).max() < 1.5
    assert found.labels.level_of_theory == "GFN2-xTB"


@pytest.mark.slow
def test_pyscf_forces_are_the_slope_of_its_energy():
    pytest.importorskip("pyscf")
    water = molecule("H2O")
    moved = [water.copy(), water.copy()]
    moved[0].positions[1, 2] += 1e-3
    moved[1].positions[1, 2] -= 1e-3
    teacher = Teacher.named("pyscf", {"basis": "sto-3g", "xc": "lda,vwn"})
    middle, up, down = label([water, *moved], teacher)
    slope = (up.labels.energy - down.labels.energy) / 2e-3
    assert middle.labels.forces[1, 2] == pytest.approx(-slope, abs=0.02)  # the grid moves along
    (crystal,) = label(bulk("Cu"), teacher)
    assert "molecules" in crystal.error


WORKERS = """
import sys
from ergodica.datasets import Teacher, label
from tests.datasets.test_labels import SPRINGS, chain
if __name__ == "__main__":
    label(chain(200), Teacher.named(SPRINGS, {"log": sys.argv[1], "pause": 0.05}), workers=1)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's list of children")
@pytest.mark.slow
def test_workers_end_with_the_program_that_was_killed(tmp_path):
    log, script = tmp_path / "log", tmp_path / "run.py"
    script.write_text(WORKERS)
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "src"), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen([sys.executable, str(script), str(log)], env={**os.environ, "PYTHONPATH": paths})
    until = time.monotonic() + 60
    while process.poll() is None and not log.exists() and time.monotonic() < until:
        time.sleep(0.05)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(children) >= 2  # the worker, and Python's own resource tracker
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
