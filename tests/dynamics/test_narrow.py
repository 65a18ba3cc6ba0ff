"""The list that a network gets in the engine: cut down to the cut-off at every step, and never short of a neighbour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.md.verlet import VelocityVerlet

from ergodica import Calculator, load
from ergodica.dynamics.engine import Engine
from ergodica.dynamics.momenta import momenta_at
from ergodica.dynamics.options import MDOptions
from ergodica.dynamics.restart import load_run, save_run
from ergodica.potentials import EnergyScale, Potential, ViSNetConfig
from ergodica.system import System

CONFIG = ViSNetConfig(hidden=8, layers=1, heads=2, num_rbf=8, cutoff=4.2)
NETWORK = Potential.create(CONFIG, seed=0, energy_scale=EnergyScale(scale=0.1))
HOT = MDOptions(ensemble="nve", temperature=600.0, timestep=2.0, precision="float64")


def silicon(repeat=1):
    """A crystal with every atom a little off its site."""
    atoms = bulk("Si", cubic=True).repeat(repeat)
    atoms.rattle(0.05, seed=0)
    return System.from_ase(atoms)


@pytest.mark.parametrize("ensemble", ["nve", pytest.param("npt", marks=pytest.mark.slow)])
def test_a_run_on_narrow_lists_is_the_run_on_wide_ones(monkeypatch, ensemble):
    systems = [silicon()]
    options = replace(HOT, ensemble=ensemble)
    narrow = Engine(NETWORK, systems, options, skin=0.4)
    assert narrow._narrow is not None and narrow._narrow < narrow._width
    found = narrow.advance(120)
    monkeypatch.setattr(Engine, "_narrow", None)
    known = Engine(NETWORK, systems, options, skin=0.4)
    expected = known.advance(120)
    assert found.lists == expected.lists > 2
    np.testing.assert_allclose(found.conserved, expected.conserved, atol=1e-9)
    np.testing.assert_allclose(narrow.motion.positions, known.motion.positions, atol=1e-9)


def test_a_network_moves_atoms_as_ase_does():
    system = silicon()
    momenta = momenta_at(system, HOT, np.random.default_rng(0))
    moved = Engine(NETWORK, [system], HOT, momenta=momenta)
    moved.advance(200)
    atoms = system.to_ase()
    atoms.calc = Calculator(NETWORK, precision="float64")
    atoms.set_momenta(momenta)
    VelocityVerlet(atoms, 2.0 * units.fs).run(200)
    np.testing.assert_allclose(moved.current()[0].positions, atoms.positions, atol=1e-6)


def test_a_narrow_list_without_room_is_noticed_and_widened():
    roomy = Engine(NETWORK, [silicon()], HOT)
    tight = Engine(NETWORK, [silicon()], HOT)
    tight._slots = 12  # an atom has 16 neighbours
    found, expected = tight.advance(40), roomy.advance(40)
    assert tight._slots >= 16 and len(found.temperature) == 40
    assert found.lists == expected.lists
    np.testing.assert_allclose(tight.motion.positions, roomy.motion.positions, atol=1e-10)


def test_a_restarted_run_goes_on_with_the_same_narrow_lists(tmp_path):
    whole = Engine(NETWORK, [silicon()], replace(HOT, precision="float32"))
    whole._slots = 12
    whole.advance(30)
    save_run(tmp_path / "run", whole, whole.state(), [0])
    again = Engine(NETWORK, [silicon()], whole.options)
    load_run(tmp_path / "run", again)
    assert again._narrow == whole._narrow is not None
    for moved in (whole, again):
        moved.advance(70)
    np.testing.assert_array_equal(whole.motion.positions, again.motion.positions)
    np.testing.assert_array_equal(whole.motion.momenta, again.motion.momenta)


def test_lists_stay_as_they_are_where_cutting_saves_nothing():
    argon = System.from_ase(bulk("Ar", "fcc", a=5.3, cubic=True).repeat(2))
    assert Engine(load("lj", sigma=3.4, epsilon=0.0104, cutoff=6.5, onset=6.0), [argon], HOT)._narrow is None
    assert Engine(NETWORK, [System.from_ase(molecule("CH3CH2OH"))], HOT)._narrow is None
