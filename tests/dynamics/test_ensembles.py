"""Do the integrators sample what they say? Configurational temperatures, slopes between two ensembles, a density.

The two checks of configurations know nothing of velocities: a thermostat that heats the atoms but moves them wrongly
fails them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from ase.build import bulk
from scipy.integrate import quad

from ergodica import load, predict
from ergodica.dynamics import engine
from ergodica.dynamics.engine import Engine
from ergodica.dynamics.options import MDOptions
from ergodica.potentials.potential import compiled_derivatives
from ergodica.prediction import scope
from ergodica.system import System
from ergodica.units import GPA, KB
from tests.helpers.ensembles import jackknife, slopes

SIGMA, EPSILON = 3.4, 0.0104
ARGON = load("lj", sigma=SIGMA, epsilon=EPSILON, cutoff=6.5, onset=6.0)
PRESSURE = EPSILON / SIGMA**3 / GPA  # GPa per unit of reduced pressure
FLUID = MDOptions(
    temperature=150.0, timestep=5.0, thermostat_time=100.0, barostat_time=400.0, compressibility=3.5,
    precision="float64",
)  # fmt: skip
THERMOSTATS = ["langevin", "nose-hoover", "csvr"]


def fluid(repeat=2, density=0.7):
    """The lattice from which a fluid of this reduced density starts."""
    return System.from_ase(bulk("Ar", "fcc", a=SIGMA * (4 / density) ** (1 / 3), cubic=True).repeat(repeat))


def started(potential, systems, options, skin=2.0, room=1.7):
    """An engine with room for all the neighbours that a melting lattice will have, so that it compiles once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "HEADROOM", room)
        patch.setattr(engine, "LARGE", 0)  # the host's lists compile sooner
        return Engine(potential, systems, options, skin=skin)


@lru_cache(maxsize=16)
def sampled(options: MDOptions, repeat=2, replicas=24, begin=500, looks=120, apart=30):
    """Potential energy (eV), volume (Å³), |forces|² and Laplacian of the energy, of each replica and look [R, S, 4]."""
    moved = started(ARGON, [fluid(repeat)] * replicas, options)
    rng, rows = np.random.default_rng(0), []
    moved.advance(begin)
    for _ in range(looks):
        moved.advance(apart)
        now, sums = moved.motion, moved._matter.sums
        volume = np.linalg.det(np.asarray(now.cell))
        rows.append([now.energy, volume, sums(np.sum(np.square(now.forces), axis=1)), laplacian(moved, rng)])
    return np.moveaxis(np.array(rows), -1, 0)


def laplacian(moved, rng, step=1e-4):
    """Σ ∂²U/∂x² of each replica, eV/Å²: the mean of zᵀHz over signs z, here of one draw (Hutchinson 1990)."""
    signs = rng.choice([-1.0, 1.0], moved.motion.positions.shape)

    def forces(away):
        shifted = replace(moved._batch, positions=moved.motion.positions + away * signs, cell=moved.motion.cell)
        return compiled_derivatives(ARGON.config)(moved._params, shifted).forces

    with scope("float64"):
        return moved._matter.sums(np.sum(signs * (forces(-step) - forces(step)), axis=1) / (2 * step))


def configurational_temperature(samples):
    """<|∇U|²>/<∇²U> in K (Butler et al. 1998, doi:10.1063/1.477301), and its standard error."""

    def estimate(kept):
        squares, curvature = samples[kept, :, 2:].mean(axis=(0, 1))
        return np.array([squares / curvature / KB])

    found, error = jackknife(estimate, len(samples))
    return found[0], error[0]


def agree(found, error, expected, sharpness):
    """Within four standard errors, which are small enough to notice a wrong ensemble."""
    print(f"found {found} ± {error}, expected {expected}")
    assert np.all(error < sharpness * np.abs(expected))
    assert np.all(np.abs(found - expected) < 4 * error)


def test_slope_of_known_ensembles_is_found():
    rng = np.random.default_rng(0)
    first, second = (rng.gamma(20.0, heat, (32, 50, 1)) for heat in (1.0, 1.3))
    agree(*slopes(first, second), np.array([1 - 1 / 1.3]), 0.06)


