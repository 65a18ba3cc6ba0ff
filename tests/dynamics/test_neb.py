"""Nudged elastic bands: ASE's barriers, a surface whose path is known, symmetry, held atoms, what may go wrong."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, bulk, fcc100, molecule
from ase.calculators.emt import EMT as PeerEMT
from ase.constraints import FixAtoms
from ase.mep import NEB as PeerNEB
from ase.optimize import BFGS
from ase.optimize import FIRE as PeerFIRE
from scipy.spatial.transform import Rotation

from ergodica import load, neb
from ergodica.dynamics.band import Ends, Reply, descend, start_walk, tangents
from ergodica.dynamics.descent import RESTED, Goal
from ergodica.dynamics.interpolation import idpp, straight, unwrapped
from ergodica.dynamics.relax import Relaxed
from ergodica.errors import InputError, WorkFailed
from ergodica.system import System

EMT = load("emt")


def hop(uneven=False):
    """Start and end of an adatom's hop over a bridge, two layers held; uneven: over copper, from or to it."""
    slab = fcc100("Al", size=(2, 2, 3))
    add_adsorbate(slab, "Au", 1.7, "hollow")
    slab.center(axis=2, vacuum=4.0)
    if uneven:
        slab.symbols[4] = "Cu"
    slab.set_constraint(FixAtoms(mask=[atom.tag > 1 for atom in slab]))
    other = slab.copy()
    other.positions[-1, 0] += slab.cell[0, 0] / 2
    for atoms in (slab, other):
        atoms.calc = PeerEMT()
        BFGS(atoms, logfile=None).run(fmax=0.005)
    return slab, other


def as_ase_does(start, end, images):
    """Energies along the path that ASE finds."""
    path = [start, *(start.copy() for _ in range(images)), end]
    for atoms in path[1:-1]:
        atoms.calc = PeerEMT()
    band = PeerNEB(path, climb=True, method="improvedtangent", k=1.0)
    band.interpolate(mic=True)
    assert PeerFIRE(band, logfile=None).run(fmax=0.02, steps=300)
    return np.array([atoms.get_potential_energy() for atoms in path])


@pytest.fixture(scope="module")
def even():
    """An even hop and the path we find."""
    start, end = hop()
    return start, end, neb(EMT, start, end, images=3, fmax=0.01, precision="float64")


def test_barriers_are_ases():
    start, end = hop(uneven=True)
    energies = as_ase_does(start, end, 3)
    found = neb(EMT, start, end, images=3, fmax=0.02, precision="float64")
    assert found.converged and found.climbed and not found.failure and not found.warnings
    assert found.barrier == pytest.approx(energies.max() - energies[0], abs=1e-3)
    assert found.reverse_barrier == pytest.approx(energies.max() - energies[-1], abs=1e-3)
    assert found.reaction_energy == pytest.approx(energies[-1] - energies[0], abs=1e-6)
    assert abs(found.reaction_energy) > 0.01  # or the test would not tell forth from back


def test_the_saddle_has_no_force(even):
    found = even[2]
    saddle = found.images[found.saddle]
    assert found.saddle == 2 and np.linalg.norm(saddle.labels.forces[~saddle.fixed], axis=1).max() <= 0.01


def test_a_symmetric_path_has_symmetric_energies_and_held_atoms_stay(even):
    start, _, found = even
    np.testing.assert_allclose(found.energies, found.energies[::-1], atol=1e-5)
    np.testing.assert_allclose(found.slopes, -found.slopes[::-1], atol=1e-3)
    np.testing.assert_allclose(np.diff(found.distances), np.diff(found.distances)[::-1], atol=1e-3)
    held = found.images[0].fixed
    assert held.sum() == 8
    for image in found.images:
        np.testing.assert_array_equal(image.positions[held], start.positions[held])


def test_labels_are_the_models_and_the_curve_passes_through_them(even):
    found = even[2]
    for image in found.images:
        check = image.to_ase()
        check.calc = PeerEMT()
        assert image.labels.energy == pytest.approx(check.get_potential_energy(), abs=1e-9)
        np.testing.assert_allclose(image.labels.forces, check.get_forces(apply_constraint=False), atol=1e-9)
    s, energy = found.curve(points=1001)
    np.testing.assert_allclose(np.interp(found.distances, s, energy), found.energies, atol=1e-5)
    assert energy.max() == pytest.approx(found.energies.max(), abs=1e-3)


