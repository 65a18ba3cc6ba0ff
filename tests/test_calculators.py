"""The ASE calculator: derivatives, conservation, few compilations, and the ways ASE's users handle it."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import PropertyNotImplementedError
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.stress import full_3x3_to_voigt_6_stress

from ergodica.calculators import Calculator
from ergodica.errors import InputError, WorkFailed
from ergodica.potentials import EnergyScale, Info, Potential, ViSNetConfig
from ergodica.potentials.modelfile import save_model
from ergodica.prediction import predict

SMALL = ViSNetConfig(hidden=16, layers=2, heads=4, num_rbf=8, cutoff=3.5)


@pytest.fixture(scope="module")
def potential() -> Potential:
    return Potential.create(SMALL, seed=3, energy_scale=EnergyScale(reference={"Cu": -3.0}), info=Info(name="small"))


@pytest.fixture(scope="module")
def calculator(potential) -> Calculator:
    return Calculator(potential, precision="float64")


def crystal() -> Atoms:
    """A distorted triclinic cell thinner than the cut-off."""
    atoms = bulk("Cu") * (2, 1, 1)
    rng = np.random.default_rng(0)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.05, size=(3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(scale=0.1, size=(2, 3))
    return atoms


def liquid(calculator: Calculator, temperature: float = 600.0) -> Atoms:
    """A dense disordered argon-like box, moving."""
    atoms = bulk("Ar", cubic=True, a=5.2) * (2, 2, 2)
    rng = np.random.default_rng(1)
    atoms.positions += rng.normal(scale=0.15, size=(len(atoms), 3))
    atoms.calc = calculator
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(spread[:, None] * rng.normal(size=(len(atoms), 3)))
    return atoms


def test_agrees_with_predict(potential, calculator):
    atoms = crystal()
    atoms.calc = calculator
    (found,) = predict(potential, atoms, precision="float64")
    assert atoms.get_potential_energy() == pytest.approx(found.energy, rel=1e-13)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()
    np.testing.assert_allclose(atoms.get_forces(), found.forces, atol=1e-12)
    np.testing.assert_allclose(atoms.get_potential_energies(), found.energies, atol=1e-12)
    np.testing.assert_allclose(atoms.get_stress(), full_3x3_to_voigt_6_stress(found.stress), atol=1e-12)
    assert calculator.atomic_energies == {"Cu": -3.0} and calculator.name == "ergodica"


def test_forces_are_derivatives_of_the_energy(calculator):
    atoms = crystal()
    atoms.calc = calculator
    forces, step = atoms.get_forces(), 1e-4
    for index, axis in ((0, 0), (0, 2), (1, 1)):
        energies = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = calculator
            moved.positions[index, axis] += sign * step
            energies.append(moved.get_potential_energy())
        assert forces[index, axis] == pytest.approx((energies[1] - energies[0]) / (2 * step), abs=1e-6)


def test_stress_is_the_derivative_under_strain(calculator):
    atoms = crystal()
    atoms.calc = calculator
    stress, step = atoms.get_stress(voigt=False), 1e-4
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[a, b] += 0.5 * sign * step
            strain[b, a] += 0.5 * sign * step
            strained = atoms.copy()
            strained.calc = calculator
            strained.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(strained.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * step) / atoms.get_volume()
        assert stress[a, b] == pytest.approx(slope, abs=1e-6)
    assert np.abs(stress).max() > 1e-4


def test_no_stress_without_three_periodic_directions(calculator):
    atoms = Atoms("Cu", cell=[3, 3, 9], pbc=(True, True, False), calculator=calculator)
    assert np.isfinite(atoms.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()


def test_lone_atom(calculator):
    atoms = Atoms("Cu", calculator=calculator)
    assert np.isfinite(atoms.get_potential_energy())
    np.testing.assert_array_equal(atoms.get_forces(), np.zeros((1, 3)))


def test_energy_is_conserved_and_nothing_recompiles(potential):
    calculator = Calculator(potential, precision="float64", skin=0.5)
    atoms = liquid(calculator)
    atoms.get_potential_energy()
    before, builds = calculator.compilations, calculator._verlet.builds
    dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
    total = []
    dynamics.attach(lambda: total.append(atoms.get_total_energy()))
    dynamics.run(200)
    assert calculator.compilations - before <= 1  # once, should the densest place outgrow its headroom
    assert builds < calculator._verlet.builds < 60  # the list was renewed, and was kept in between
    assert np.std(total) < 2e-4 * len(atoms) * units.kB * 600


def test_kept_list_is_the_new_list(potential):
    kept = Calculator(potential, precision="float64", skin=1.5)
    always_new = Calculator(potential, precision="float64", skin=0.0)
    atoms = liquid(kept)
    rng = np.random.default_rng(2)
    for _ in range(12):
        atoms.positions += rng.normal(scale=0.1, size=(len(atoms), 3))  # in place, as some programs do
        np.testing.assert_allclose(kept.get_forces(atoms), always_new.get_forces(atoms), atol=1e-11)
    assert kept._verlet.builds < always_new._verlet.builds == 12


def test_cell_relaxation(calculator):
    atoms = crystal()
    atoms.calc = calculator
    start = atoms.get_potential_energy()
    before = calculator.compilations
    BFGS(FrechetCellFilter(atoms), logfile=None, maxstep=0.02).run(fmax=1e-3, steps=8)
    assert atoms.get_potential_energy() < start
    assert calculator.compilations - before <= 3


def test_changing_structures(potential, calculator):
    for atoms in (crystal(), molecule("H2O"), Atoms("H"), crystal()):
        atoms.calc = calculator
        found = atoms.get_potential_energy()
        atoms.calc = Calculator(potential, precision="float64")
        assert found == pytest.approx(atoms.get_potential_energy(), rel=1e-13)


def test_every_change_is_seen(calculator):
    """As exactly as stored: the smallest step, elements, cell, periodicity, charge; and nothing if nothing changed."""
    start = crystal()
    start.calc = calculator
    start.get_potential_energy()

    def seen(change) -> list[str]:
        atoms = start.copy()
        change(atoms)
        return calculator.check_state(atoms)

    assert seen(lambda atoms: None) == []
    assert seen(lambda atoms: atoms.positions.__iadd__(np.spacing(atoms.positions))) == ["positions"]
    assert seen(lambda atoms: atoms.set_atomic_numbers([29, 28])) == ["numbers"]
    assert seen(lambda atoms: atoms.set_cell(atoms.cell * (1 + 1e-15))) == ["cell"]
    assert seen(lambda atoms: atoms.set_pbc([True, True, False])) == ["pbc"]
    assert seen(lambda atoms: atoms.info.update(charge=1)) == ["initial_charges"]
    assert set(seen(lambda atoms: atoms.append("Cu"))) == {"positions", "numbers"}


def test_a_refused_structure_is_refused_again():
    """Whatever state the first refusal left behind, and the calculator still works for others."""
    known = Calculator(Potential.create(SMALL, info=Info(name="only H", elements=("H",))))
    strange = Atoms("O", calculator=known)
    for _ in range(2):
        with pytest.raises(InputError, match="O holds O"):
            strange.get_potential_energy()
    assert np.isfinite(Atoms("H", calculator=known).get_potential_energy())


@pytest.mark.parametrize(
    "clone",
    [copy.copy, copy.deepcopy, lambda calc: pickle.loads(pickle.dumps(calc))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_clones_give_the_same(calculator, clone):
    atoms = crystal()
    atoms.calc = calculator
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    twin = clone(calculator)
    assert twin._verlet is not calculator._verlet
    other = crystal()
    other.calc = twin
    other.positions[0, 0] += 0.1
    assert other.get_potential_energy() != energy
    other.positions[0, 0] -= 0.1
    assert other.get_potential_energy() == pytest.approx(energy, rel=1e-13)
    np.testing.assert_allclose(other.get_forces(), forces, atol=1e-12)


def test_model_by_path(potential, calculator, tmp_path):
    path = tmp_path / "small.safetensors"
    save_model(path, potential)
    atoms = crystal()
    atoms.calc = calculator
    energy = atoms.get_potential_energy()
    for made in (Calculator(path, precision="float64"), Calculator.from_checkpoint(str(path), precision="float64")):
        atoms.calc = made
        assert atoms.get_potential_energy() == pytest.approx(energy, rel=1e-13)


def test_bad_use(potential):
    with pytest.raises(InputError, match="predicts 'dipole'"):
        Calculator(Potential.create(ViSNetConfig(hidden=16, layers=1, heads=4, num_rbf=8, head="dipole")))
    with pytest.raises(InputError, match="no device 'abacus'"):
        Calculator(potential, device="abacus")
    with pytest.raises(InputError, match="precision"):
        Calculator(potential, precision="float16")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="There is no"):
        Calculator("no-such-model")
    known = Calculator(Potential.create(SMALL, info=Info(name="only H", elements=("H",))), device="cpu")
    with pytest.raises(InputError, match="O2 holds O"):
        Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], calculator=known).get_potential_energy()
    with pytest.raises(InputError, match="H2: atoms 0 and 1 are on one place"):
        Atoms("H2", [[0, 0, 0], [0, 0, 0]], calculator=known).get_potential_energy()
    with pytest.raises(InputError, match="not a finite number"):
        Atoms("H", [[np.nan, 0, 0]], calculator=known).get_potential_energy()


def test_damaged_parameters_are_noticed(potential):
    import jax

    broken = potential.with_params(jax.tree.map(lambda leaf: leaf * np.nan, potential.params))
    with pytest.raises(WorkFailed, match="Cu2"):
        atoms = crystal()
        atoms.calc = Calculator(broken, precision="float64")
        atoms.get_potential_energy()
