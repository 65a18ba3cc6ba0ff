"""The engine on the device: ASE's trajectories, the ensembles' distributions, lists that are never stale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.md.verlet import VelocityVerlet
from scipy import stats

from ergodica import Calculator, load, predict
from ergodica.dynamics import engine
from ergodica.dynamics.engine import Engine
from ergodica.dynamics.momenta import momenta_at
from ergodica.dynamics.options import MDOptions
from ergodica.errors import InputError, WorkFailed
from ergodica.potentials import EnergyScale
from ergodica.system import System
from ergodica.units import GPA, KB

ARGON = load("lj", sigma=3.4, epsilon=0.0104, cutoff=6.5, onset=6.0)
COLD = MDOptions(ensemble="nve", temperature=40.0, timestep=2.0, precision="float64")


def argon(repeat=2):
    """A cubic crystal."""
    return bulk("Ar", "fcc", a=5.3, cubic=True).repeat(repeat)


def run(options, steps, systems=None, **more):
    """An engine after so many steps, and what happened."""
    moved = Engine(ARGON, systems or [System.from_ase(argon())], options, **more)
    return moved, moved.advance(steps)


def test_newtons_equations_as_ase_solves_them():
    atoms = argon()
    system = System.from_ase(atoms)
    momenta = momenta_at(system, replace(COLD, temperature=120.0), np.random.default_rng(0))
    moved, stretch = run(COLD, 200, [system], momenta=momenta)
    atoms.calc = Calculator(ARGON, precision="float64")
    atoms.set_momenta(momenta)
    VelocityVerlet(atoms, 2.0 * units.fs).run(200)
    np.testing.assert_allclose(moved.current()[0].positions, atoms.positions, atol=1e-10)
    np.testing.assert_allclose(moved.frames(moved.motion)[0].velocities, atoms.get_velocities() * units.fs, atol=1e-10)
    assert stretch.lists > 0 and stretch.temperature.shape == (200, 1)
    kinetic = atoms.get_kinetic_energy() / (1.5 * KB * (len(atoms) - 1))
    assert stretch.temperature[-1, 0] == pytest.approx(kinetic, rel=1e-9)


def test_it_does_not_matter_who_lists_the_neighbours(monkeypatch):
    hot = replace(COLD, temperature=300.0)
    device, many = run(hot, 150, skin=0.3)
    monkeypatch.setattr(engine, "LARGE", 0)
    host, others = run(hot, 150, skin=0.3)
    assert device._grid is not None and host._grid is None and many.lists == others.lists > 5
    np.testing.assert_allclose(device.current()[0].positions, host.current()[0].positions, atol=1e-9)


def test_energy_error_is_of_second_order_in_the_time_step():
    spread = []
    for timestep in (8.0, 4.0):
        _, stretch = run(replace(COLD, timestep=timestep), round(800 / timestep))
        spread.append(stretch.conserved.std())
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.15)


@pytest.mark.slow
def test_energy_error_of_a_network_is_of_second_order_in_the_time_step():
    ethanol, network = System.from_ase(molecule("CH3CH2OH")), load("visnet-rmd17-ethanol")
    spread = []
    for timestep in (1.0, 0.5):
        moved = Engine(network, [ethanol], replace(COLD, temperature=300.0, timestep=timestep))
        spread.append(moved.advance(round(100 / timestep)).conserved.std())
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.15)


def test_lists_that_are_renewed_change_nothing():
    hot = replace(COLD, temperature=300.0)
    often, many = run(hot, 150, skin=0.3)
    never, none = run(hot, 150, skin=6.0)
    assert many.lists > 5 and none.lists == 0
    np.testing.assert_allclose(often.current()[0].positions, never.current()[0].positions, atol=1e-9)


@pytest.mark.parametrize("ensemble", ["nve", "langevin", "nose-hoover", "csvr", "npt"])
def test_a_run_in_pieces_is_the_run(ensemble):
    options = replace(COLD, ensemble=ensemble)
    whole, _ = run(options, 100)
    pieces, _ = run(options, 37)
    pieces.advance(63)
    np.testing.assert_array_equal(whole.motion.positions, pieces.motion.positions)
    np.testing.assert_array_equal(whole.motion.momenta, pieces.motion.momenta)
    assert int(pieces.motion.step) == 100


def test_structures_side_by_side_do_not_know_of_each_other():
    small, large = System.from_ase(argon(1)), System.from_ase(argon(2))
    momenta = [momenta_at(s, COLD, np.random.default_rng(k)) for k, s in enumerate((small, large))]
    both, stretch = run(COLD, 60, [small, large], momenta=np.concatenate(momenta))
    for k, system in enumerate((small, large)):
        alone, own = run(COLD, 60, [system], momenta=momenta[k])
        np.testing.assert_allclose(both.current()[k].positions, alone.current()[0].positions, atol=1e-10)
        np.testing.assert_allclose(stretch.conserved[:, k], own.conserved[:, 0], atol=1e-9)


@pytest.mark.parametrize("ensemble", ["langevin", "csvr", "nose-hoover"])
def test_kinetic_energies_are_canonical(ensemble):
    options = replace(COLD, ensemble=ensemble, temperature=80.0, timestep=4.0, thermostat_time=60.0)
    moved, _ = run(options, 300, [System.from_ase(argon(1))] * 48)
    temperatures = []
    for _ in range(12):
        temperatures.append(moved.advance(60).temperature[-1])
    freedom = 12 if ensemble == "langevin" else 9
    energies = np.concatenate(temperatures) / 80.0 * freedom / 2  # in units of kT
    assert stats.kstest(energies, stats.gamma(freedom / 2).cdf).pvalue > 1e-3
    assert energies.mean() == pytest.approx(freedom / 2, rel=0.06)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["isotropic", "orthorhombic", "triclinic"])
def test_volume_of_an_ideal_gas_has_its_mean_and_variance(shape):
    """With the centre of mass at rest, p(V) = V^(N-1) exp(-PV/kT): mean and variance of PV/kT are N."""
    count, copies, temperature, volume = 8, 64, 300.0, 8 * 810.0
    rng = np.random.default_rng(0)
    side = volume ** (1 / 3)
    systems = [
        System([18] * count, rng.random((count, 3)) * side, np.eye(3) * side, (True,) * 3) for _ in range(copies)
    ]
    pressure = count * KB * temperature / volume
    options = MDOptions(
        ensemble="npt", cell=shape, temperature=temperature, pressure=pressure / GPA, timestep=20.0,
        thermostat_time=100.0, barostat_time=2000.0, compressibility=GPA / pressure, precision="float64",
    )  # fmt: skip
    gas = Engine(load("lj", sigma=0.01, epsilon=1e-12, cutoff=0.2, onset=0.1), systems, options, skin=1.5)
    seen = []
    for _ in range(50):
        gas.advance(40)
        seen.append(np.linalg.det(np.asarray(gas.motion.cell)) * pressure / (KB * temperature))
    late = np.array(seen[15:])
    error = late.mean(axis=0).std() / np.sqrt(copies)
    assert late.mean() == pytest.approx(count, abs=4 * error)
    assert late.var() == pytest.approx(count, rel=0.15)


def test_what_flies_apart_is_told_and_kept():
    atoms = argon(1)
    atoms.positions[1] = atoms.positions[0] + [0.9, 0, 0]
    moved = Engine(ARGON, [System.from_ase(atoms)], replace(COLD, timestep=5.0))
    with pytest.raises(WorkFailed, match="shorter time step"):
        moved.advance(50)
    assert np.isfinite(moved.current()[0].positions).all()
    with pytest.raises(InputError, match="no ensemble 'nvp'"):
        replace(COLD, ensemble="nvp")


def test_fixed_atoms_stay_and_hold_no_heat():
    system = replace(System.from_ase(argon()), fixed=np.arange(32) < 8)
    moved, _ = run(replace(COLD, ensemble="langevin", temperature=80.0), 100, [system])
    now = moved.current()[0]
    np.testing.assert_array_equal(now.positions[:8], system.positions[:8])
    assert np.abs(now.positions[8:] - system.positions[8:]).max(axis=1).min() > 0
    assert not moved.frames(moved.motion)[0].velocities[:8].any()
    begin = momenta_at(system, COLD, np.random.default_rng(0))
    masses = argon().get_masses()[:, None]
    assert (begin**2 / masses).sum() == pytest.approx(3 * 24 * KB * COLD.temperature)
    with pytest.raises(InputError, match="fixed atoms"):
        run(replace(COLD, ensemble="npt"), 1, [system])


def test_centre_of_mass_rests_under_langevin_when_told_to():
    for fixed in (True, False):
        moved, _ = run(replace(COLD, ensemble="langevin", fix_com=fixed), 50)
        assert (np.abs(np.asarray(moved.motion.momenta).sum(axis=0)).max() < 1e-10) == fixed


def test_ramp_of_the_thermostat_is_followed():
    heated = {"temperature": 20.0, "final_temperature": 120.0, "steps": 600, "thermostat_time": 20.0}
    options = replace(COLD, ensemble="csvr", **heated)
    _, stretch = run(options, 600, [System.from_ase(argon(1))] * 16)
    mean = stretch.temperature.mean(axis=1).reshape(6, 100).mean(axis=1)
    np.testing.assert_allclose(mean, 20 + 100 * (np.arange(6) + 0.5) / 6, rtol=0.25)


@pytest.mark.parametrize("axes", ["z", "xy"])
def test_cell_changes_along_the_chosen_axes_alone(axes):
    options = replace(COLD, ensemble="npt", cell="orthorhombic", cell_axes=axes, pressure=2.0, barostat_time=200.0)
    moved, _ = run(options, 40)
    change = np.abs(moved.current()[0].cell - argon().cell).max(axis=0)
    assert all((change[k] > 1e-3) == (axis in axes) for k, axis in enumerate("xyz"))


def test_energies_are_total_energies():
    scale = EnergyScale(scale=0.5, shift=2.0, reference={"Ar": -7.0})
    systems = [System.from_ase(argon(1)), System.from_ase(argon(2))]
    model = replace(ARGON, energy_scale=scale)
    moved = Engine(model, systems, COLD)
    moved.advance(20)
    found = moved.frames(moved.motion)
    for frame, known in zip(found, predict(model, moved.current(), precision="float64"), strict=True):
        assert frame.system.labels.energy == pytest.approx(known.energy, abs=1e-10)
        np.testing.assert_allclose(frame.system.labels.forces, known.forces, atol=1e-10)
        np.testing.assert_allclose(frame.system.labels.stress, known.stress, atol=1e-12)