def test_a_whole_path_may_be_given_and_periodic_images_do_not_matter(even):
    found = even[2]
    images = [image.to_ase() for image in found.images]
    images[1].positions += images[1].cell[0]
    images[2].wrap()
    again = neb(EMT, *images, fmax=0.02, precision="float64")
    assert again.converged and again.steps < found.steps
    assert again.barrier == pytest.approx(found.barrier, abs=1e-3)
    np.testing.assert_allclose(again.distances, found.distances, atol=0.02)


def test_nothing_climbs_where_there_is_no_barrier():
    far, near = (Atoms("Ar2", [[0, 0, 0], [0, 0, length]]) for length in (3.2, 2.245))
    found = neb(load("lj", sigma=2.0, epsilon=0.2), far, near, images=3)
    assert found.converged and not found.climbed
    assert any("no saddle" in warning for warning in found.warnings)


def test_what_does_not_converge_says_so(even):
    start, end, _ = even
    found = neb(EMT, start, end, images=3, steps=1, fmax=1e-4, precision="float64")
    assert not found.converged and found.steps == 1 and found.fmax > 1e-4 and not found.failure
    assert len(found.images) == 5 and np.isfinite(found.energies).all()


@pytest.mark.usefixtures("x64")
def test_a_surface_with_a_known_path(images=4):
    """V = h sin²θ + k/2 (r - 1)²: minima at (±1, 0), the path is the circle, the saddle (0, 1) of height h."""
    height, stiff = 0.7, 30.0

    def value(x):
        a, b = x[:, 0, 0], x[:, 0, 1]
        radius = jnp.sqrt(a**2 + b**2)
        return height * (b / radius) ** 2 + stiff / 2 * (radius - 1) ** 2

    def field(x):
        return Reply(value(x), -jax.grad(lambda y: value(y).sum())(x), ())

    first, last = (np.array([[side, 0.0, 0.0]]) for side in (-1.0, 1.0))
    ends = Ends(first, last, np.zeros(2), np.ones(1), np.float64(1.0), np.array(True))
    x = np.zeros((images, 1, 3))
    x[:, 0, 0] = np.linspace(-1, 1, images + 2)[1:-1]
    x[:, 0, 1] = 0.5 * (1 - x[:, 0, 0] ** 2)
    walk = start_walk(x, (), np.float64)
    block = jax.jit(lambda walk: descend(field, lambda _: jnp.array(False), ends, walk, Goal(1e-4, 2000)))
    while int(walk.status) == 1:
        walk = block(walk)
    assert int(walk.status) == RESTED and bool(walk.climbing)
    found = np.asarray(walk.last)[:, 0]
    top = value(np.asarray(walk.last)).argmax()
    np.testing.assert_allclose(found[top], [0, 1, 0], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=0.03)  # chords are not tangents
    assert np.all(np.diff(found[:, 0]) > 0.05)


