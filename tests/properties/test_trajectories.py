"""What trajectories tell: exact cases, ASE's g(r), random walks, harmonic motion, correlated errors."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.geometry.rdf import get_rdf
from hypothesis import given, settings
from hypothesis import strategies as st

from ergodica.errors import InputError
from ergodica.properties.analysis import analyze
from ergodica.properties.frames import Frames, unwrapped
from ergodica.properties.statistics import autocorrelation, mean_of, slope_of, with_error
from ergodica.properties.structure import RadialCounts, radial_distribution
from ergodica.properties.transport import CM2_PER_S, LagSums, diffusion, mean_square_displacement
from ergodica.properties.vibrations import vibrations
from ergodica.units import FS, KB

RNG = np.random.default_rng(1)


def frames_of(positions, cell=None, interval=10.0, velocities=None, symbols=None):
    """A trajectory of argon, or of the elements given."""
    count = positions.shape[1]
    atoms = Atoms(symbols or f"Ar{count}", cell=cell, pbc=cell is not None)
    images = []
    for k, row in enumerate(positions):
        image = atoms.copy()
        image.positions = row
        if velocities is not None:
            image.set_velocities(velocities[k] / FS)
        image.info["time_fs"] = interval * k
        images.append(image)
    return Frames.from_ase(images)


def test_points_spread_evenly_have_no_structure():
    gas = frames_of(RNG.random((40, 60, 3)) * 12.0, 12.0 * np.eye(3))
    found = radial_distribution(gas, r_max=11.0, bins=11)  # beyond half the cell, too
    np.testing.assert_allclose(found.total.g[3:], 1 - 1 / 60, atol=0.04)


def test_shells_of_a_crystal():
    copper = bulk("Cu", a=3.6)
    found = radial_distribution(frames_of(copper.positions[None], copper.cell.array, symbols="Cu"), 6.0, 240)
    neighbors = found.total.neighbors[np.searchsorted(found.r, [3.0, 3.8, 4.6])]
    np.testing.assert_allclose(neighbors, [12, 18, 42])
    assert found.total.first_peak == pytest.approx(3.6 / np.sqrt(2), abs=0.03)
    assert found.total.coordination == 12


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31))
def test_distribution_is_ases_within_half_the_cell(seed):
    rng = np.random.default_rng(seed)
    cell = 9.0 * np.eye(3) + rng.normal(scale=0.8, size=(3, 3))
    atoms = Atoms("Ar20Kr10", rng.random((30, 3)) @ cell, cell=cell, pbc=True)
    found = radial_distribution(frames_of(atoms.positions[None], cell, symbols="Ar20Kr10"), 3.0, 15)
    np.testing.assert_allclose(found.total.g, get_rdf(atoms, 3.0, 15)[0], atol=1e-9)


def test_counts_may_come_frame_by_frame():
    gas = frames_of(RNG.random((6, 20, 3)) * 8.0, 8.0 * np.eye(3))
    one = RadialCounts(4.0, 20).add(gas).result()
    many = RadialCounts(4.0, 20)
    for k in range(6):
        many = many.add(gas[k : k + 1])
    np.testing.assert_allclose(many.result().total.g, one.total.g)


def walk(steps=4000, atoms=30, width=0.1, cell=None, seed=0):
    rng = np.random.default_rng(seed)
    return np.cumsum(rng.normal(scale=width, size=(steps, atoms, 3)), axis=0) + rng.random((1, atoms, 3)) * 10


def test_random_walk_diffuses_as_it_must():
    found = diffusion(frames_of(walk(), interval=10.0), remove_drift=False).elements["Ar"]
    exact = 0.1**2 / (2 * 10.0)  # <dx²> / 2 dt, Å²/fs
    assert found.diffusive and found.exponent == pytest.approx(1, abs=0.1)
    assert abs(found.coefficient.value - exact) < 4 * found.coefficient.error < exact
    assert CM2_PER_S * 1e-5 == pytest.approx(1e-16 / 1e-15 * 1e-5)


def test_held_atoms_don_t_move_the_others_frame():
    path = walk(atoms=15)
    path[:, 5:] = path[0, 5:]
    found = diffusion(frames_of(path, symbols="Ar5C10"))
    exact = 0.1**2 / (2 * 10.0)
    assert list(found.elements) == ["Ar"]
    assert abs(found.elements["Ar"].coefficient.value - exact) < 4 * found.elements["Ar"].coefficient.error < exact


def test_frames_of_two_spacings_keep_the_wider_one_and_others_are_refused():
    images = [Atoms("Ar", info={"time_fs": time}) for time in (0.0, 20.0, 40.0, 60.0, 80.0, 120.0, 160.0)]
    assert Frames.from_ase(images).times.tolist() == [0, 40, 80, 120, 160]
    images[-2].info["time_fs"], images[-1].info["time_fs"] = 130.0, 150.0
    with pytest.raises(InputError, match=r"20 fs apart, and 50 fs from frame 4 on"):
        Frames.from_ase(images)


def test_wrapped_atoms_are_followed_through_the_faces():
    cell = np.array([[9.0, 0, 0], [3.0, 8.0, 0], [1.0, 2.0, 10.0]])
    path = walk(200, 5)
    inside = path @ np.linalg.inv(cell)
    wrapped = frames_of((inside - np.floor(inside)) @ cell, cell)
    followed, largest = unwrapped(wrapped, remove_drift=False)
    np.testing.assert_allclose(followed - followed[0], path - path[0], atol=1e-9)
    assert 0 < largest < 0.2


def test_displacements_by_transform_are_those_of_the_definition():
    path = walk(50, 4)
    direct = [np.square(path[k:] - path[: len(path) - k]).sum(axis=2).mean() for k in range(20)]
    np.testing.assert_allclose(mean_square_displacement(path, 20), direct, atol=1e-9)
    sums = LagSums(window=20)
    for start in range(0, 50, 7):
        sums = sums.add(path[start : start + 7])
    np.testing.assert_allclose(sums.result(), direct, atol=1e-9)


def test_oscillator_has_its_line_and_its_degrees_of_freedom():
    times, terahertz = np.arange(4000) * 2.0, 7.5
    phase = 2 * np.pi * terahertz * 1e-3 * times[:, None, None] + RNG.random((1, 6, 3)) * 6
    velocity = 1e-3 * np.cos(phase)
    found = vibrations(frames_of(np.sin(phase), interval=2.0, velocities=velocity))
    assert found.frequencies[found.total.argmax()] == pytest.approx(terahertz, abs=0.05)
    assert np.trapezoid(found.total, found.frequencies) == pytest.approx(found.freedom, rel=1e-3)


def test_frames_farther_apart_than_the_window_have_a_spectrum_of_two_points():
    velocity = np.random.default_rng(0).normal(size=(16, 4, 3))
    found = vibrations(frames_of(np.zeros((16, 4, 3)), interval=1e4, velocities=velocity))
    assert len(found.lags) == 2 and np.isfinite(found.total).all()


def test_errors_know_of_correlation():
    noise, decay = RNG.normal(size=200_000), 0.9
    series = np.zeros_like(noise)
    for k in range(1, len(noise)):
        series[k] = decay * series[k - 1] + noise[k]
    time = (1 + decay) / (1 - decay)  # 2 τ
    found = mean_of(series)
    assert found.independent == pytest.approx(len(series) / time, rel=0.15)
    assert abs(found.value) < 4 * found.error
    np.testing.assert_allclose(autocorrelation(noise[:64, None])[0], np.mean(noise[:64] ** 2))
    line = slope_of(np.arange(1000.0), 0.5 * np.arange(1000.0) + noise[:1000])
    assert line.value == pytest.approx(0.5, abs=5 * line.error) and line.error < 1e-3


def test_numbers_with_errors_in_words():
    assert with_error(2.514, 0.118) == "2.51 ± 0.12"
    assert with_error(7.54e-5, 0.68e-5) == "(7.54 ± 0.68)e-5"
    assert with_error(3.0, float("nan")) == "3"


def test_temperature_and_pressure_of_an_ideal_gas():
    masses, cell = Atoms("Ar200").get_masses()[:, None], 40.0 * np.eye(3)
    momenta = RNG.normal(size=(60, 200, 3)) * np.sqrt(masses * KB * 300.0)
    gas = frames_of(RNG.random((60, 200, 3)) * 40.0, cell, velocities=momenta / masses * FS)
    found = analyze(gas)
    kelvin = found.thermodynamics.means["temperature_K"]
    assert kelvin.value == pytest.approx(300.0, abs=5 * kelvin.error) and kelvin.error < 5
    record = found.to_dict()
    assert record["n_frames"] == 60 and record["interval_fs"] == 10.0 and "temperature_error_K" in record


def test_what_is_missing_is_said():
    bare = frames_of(walk(30, 4))
    found = analyze(bare)
    assert found.radial is None and found.vibrations is None
    assert any("no g(r)" in one for one in found.warnings) and any("no momenta" in one for one in found.warnings)
    with pytest.raises(InputError, match="holds no Kr"):
        analyze(bare, elements=("Kr",))
    with pytest.raises(InputError, match="1 frame to analyse"):
        analyze(bare[:1])
    with pytest.raises(InputError, match="other atoms"):
        Frames.from_ase([Atoms("Ar"), Atoms("Kr")])
