"""Prediction: batched is single, order is kept, parts sum to totals, few shapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from ergodica.calculators import Calculator
from ergodica.errors import InputError, WorkFailed
from ergodica.potentials import EnergyScale, Info, Potential, ViSNetConfig
from ergodica.prediction import Prediction, PropertyPrediction, compilations, iter_predictions, plan, predict
from ergodica.system import System

SMALL = ViSNetConfig(hidden=16, layers=2, heads=4, num_rbf=8, cutoff=3.0)
SCALE = EnergyScale(scale=0.7, shift=-0.3, reference={"H": -13.6, "O": -2000.0, "Cu": 5.0})


@pytest.fixture(scope="module")
def potential() -> Potential:
    return Potential.create(SMALL, seed=1, energy_scale=SCALE)


def zoo() -> list[Atoms]:
    """A molecule, a lone atom, a crystal thinner than the cut-off, a slab, a wire, a far pair."""
    slab = fcc111("Cu", (2, 2, 2), vacuum=5.0)
    slab.pbc = (True, True, False)
    no_third_vector = slab.copy()
    no_third_vector.cell[2] = 0.0
    wire = Atoms("CuO", [[0, 0, 0], [1.2, 0.9, 0.1]], cell=[2.6, 0, 0], pbc=(True, False, False))
    far = Atoms("OH", [[0, 0, 0], [30.0, 0, 0]])
    # few shapes, because compiling is what takes the time here
    images = [molecule("H2O"), Atoms("Cu"), bulk("Cu"), slab, no_third_vector, wire, far, bulk("Cu") * (2, 1, 1)]
    rng = np.random.default_rng(5)
    for atoms in images:
        atoms.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
    return images


@pytest.fixture(scope="module")
def singles(potential) -> list[Prediction]:
    return [predict(potential, atoms, precision="float64")[0] for atoms in zoo()]


def assert_same(one: Prediction, other: Prediction, tolerance: float = 1e-12) -> None:
    assert one.energy == pytest.approx(other.energy, rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(one.energies, other.energies, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(one.forces, other.forces, rtol=0, atol=tolerance)
    assert (one.stress is None) == (other.stress is None)
    if one.stress is not None:
        np.testing.assert_allclose(one.stress, other.stress, rtol=0, atol=tolerance)


@settings(max_examples=4)
@given(order=st.permutations(range(len(zoo()))))
def test_batched_is_single_in_any_order(potential, singles, order):
    images = zoo()
    together = predict(potential, [images[k] for k in order], precision="float64")
    for k, found in zip(order, together, strict=True):
        assert_same(found, singles[k])


def test_small_batches_and_progress(potential, singles):
    seen = list(iter_predictions(potential, zoo(), precision="float64", max_atoms=8))
    assert sorted(index for index, _ in seen) == list(range(len(singles)))
    for index, found in seen:
        assert_same(found, singles[index])


def test_float32_agrees_to_its_digits(potential, singles):
    for found, exact in zip(predict(potential, zoo()), singles, strict=True):
        assert found.forces.dtype == np.float64
        assert_same(found, exact, 2e-5)


def test_float32_is_as_good_far_from_the_origin(potential):
    far = molecule("H2O")
    near = predict(potential, far)[0]
    far.positions += 3e4
    found = predict(potential, far)[0]
    np.testing.assert_allclose(found.forces, near.forces, atol=1e-5)
    far.calc = Calculator(potential)
    np.testing.assert_allclose(far.get_forces(), near.forces, atol=1e-5)


def test_parts_sum_to_the_total(potential, singles):
    for atoms, found in zip(zoo(), singles, strict=True):
        assert found.energies.sum() == pytest.approx(found.energy, rel=1e-14)
        assert found.energies.shape == (len(atoms),)
        np.testing.assert_allclose(found.forces.sum(axis=0), 0.0, atol=1e-12)
        assert (found.stress is not None) == atoms.pbc.all()


def test_scale_shift_and_reference(potential, singles):
    bare = replace(potential, energy_scale=EnergyScale())
    for atoms, found, raw in zip(zoo(), singles, predict(bare, zoo(), precision="float64"), strict=True):
        reference = sum(SCALE.reference[symbol] for symbol in atoms.symbols)
        assert found.energy == pytest.approx(0.7 * raw.energy + reference - 0.3, rel=1e-13)
        np.testing.assert_allclose(found.forces, 0.7 * raw.forces, atol=1e-13)


def test_mean_divides_everything_by_the_number_of_atoms(potential, singles):
    mean = replace(potential, energy_scale=replace(SCALE, reduce="mean"))
    for found, whole in zip(predict(mean, zoo(), precision="float64"), singles, strict=True):
        n = len(whole.energies)
        assert found.energy == pytest.approx((whole.energy + 0.3) / n - 0.3, rel=1e-13)
        assert found.energies.sum() == pytest.approx(found.energy, rel=1e-13)
        np.testing.assert_allclose(found.forces, whole.forces / n, atol=1e-13)
        if whole.stress is not None:
            np.testing.assert_allclose(found.stress, whole.stress / n, atol=1e-13)


def test_supercell_is_as_many_cells(potential, singles):
    cell, alone = zoo()[-1], singles[-1]
    (several,) = predict(potential, cell * (2, 1, 2), precision="float64")
    assert several.energy + 0.3 == pytest.approx(4 * (alone.energy + 0.3), rel=1e-12)
    np.testing.assert_allclose(several.forces, np.tile(alone.forces, (4, 1)), atol=1e-12)
    np.testing.assert_allclose(several.stress, alone.stress, atol=1e-12)


def test_nothing_in_nothing_out(potential):
    assert predict(potential, []) == []


def test_bad_input(potential):
    knows_hydrogen = replace(potential, info=Info(name="h", elements=("H",)))
    with pytest.raises(InputError, match="structure 1 holds O"):
        predict(knows_hydrogen, [Atoms("H"), Atoms("O")])
    with pytest.raises(InputError, match="on one place"):
        predict(potential, Atoms("H2", [[0, 0, 0], [0, 0, 0]]))
    with pytest.raises(InputError, match="precision"):
        predict(potential, Atoms("H"), precision="float16")  # type: ignore[arg-type]


def test_damaged_parameters_are_noticed(potential):
    import jax

    broken = potential.with_params(jax.tree.map(lambda leaf: leaf * np.nan, potential.params))
    with pytest.raises(WorkFailed, match="seawater frame 7"):
        predict(broken, System([1], np.zeros((1, 3)), name="seawater frame 7"), precision="float64")


@pytest.mark.parametrize("head", ["dipole", "extent", "vector"])
def test_other_heads(head):
    other = Potential.create(replace(SMALL, head=head), seed=2, energy_scale=EnergyScale(scale=2.0))
    # few shapes, because compiling is what takes the time here
    images = [molecule("H2O"), molecule("OH"), Atoms("H")]
    together = predict(other, images, precision="float64")
    for atoms, found in zip(images, together, strict=True):
        assert isinstance(found, PropertyPrediction) and found.kind == head
        assert np.shape(found.value) == ((len(atoms), 3) if head == "vector" else ())
        (alone,) = predict(other, atoms, precision="float64")
        np.testing.assert_allclose(found.value, alone.value, atol=1e-12)
    assert compilations(other) == 2


sizes_and_widths = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 150)), min_size=1, max_size=60)


@given(sizes_and_widths, st.integers(1, 2000))
def test_plan_holds_every_structure_once(structures, max_atoms):
    sizes, widths = np.array(structures).T
    batches = plan(sizes, widths, max_atoms)
    assert sorted(index for members, _ in batches for index in members) == list(range(len(sizes)))
    for members, capacity in batches:
        assert sizes[members].sum() <= capacity.atoms and len(members) <= capacity.systems
        assert widths[members].max() <= capacity.width


def test_plan_of_a_mixed_stream_has_few_shapes_and_little_padding():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 201, 1000)
    widths = np.where(rng.random(1000) < 0.5, np.minimum(sizes, rng.integers(5, 30, 1000)), rng.integers(20, 120, 1000))
    batches = plan(sizes, widths)
    assert len({capacity for _, capacity in batches}) <= 8
    computed = sum(capacity.atoms * capacity.width for _, capacity in batches)
    assert computed < 1.3 * (sizes * widths).sum()
