"""Two teachers: the same up to an energy an element is agreement, everything else is not."""

from __future__ import annotations

import numpy as np
import pytest

from ergodica.datasets import Teacher, Tolerance, compare, label
from ergodica.errors import InputError
from ergodica.system import Labels, System
from ergodica.units import GPA

SPRINGS = "tests.helpers.teachers:Springs"


def clusters(count: int) -> list[System]:
    rng = np.random.default_rng(0)
    return [System(rng.choice([1, 6, 8], 6), rng.normal(size=(6, 3))) for _ in range(count)]


def answers(systems, **options):
    return [outcome.labels for outcome in label(systems, Teacher.named(SPRINGS, options))]


def test_reference_energies_do_not_matter():
    systems = clusters(12)
    first, second = answers(systems), answers(systems, shifts={"H": 3.0, "C": -150.0, "O": 70.0})
    found = compare(systems, first, second)
    assert found.agree.all()
    np.testing.assert_allclose(found.energy, 0, atol=1e-9)
    assert found.offsets == pytest.approx({"H": 3.0, "C": -150.0, "O": 70.0})


def test_forces_beyond_the_tolerance_are_left_out():
    systems = clusters(12)
    first, second = answers(systems), answers(systems, stiffness=1.3)
    largest = np.array([np.linalg.norm(s.positions, axis=1).max() for s in systems])
    strict = compare(systems, first, second, Tolerance(forces=0.3, energy=100.0, relative=0.0))
    np.testing.assert_allclose(strict.forces, 0.3 * largest)
    np.testing.assert_array_equal(strict.agree, 0.3 * largest <= 0.3)
    relative = compare(systems, first, second, Tolerance(forces=0.0, energy=100.0, relative=0.3 / 1.15 + 1e-9))
    assert relative.agree.all()


def test_one_wild_energy_does_not_spoil_the_fit_of_the_others():
    systems = clusters(30)
    first, second = answers(systems), answers(systems, shifts={"C": -150.0})
    second[7] = Labels(second[7].energy + 2.0, second[7].forces)
    found = compare(systems, first, second)
    assert not found.agree[7] and found.agree.sum() == 29
    assert found.energy[7] == pytest.approx(2.0 / 6)


def test_stress_counts_where_there_is_one():
    system = System(np.array([29]), np.zeros((1, 3)), np.eye(3) * 2.5, np.ones(3, bool))
    one = Labels(-3.0, np.zeros((1, 3)), np.eye(3) * 10 * GPA)
    other = Labels(-3.0, np.zeros((1, 3)), np.eye(3) * 14 * GPA)
    found = compare([system], [one], [other], Tolerance(stress=2.0, relative=0.0))
    assert found.stress[0] == pytest.approx(4 * np.sqrt(3)) and not found.agree[0]
    assert compare([system], [one], [other], Tolerance(stress=2.0, relative=0.5)).agree[0]
    assert compare([system], [one], [Labels(-3.0, np.zeros((1, 3)))]).agree[0], "nothing to compare with"


def test_a_teacher_that_failed_agrees_with_nobody():
    systems = clusters(3)
    first = answers(systems)
    found = compare(systems, first, [None, *first[1:]])
    assert found.agree.tolist() == [False, True, True] and np.isnan(found.forces[0])
    assert not compare(systems, [None] * 3, first).agree.any()


def test_tolerances_are_not_negative():
    with pytest.raises(InputError, match="forces"):
        Tolerance(forces=-1.0)
