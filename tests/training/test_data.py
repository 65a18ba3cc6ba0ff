"""Order, batches, labels and reference energies."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import molecule
from hypothesis import given
from hypothesis import strategies as st

from ergodica.errors import InputError
from ergodica.potentials.potential import EnergyScale
from ergodica.system import Labels, System
from ergodica.training.data import Loader, chunks, fit_reference, force_scale, make_targets, prepare
from ergodica.training.options import LossOptions
from ergodica.training.splits import read_all
from tests.training.conftest import OFFSETS, toy


def mixed(count):
    """Molecules of quite different sizes; the energy tells which one it is."""
    names = ("CH3CH2OH", "H2O", "C6H6", "CO", "CH4")
    systems = [System.from_ase(molecule(names[i % len(names)])) for i in range(count)]
    return [s.with_labels(Labels(energy=float(1 + i))) for i, s in enumerate(systems)]


MIXED = prepare(mixed(13), 5.0, EnergyScale())


def energies(loader, epoch=0):
    """Energies of all real structures of an epoch, in order."""
    found = []
    for chunk in chunks(loader, 0, epoch):
        for step in np.flatnonzero(chunk.active):
            kept = np.asarray(chunk.targets.has_energy[step]) > 0
            found += np.asarray(chunk.targets.energy[step])[kept].tolist()
    return found


@given(count=st.integers(1, 13), size=st.integers(1, 5), length=st.integers(1, 4), devices=st.integers(1, 3))
def test_every_structure_once(count, size, length, devices):
    loader = Loader(MIXED[:count], size, length, loops=True, devices=devices)
    assert sorted(energies(loader)) == list(range(1, count + 1))
    planned = [i for _, batches in loader.plan(None) for members in batches for i in members]
    assert sorted(planned) == list(range(count))
    for capacity, batches in loader.plan(np.random.default_rng(5)):
        for members in batches:
            assert loader.sizes[members].sum() <= capacity.atoms and len(members) <= capacity.systems


@given(size=st.integers(1, 6), seed=st.integers(0, 99))
def test_structures_of_one_size_make_batches_of_the_size_asked_for(size, seed):
    loader = Loader(prepare([mixed(1)[0]] * 13, 5.0, EnergyScale()), size, 3, loops=True)
    found = [len(members) for _, batches in loader.plan(np.random.default_rng(seed)) for members in batches]
    assert sorted(found, reverse=True) == [size] * (13 // size) + [13 % size] * (13 % size > 0)
    assert loader.steps() == len(found)


def test_structures_of_many_sizes_fill_their_batches():
    rng = np.random.default_rng(0)
    chains = [System(np.ones(n), np.arange(n)[:, None] * [1.5, 0, 0]) for n in rng.integers(1, 40, 400)]
    samples = prepare([chain.with_labels(Labels(energy=1.0)) for chain in chains], 2.0, EnergyScale())
    loader = Loader(samples, 8, 1, loops=False)
    plan = [(room, members) for room, batches in loader.plan(rng) for members in batches]
    assert np.mean([len(members) for _, members in plan]) == pytest.approx(8, rel=0.15)
    assert sum(loader.sizes) > 0.8 * sum(room.atoms for room, _ in plan)


def test_order_is_that_of_seed_and_epoch():
    loader = Loader(MIXED, 2, 2, loops=True)
    assert energies(loader) == energies(loader)
    assert energies(loader) != energies(loader, epoch=1)
    late = [chunk.targets.energy for chunk in chunks(loader, 0, 0, start=2)]
    whole = [chunk.targets.energy for chunk in chunks(loader, 0, 0)]
    assert all(np.array_equal(a, b) for a, b in zip(late, whole[2:], strict=True))


def test_replay_draws_a_share():
    loader = Loader(MIXED, 2, 2, loops=True, replay=8, replay_count=3)
    first, second = energies(loader), energies(loader, epoch=1)
    assert len(first) == len(second) == 5 + 3
    assert set(range(1, 6)) <= set(first) and len(set(first)) == 8
    assert set(first) != set(second)


def test_few_replayed_structures_are_all_taken():
    assert len(energies(Loader(MIXED, 2, 2, loops=True, replay=4, replay_count=9))) == 13


def test_reference_energies_are_recovered():
    systems = mixed(10)
    true = {"H": -13.6, "C": -1030.5, "O": -2041.25}
    totals = [float(sum(true[s] for s in system.to_ase().get_chemical_symbols())) for system in systems]
    assert fit_reference(systems, totals) == pytest.approx(true, rel=1e-12)
    assert fit_reference([], []) == {}


def test_reference_is_taken_off_in_double_precision():
    samples = prepare(toy(3, offsets={"H": -1e7, "C": -1e7}), 5.0, EnergyScale(reference={"H": -1e7, "C": -1e7}))
    plain = toy(3, offsets={"H": 0.0, "C": 0.0})
    assert [s.energy for s in samples] == pytest.approx([s.labels.energy for s in plain], abs=1e-7)


def test_force_scale():
    systems = toy(4)
    assert force_scale(systems) == pytest.approx(np.sqrt(np.mean([s.labels.forces**2 for s in systems])))
    assert force_scale(mixed(2)) == 1.0
    assert force_scale([systems[0].with_labels(Labels(forces=np.zeros((4, 3))))]) == 1.0


def test_unlabelled_structures_are_refused():
    with pytest.raises(InputError, match="no energy, forces or stress"):
        prepare([System.from_ase(molecule("H2O"), "water")], 5.0, EnergyScale())


def test_labels_may_be_missing_only_where_that_is_said(tmp_path):
    (tmp_path / "relaxed.extxyz").write_text(
        '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3:forces:R:3 pbc="T T T"\nCu 0 0 0 0 0 0\n'
    )
    files = [str(tmp_path / "relaxed.extxyz")]
    with pytest.raises(InputError, match="no energy, which is needed"):
        read_all(files, LossOptions())
    (system,) = read_all(files, LossOptions(), partial=True)
    assert system.labels.energy is None and not system.labels.forces.any()


def test_missing_labels_weigh_nothing():
    whole, energy_only = toy(2)
    stressed = System.from_ase(molecule("H2O"))
    systems = [
        whole,
        energy_only.with_labels(Labels(energy=1.0)),
        stressed.with_labels(Labels(stress=np.eye(3))),
    ]
    loader = Loader(prepare(systems, 5.0, EnergyScale(reference=OFFSETS)), 4, 1, loops=True)
    capacity = loader.plan(None)[0][0]
    targets = make_targets(loader.samples, type(capacity)(12, 5, 4))
    assert targets.has_energy.tolist() == [1, 1, 0, 0]
    assert targets.has_forces.tolist() == [1] * 4 + [0] * 8
    assert targets.has_stress.tolist() == [0] * 4  # the stress of a molecule is not defined
    assert targets.atoms.tolist() == [4, 4, 3, 1]
