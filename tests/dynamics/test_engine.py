"""The engine on the device: ASE's trajectories, the ensembles' distributions, lists that are never stale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet
from scipy import stats

from ergodica import Calculator, load
from ergodica.dynamics import engine
from ergodica.dynamics.engine import Engine, momenta_at
from ergodica.dynamics.integrators import INTEGRATORS
from ergodica.dynamics.integrators.npt import NPT
from ergodica.dynamics.options import MDOptions
from ergodica.errors import InputError, WorkFailed
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
    momenta = momenta_at(system, 120.0, "nve", np.random.default_rng(0))
    moved, stretch = run(COLD, 200, [system], momenta=momenta)
    atoms.calc = Calculator(ARGON, precision="float64")
    atoms.set_momenta(momenta)
    VelocityVerlet(atoms, 2.0 * units.fs).run(200)
    np.testing.assert_allclose(moved.current()[0].positions, atoms.positions, atol=1e-10)
    np.testing.assert_allclose(moved.velocities()[0], atoms.get_velocities() * units.fs, atol=1e-10)
    assert stretch.lists > 0 and stretch.temperature.shape == (200, 1)
    kinetic = atoms.get_kinetic_energy() / (1.5 * KB * (len(atoms) - 1))
    assert stretch.temperature[-1, 0] == pytest.approx(kinetic, rel=1e-9)


def test_energy_error_is_of_second_order_in_the_time_step():
    spread = []
    for timestep in (8.0, 4.0):
        _, stretch = run(replace(COLD, timestep=timestep), round(800 / timestep))
        spread.append(stretch.conserved.std())
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.15)


def test_lists_that_are_renewed_change_nothing():
    hot = replace(COLD, temperature=300.0)
    often, many = run(hot, 150, skin=0.3)
    never, none = run(hot, 150, skin=6.0)
    assert many.lists > 5 and none.lists == 0
    np.testing.assert_allclose(often.current()[0].positions, never.current()[0].positions, atol=1e-9)


@pytest.mark.parametrize("ensemble", sorted(INTEGRATORS))
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
    momenta = [momenta_at(s, 50.0, "nve", np.random.default_rng(k)) for k, s in enumerate((small, large))]
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
def test_volume_of_an_ideal_gas_has_its_mean_and_variance(shape, monkeypatch):
    """With the centre of mass at rest, p(V) = V^(N-1) exp(-PV/kT): mean and variance of PV/kT are N."""
    count, copies, temperature, volume = 8, 64, 300.0, 8 * 810.0
    monkeypatch.setitem(INTEGRATORS, "npt", NPT(shape))
    engine._block.cache_clear()
    rng = np.random.default_rng(0)
    side = volume ** (1 / 3)
    systems = [
        System([18] * count, rng.random((count, 3)) * side, np.eye(3) * side, (True,) * 3) for _ in range(copies)
    ]
    pressure = count * KB * temperature / volume
    options = MDOptions(
        ensemble="npt", temperature=temperature, pressure=pressure / GPA, timestep=20.0, thermostat_time=100.0,
        barostat_time=2000.0 * 0.02 / GPA * pressure, precision="float64",
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
    engine._block.cache_clear()


def test_what_flies_apart_is_told_and_kept():
    atoms = argon(1)
    atoms.positions[1] = atoms.positions[0] + [0.9, 0, 0]
    moved = Engine(ARGON, [System.from_ase(atoms)], replace(COLD, timestep=5.0))
    with pytest.raises(WorkFailed, match="shorter time step"):
        moved.advance(50)
    assert np.isfinite(moved.current()[0].positions).all()
    with pytest.raises(InputError, match="no ensemble 'nvp'"):
        Engine(ARGON, [System.from_ase(atoms)], replace(COLD, ensemble="nvp"))
