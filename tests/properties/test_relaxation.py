"""One way to evaluate, and many structures relaxed side by side."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator as ASECalculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from ergodica import Calculator, load, predict
from ergodica.errors import InputError, WorkFailed
from ergodica.prediction import compilations
from ergodica.properties.evaluation import evaluator
from ergodica.properties.relaxation import STRESS_PER_FORCE, relax_together
from ergodica.system import as_system
from tests.properties.fakes import Volumetric


def crystals():
    rattled = bulk("Cu", cubic=True) * (2, 1, 1)
    rattled.rattle(0.1, seed=3)
    return [as_system(atoms) for atoms in (bulk("Cu", a=3.7), rattled, bulk("Au", "hcp", a=2.8, c=5.0))]


def test_potential_and_calculator_are_asked_alike():
    structures = crystals()
    batched = evaluator(load("emt"))(structures)
    unwrapped = evaluator(Calculator(load("emt")))(structures)
    single = evaluator(EMT())(structures)
    for one, same, other in zip(batched, unwrapped, single, strict=True):
        assert one.energy == same.energy == pytest.approx(other.energy, abs=1e-9)
        assert one.forces == pytest.approx(other.forces, abs=1e-9)
        assert one.stress == pytest.approx(other.stress, abs=1e-10)


def test_shapes_of_earlier_calls_are_taken_again():
    potential, shapes = load("emt"), []
    structures = crystals()
    predict(potential, structures, precision="float64", shapes=shapes)
    before, known = compilations(potential), list(shapes)
    found = predict(potential, structures[:2], precision="float64", shapes=shapes)
    assert compilations(potential) == before and shapes == known
    assert found[1].energy == pytest.approx(predict(potential, structures[1], precision="float64")[0].energy)


def test_what_is_no_model_and_what_fails_get_a_sentence():
    with pytest.raises(InputError, match="no model"):
        evaluator("emt")
    with pytest.raises(WorkFailed, match=r"fancy: EMT failed \(No EMT-potential for Si"):
        evaluator(EMT())([as_system(bulk("Si"), "fancy")])


def test_forces_that_are_no_numbers_are_no_rest():
    class Broken(EMT):
        def calculate(self, *arguments, **options):
            super().calculate(*arguments, **options)
            self.results["forces"] = np.full_like(self.results["forces"], np.nan)

    with pytest.raises(InputError, match="copper: the label 'forces' is not a finite number"):
        relax_together(evaluator(Broken()), [as_system(bulk("Cu"), "copper")])


@pytest.mark.parametrize("cell", ["fixed", "shape", "free"])
def test_all_come_to_rest_as_each_would_alone(cell):
    structures = crystals()
    together = relax_together(evaluator(EMT()), structures, cell=cell, fmax=1e-4)
    for one, start in zip(together, structures, strict=True):
        (alone,) = relax_together(evaluator(EMT()), [start], cell=cell, fmax=1e-4)
        assert one.converged and one.fmax <= 1e-4 and one.steps == alone.steps
        assert one.system.positions == pytest.approx(alone.system.positions, abs=1e-6)
        if cell != "free":
            assert one.system.volume == pytest.approx(start.volume, rel=1e-9)
        else:
            assert np.abs(one.system.labels.stress).max() <= STRESS_PER_FORCE * 1e-4
    squat = together[2].system.cell
    assert (squat[2, 2] / squat[0, 0] == pytest.approx(5.0 / 2.8)) == (cell == "fixed")


def test_symmetry_is_made_exact_and_kept():
    import spglib

    almost = bulk("Cu", "hcp", a=2.6, c=4.0)
    almost.positions[1] += [0.002, -0.003, 0.001]
    (found,) = relax_together(evaluator(EMT()), [as_system(almost)], cell="free", symprec=0.01)
    system = found.system
    fractional = system.positions @ np.linalg.inv(system.cell)
    assert spglib.get_spacegroup((system.cell, fractional, system.numbers), symprec=1e-6) == "P6_3/mmc (194)"


def test_atoms_that_are_held_stay_also_where_symmetry_is_kept():
    crystal = bulk("Cu", "hcp", a=2.6, c=4.1)
    crystal.set_constraint(FixAtoms([0, 1]))
    (found,) = relax_together(evaluator(EMT()), [as_system(crystal)], symprec=0.01)
    np.testing.assert_allclose(found.system.positions, crystal.positions, atol=1e-9)


def test_steps_run_out():
    (found,) = relax_together(evaluator(EMT()), [as_system(bulk("Cu", a=4.0))], cell="free", steps=1)
    assert not found.converged and found.steps == 1


def test_calculator_without_stress_relaxes_atoms_but_no_cell():
    (found,) = relax_together(evaluator(Volumetric(lambda v: 0.0)), [as_system(bulk("Cu"))])
    assert found.converged
    with pytest.raises(InputError, match="no stress"):
        relax_together(evaluator(Volumetric(lambda v: 0.0)), [as_system(bulk("Cu"))], cell="free")


def test_errors_of_the_package_pass_through():
    class Strict(ASECalculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, *_, **__):
            raise InputError("mine")

    with pytest.raises(InputError, match="mine"):
        evaluator(Strict())([as_system(bulk("Cu"))])