@pytest.mark.slow
def test_canonical_configurations_of_a_small_system():
    """The fast part of what follows."""
    runs = [replace(FLUID, temperature=t) for t in (150.0, 200.0)]
    cold, hot = (sampled(run, repeat=1, replicas=48, begin=300, looks=25, apart=25) for run in runs)
    agree(*configurational_temperature(cold), 150.0, 0.05)
    agree(*slopes(cold[..., :1], hot[..., :1]), np.array([1 / 150 - 1 / 200]) / KB, 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_configurational_temperature_is_the_thermostats(ensemble):
    agree(*configurational_temperature(sampled(replace(FLUID, ensemble=ensemble))), 150.0, 0.015)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", THERMOSTATS)
def test_energies_at_two_temperatures_have_the_canonical_ratio(ensemble):
    cold, hot = (sampled(replace(FLUID, ensemble=ensemble, temperature=t)) for t in (150.0, 190.0))
    agree(*slopes(cold[..., :1], hot[..., :1]), np.array([1 / 150 - 1 / 190]) / KB, 0.06)


@pytest.mark.slow
def test_volumes_and_energies_at_two_pressures_and_temperatures_have_the_ratio_of_the_ensemble():
    """Volumes at one temperature first, then energies and volumes jointly."""
    points = [(150.0, 0.8), (150.0, 1.3), (190.0, 1.3)]
    loose, tight, hot = (
        sampled(replace(FLUID, ensemble="npt", temperature=t, pressure=p * PRESSURE), looks=300) for t, p in points
    )
    beta, pressed = (
        [f(t, p) / KB for t, p in points] for f in (lambda t, p: 1 / t, lambda t, p: p * PRESSURE * GPA / t)
    )
    agree(*slopes(loose[..., 1:2], tight[..., 1:2]), np.array([pressed[0] - pressed[1]]), 0.08)
    agree(*slopes(loose[..., :2], hot[..., :2]), np.array([beta[0] - beta[2], pressed[0] - pressed[2]]), 0.2)


@pytest.mark.slow
def test_density_of_the_lennard_jones_liquid_is_the_published_one():
    """NIST's Monte Carlo (SRSW, LJ cut at 3σ with long-range corrections): p* = 0.82386 at T* = 0.90, ρ* = 0.820.

    https://mmlapps.nist.gov/srs/LJ_PURE/mc.htm; the equation of state of Thol et al. (2016, doi:10.1063/1.4945000)
    gives p* = 0.8240 at that density. What our potential lacks beyond its onset enters as the mean-field pressure.
    """
    heat, density, pressure = 0.9, 0.82, 0.82386
    argon = load("lj", sigma=SIGMA, epsilon=EPSILON, cutoff=3.0 * SIGMA, onset=2.8 * SIGMA)
    applied = pressure - tail(argon, density)
    options = replace(
        FLUID, ensemble="npt", temperature=heat * EPSILON / KB, pressure=applied * PRESSURE, compressibility=1.8
    )
    melt = started(argon, [fluid(4, density)] * 3, replace(FLUID, ensemble="csvr", temperature=300.0), skin=1.0)
    melt.advance(600)  # the crystal would outlive the run
    liquid = started(argon, melt.current(), options, skin=1.0, room=1.25)
    liquid.advance(1000)
    volumes = []
    for _ in range(75):
        liquid.advance(40)
        volumes.append(np.linalg.det(np.asarray(liquid.motion.cell)))
    densities = 256 * SIGMA**3 / np.array(volumes).reshape(5, 15, 3).mean(axis=1)  # blocks of 3 ps
    agree(densities.mean(), densities.std() / np.sqrt(densities.size - 1), density, 0.004)


def tail(potential, density):
    """Pressure of the full potential that ours lacks, in reduced units, where the pair correlation is 1."""
    begin, end = 0.99 * potential.config.onset, potential.config.cutoff
    r = np.linspace(begin, end, 201)
    pairs = [System([18, 18], [[0, 0, 0], [0, 0, length]]) for length in r]
    ours = -np.array([known.forces[1, 2] for known in predict(potential, pairs, precision="float64")])

    def slope(length):
        return 4 * EPSILON * (6 * (SIGMA / length) ** 6 - 12 * (SIGMA / length) ** 12) / length

    missing = np.trapezoid(r**3 * (slope(r) - ours), r) + quad(lambda x: x**3 * slope(x), end, np.inf)[0]
    return -2 * np.pi / 3 * density**2 * missing / (EPSILON * SIGMA**3)