@pytest.mark.usefixtures("x64")
def test_tangents_point_uphill_and_stay_defined():
    path = np.zeros((4, 1, 3))
    path[:, 0] = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [2, 1, 0]]
    x, y = np.eye(3)[:2]
    rising = tangents(jnp.asarray(path), jnp.asarray([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(rising[:, 0], [y, x])
    falling = tangents(jnp.asarray(path), jnp.asarray([3.0, 2.0, 1.0, 0.0]))
    np.testing.assert_allclose(falling[:, 0], [x, y])
    peak = np.asarray(tangents(jnp.asarray(path), jnp.asarray([0.0, 3.0, 2.0, 2.5])))[0, 0]
    np.testing.assert_allclose(peak, (3 * y + 1 * x) / np.sqrt(10))
    assert np.isfinite(np.asarray(tangents(jnp.asarray(path), jnp.zeros(4)))).all()


def test_the_idpp_path_keeps_atoms_apart():
    """Two atoms change places: straight lines lead them through each other, distances between distances do not."""
    first = System([29] * 3, [[0, 0, 0], [2.5, 0.05, 0], [1.25, 0, 6.0]])
    last = replace(first, positions=[[2.5, 0, 0], [0, -0.05, 0], [1.25, 0, 6.0]])
    apart = [np.linalg.norm(x[:, 0] - x[:, 1], axis=1).min() for x in (straight(first, last, 5), idpp(first, last, 5))]
    assert apart[0] < 0.2 and apart[1] > 1.5


def test_ends_that_do_not_fit_are_refused():
    start = bulk("Cu", cubic=True)
    start.symbols[0] = "Au"
    moved = start.copy()
    moved.positions[1] += 0.5
    fine, order, cell, held = moved, moved.copy(), moved.copy(), moved.copy()
    order.symbols[[0, 1]] = ["Cu", "Au"]
    cell.set_cell(1.1 * cell.cell.array)
    held.set_constraint(FixAtoms([1]))
    pinned = start.copy()
    pinned.set_constraint(FixAtoms([1]))
    cases = [
        ((start, moved[:3]), "4 and 3 atoms"),
        ((start, order), "another order: atom 0 is Au in the one and Cu"),
        ((start, bulk("Cu", cubic=True)), "different elements"),
        ((start, cell), "fixed cell"),
        ((start, held), "hold different atoms fixed"),
        ((pinned, held), "Atom 1 is fixed"),
        ((start, start), "the same structure"),
        ((start, fine, fine), "the same structure"),
        ((start,), "two structures"),
        ((Atoms("Fe2", [[0, 0, 0], [2, 0, 0]]), Atoms("Fe2", [[0, 0, 0], [3, 0, 0]])), "holds Fe"),
    ]
    for structures, words in cases:
        with pytest.raises(InputError, match=words):
            neb(EMT, *structures)


@pytest.mark.parametrize("changes", [{"images": 0}, {"fmax": 0}, {"spring": -1}, {"start": "spline"}, {"climbs": True}])
def test_options_that_make_no_sense(changes):
    with pytest.raises(InputError):
        neb(EMT, Atoms("Cu"), Atoms("Cu"), **changes)


def test_ends_that_are_no_minima_are_told(even):
    lifted = even[1].copy()
    lifted.positions[-1, 2] += 0.2
    found = neb(EMT, even[0], lifted, images=3, steps=0, precision="float64")
    assert len(found.warnings) == 1 and "end" in found.warnings[0] and not found.converged


def test_a_search_that_is_stopped_gives_the_path_so_far(even):
    found = neb(EMT, even[0], even[1], images=3, precision="float64", fmax=1e-9, report=lambda now: now.steps > 0)
    assert not found.converged and "was stopped" in found.failure and found.steps > 0 and len(found.images) == 5
    assert np.isfinite(found.energies).all()


def test_ends_that_do_not_relax_are_a_failure(monkeypatch):
    ends = [System([29, 29], [[0, 0, 0], [0, 0, d]]) for d in (2.3, 2.5)]
    monkeypatch.setattr("ergodica.dynamics.neb.relax", lambda *_, **__: [Relaxed(one, False, 7, 0.3) for one in ends])
    with pytest.raises(WorkFailed, match=r"did not come to rest: after 7 steps a force of 0\.3 eV/Å"):
        neb(EMT, *ends, relax_ends=True)


def test_free_molecules_are_laid_onto_each_other():
    """The same molecule turned and shifted is no path; turned by a hydrogen alone, it is one of that length."""
    peroxide = System.from_ase(molecule("H2O2"))
    shift, turn = np.array([3.0, -1.0, 2.0]), Rotation.from_euler("xyz", [70, 160, -40], degrees=True)
    with pytest.raises(InputError, match="the same structure"):
        unwrapped([peroxide, replace(peroxide, positions=turn.apply(peroxide.positions) + shift)])
    bent = peroxide.positions.copy()
    bent[-1] += [0.3, 0.1, 0.2]
    away = replace(peroxide, positions=turn.apply(bent) + shift)
    found = unwrapped([peroxide, away])[1].positions
    assert np.linalg.norm(found - peroxide.positions) <= np.linalg.norm(bent - peroxide.positions)
    distances = [np.linalg.norm(x[:, None] - x, axis=-1) for x in (found, bent)]
    np.testing.assert_allclose(*distances, atol=1e-10)
    held = replace(peroxide, fixed=np.array([True, False, False, False]))
    with pytest.raises(InputError, match="is fixed, but"):
        unwrapped([held, replace(held, positions=away.positions)])


def test_unwrapping_follows_the_nearest_image():
    cell = np.array([[3.0, 0, 0], [1.0, 3.0, 0], [0, 0, 3.0]])
    one = System([29], [[0.1, 0.1, 0.1]], cell, np.ones(3, bool))
    two = replace(one, positions=[[0.1, 0.1, 2.9]])
    np.testing.assert_allclose(unwrapped([one, two])[1].positions, [[0.1, 0.1, -0.1]], atol=1e-12)
