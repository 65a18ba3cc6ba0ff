"""What physics demands of ViSNet, over its options, in float64: symmetries, derivatives, continuity, padding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
import pytest
from ase.data import atomic_masses
from hypothesis import given, settings
from hypothesis import strategies as st

from ergodica.errors import InputError
from ergodica.neighbors import Capacity, capacity_for, find_edges, pack
from ergodica.nn.geometry import edge_vectors
from ergodica.potentials.heads import assemble
from ergodica.potentials.potential import Potential, derivatives
from ergodica.potentials.visnet import ViSNetConfig
from ergodica.system import System
from tests.helpers.small import CUTOFF, evaluate, random_crystal, random_molecule, random_rotation, small_potential

pytestmark = pytest.mark.usefixtures("x64")

ROOM = Capacity(48, 160, 6)  # one shape for all structures here, so that each network compiles once

OPTIONS = [  # every pair of options occurs in some row
    {"lmax": 1, "vertex": "none", "vecnorm": "none", "rbf": "expnorm", "smooth": True},
    {"lmax": 1, "vertex": "edge", "vecnorm": "max_min", "rbf": "gauss", "smooth": False},
    {"lmax": 1, "vertex": "node", "vecnorm": "rms", "rbf": "expnorm", "smooth": False},
    {"lmax": 2, "vertex": "none", "vecnorm": "max_min", "rbf": "expnorm", "smooth": False},
    {"lmax": 2, "vertex": "edge", "vecnorm": "rms", "rbf": "expnorm", "smooth": True},
    {"lmax": 2, "vertex": "node", "vecnorm": "none", "rbf": "gauss", "smooth": True},
    {"lmax": 1, "vertex": "none", "vecnorm": "rms", "rbf": "gauss", "smooth": True, "trainable_vecnorm": True},
    {"lmax": 2, "vertex": "edge", "vecnorm": "none", "rbf": "expnorm", "smooth": False, "trainable_rbf": True},
    {"lmax": 1, "vertex": "node", "vecnorm": "max_min", "rbf": "expnorm", "smooth": True, "activation": "ssp"},
]


def name_of(options: dict) -> str:
    """What pytest prints for a row of `OPTIONS`."""
    return "-".join(map(str, options.values()))


SMOOTH = [options for options in OPTIONS if options["smooth"]]
over_options = pytest.mark.parametrize("options", OPTIONS, ids=name_of)
seeds = st.integers(0, 10_000)


def moved(system: System, change: Callable[[np.ndarray], np.ndarray], cell: np.ndarray | None = None) -> System:
    """The structure with its positions changed, and its cell where given."""
    return replace(system, positions=change(system.positions), cell=system.cell if cell is None else cell)


def close(found: np.ndarray | float, expected: np.ndarray | float, tolerance: float = 1e-9) -> None:
    """Agreement relative to the largest of the expected numbers."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1.0, np.abs(expected).max()))


@over_options
@settings(max_examples=3)
@given(seed=seeds, periodic=st.booleans())
def test_symmetries(options, seed, periodic):
    rng = np.random.default_rng(seed)
    potential = small_potential(seed, **options)
    system = random_crystal(rng) if periodic else random_molecule(rng)
    turn, mirror = random_rotation(rng), random_rotation(rng, improper=True)
    order, shift = rng.permutation(len(system)), rng.normal(size=3) * 10
    other_images = rng.integers(-2, 3, (len(system), 3)) @ system.cell
    plain, rotated, mirrored, translated, permuted, imaged = evaluate(
        potential,
        [
            system,
            moved(system, lambda x: x @ turn.T, system.cell @ turn.T),
            moved(system, lambda x: x @ mirror.T, system.cell @ mirror.T),
            moved(system, lambda x: x + shift),
            replace(system, positions=system.positions[order], numbers=system.numbers[order]),
            moved(system, lambda x: x + other_images),
        ],
        ROOM,
    )
    for matrix, image in ((turn, rotated), (mirror, mirrored)):
        close(image.energy, plain.energy)
        close(image.forces, plain.forces @ matrix.T)
        close(image.virial, matrix @ plain.virial @ matrix.T)
    for same in (translated, imaged):
        close(same.atomic, plain.atomic)
        close(same.forces, plain.forces)
        close(same.virial, plain.virial)
    close(permuted.forces, plain.forces[order])
    close(permuted.atomic, plain.atomic[order])
    close(plain.forces.sum(axis=0), np.zeros(3))
    close(plain.virial, plain.virial.T)
    assert np.abs(plain.forces).max() > 1e-4  # the networks of this test do have forces


@over_options
def test_a_supercell_is_so_many_cells(options):
    rng = np.random.default_rng(11)
    system = random_crystal(rng)
    repeat = np.array([[2, 0, 0], [1, 3, 0], [0, 1, 1]])  # six cells, not along the axes
    corners = [(a, b, 0) for a in range(2) for b in range(3)]
    positions = np.concatenate([system.positions + np.array(corner) @ system.cell for corner in corners])
    large = System(np.tile(system.numbers, 6), positions, repeat @ system.cell, system.pbc)
    one, six = evaluate(small_potential(**options), [system, large], ROOM)
    close(six.energy, 6 * one.energy)
    close(six.forces, np.tile(one.forces, (6, 1)))
    close(six.virial, 6 * one.virial)


@over_options
def test_forces_and_stress_are_derivatives(options):
    potential, step = small_potential(**options), 1e-5
    for system in (random_crystal(np.random.default_rng(5)), random_molecule(np.random.default_rng(5))):
        (exact,) = evaluate(potential, [system], ROOM)
        scale = max(1.0, np.abs(exact.forces).max(), np.abs(exact.virial).max())
        for seed in range(2):  # random directions: a wrong component shows in all of them
            way = np.random.default_rng(seed).normal(size=(len(system), 3))
            strain = np.random.default_rng(seed).normal(size=(3, 3))
            ends = [moved(system, lambda x, s=s, way=way: x + s * step * way) for s in (1, -1)]
            strained = [np.eye(3) + s * step * strain for s in (1, -1)]
            ends += [moved(system, lambda x, m=m: x @ m.T, system.cell @ m.T) for m in strained]
            energies = [result.energy for result in evaluate(potential, ends, ROOM)]
            assert abs((energies[0] - energies[1]) / (2 * step) + (exact.forces * way).sum()) < 1e-6 * scale
            assert abs((energies[2] - energies[3]) / (2 * step) - (exact.virial * strain).sum()) < 1e-6 * scale


def crossing(potential: Potential, step: float = 1e-7) -> tuple[float, float]:
    """Jump of energy and forces as the third atom of a chain leaves the first one's sphere, relative to their sizes.

    The second atom goes on pulling, so what the forces account for is taken off the energy's change.
    """
    bent = np.array([[0.0, 0.0, 0.0], [1.1, 0.9, 0.2], [0.0, 0.0, 0.0]])
    direction = np.array([0.8, 0.36, 0.48])
    ends = [System([8, 6, 1], bent + np.outer([0, 0, 1], (CUTOFF + s * step) * direction)) for s in (-1, 1)]
    inside, outside = evaluate(potential, ends, ROOM)
    size = max(abs(inside.energy), 1.0), max(np.abs(inside.forces).max(), 1.0)
    work = (inside.forces[2] + outside.forces[2]) @ direction * step
    return abs(outside.energy - inside.energy + work) / size[0], np.abs(inside.forces - outside.forces).max() / size[1]


@pytest.mark.parametrize("options", SMOOTH, ids=name_of)
def test_energy_and_forces_are_continuous_at_the_cutoff(options):
    energy, forces = crossing(small_potential(3, **options))
    assert energy < 1e-12
    assert forces < 1e-5


def test_published_form_jumps_at_the_cutoff():
    """The bias of s_proj leaves a message at the cut-off; if this passed the test above, that test would be blind."""
    energy, forces = crossing(small_potential(3, **OPTIONS[3]))
    assert energy > 1e-6
    assert forces > 1e-4


@pytest.mark.parametrize("options", OPTIONS[3:6], ids=name_of)
def test_padding_and_company_change_nothing(options):
    rng = np.random.default_rng(2)
    potential = small_potential(**options)
    systems = [random_crystal(rng), random_molecule(rng), System([6], [[0.0, 0.0, 0.0]])]
    lists = [find_edges(s, CUTOFF) for s in systems]
    together = evaluate(potential, systems, capacity_for(systems, lists))
    for system, shared in zip(systems, together, strict=True):
        (alone,) = evaluate(potential, [system], ROOM)
        close(shared.atomic, alone.atomic, 1e-12)
        close(shared.forces, alone.forces, 1e-12)
        close(shared.virial, alone.virial, 1e-12)


def test_recomputing_changes_no_derivative():
    potential = small_potential(**OPTIONS[4])
    system = random_crystal(np.random.default_rng(3))
    edges = find_edges(system, CUTOFF)
    batch = pack([system], [edges], ROOM, loops=True)
    found, kept = (derivatives(potential.config, potential.params, batch, again) for again in (True, False))
    jax.tree.map(close, found, kept)


@over_options
def test_lone_atom_and_symmetric_sites_stay_finite(options):
    potential = small_potential(**options)
    cube = np.eye(3) * 2.5
    lone = System([8], [[1.0, 2.0, 3.0]])
    pair = System([1, 8], [[0, 0, 0], [0, 0, 0.9]])
    far = System([1, 8], [[0, 0, 0], [0, 0, 50.0]])
    results = evaluate(potential, [lone, pair, far], ROOM)
    for result in results:
        assert np.isfinite(result.forces).all() and np.isfinite(result.energy)
    assert not results[0].forces.any() and not results[2].forces.any()
    close(results[2].atomic[1], results[0].energy)
    if options["vecnorm"] == "none":  # the other norms divide by vectors that vanish by symmetry
        (crystal,) = evaluate(potential, [System([8], [[0.1, 0, 0]], cube, np.ones(3, bool))], ROOM)
        close(crystal.forces, np.zeros((1, 3)))
        close(crystal.virial, np.eye(3) * np.trace(crystal.virial) / 3)


def stress_jump(softening: float, size: float) -> float:
    """Change of the shear virial of a perfect cubic crystal when a shear of this size changes its sign, eV."""
    potential = small_potential(softening=softening)
    shear = np.zeros((3, 3))
    shear[0, 1] = shear[1, 0] = 1.0
    cells = [np.eye(3) * 2.5 @ (np.eye(3) + sign * size * shear) for sign in (-1, 1)]
    below, above = evaluate(potential, [System([8], [[0, 0, 0]], c, np.ones(3, bool)) for c in cells], ROOM)
    return float(abs(above.virial[0, 1] - below.virial[0, 1]))


def test_perfect_crystal_has_a_smooth_stress_and_the_published_form_a_cusp():
    """A smooth stress changes in proportion to the shear, a cusp by the same amount for every shear."""
    for softening, ratio in ((0.05, 100.0), (0.0, 1.0)):
        assert stress_jump(softening, 2e-5) == pytest.approx(ratio * stress_jump(softening, 2e-7), rel=0.05)


def test_float32_agrees_with_float64():
    potential, systems = small_potential(**OPTIONS[0]), [random_crystal(np.random.default_rng(4))]
    with jax.enable_x64(False):
        (single,) = evaluate(potential, systems, ROOM, np.float32)
    (double,) = evaluate(potential, systems, ROOM)
    assert single.forces.dtype == np.float32 and double.forces.dtype == np.float64
    close(single.forces, double.forces, 3e-5)
    close(single.energy, double.energy, 3e-5)


def property_of(potential: Potential, systems: list[System]) -> np.ndarray:
    """The head's property of every structure (of every atom for "vector")."""
    config = potential.config
    batch = pack(systems, [find_edges(s, CUTOFF) for s in systems], ROOM, dtype=np.float64)

    def function(params, batch):
        output = config.build().apply(params, batch.numbers, edge_vectors(batch), batch.neighbors)
        return assemble(config.head, output, batch, 1.7, atomic_masses)

    return np.asarray(jax.jit(function)(potential.params, batch))


@pytest.mark.parametrize("lmax", [1, 2])
@pytest.mark.parametrize("head", ["dipole", "extent", "vector"])
def test_heads(head, lmax):
    rng = np.random.default_rng(8)
    potential = small_potential(head=head, lmax=lmax)
    system, turn, order = random_molecule(rng), random_rotation(rng), rng.permutation(6)
    found = property_of(
        potential,
        [
            system,
            moved(system, lambda x: x @ turn.T),
            moved(system, lambda x: x + np.array([3.0, -50.0, 7.0])),
            replace(system, positions=system.positions[order], numbers=system.numbers[order]),
            System([6], [[1.0, 2.0, 3.0]]),
        ],
    )
    if head == "vector":
        plain, rotated, translated, permuted = found[:24].reshape(4, 6, 3)
        close(rotated, plain @ turn.T)
        close(permuted, plain[order])
        assert not found[24:].any()  # a lone atom has no direction, padding has nothing
    else:
        plain, rotated, translated, permuted, lone = found[:5]
        close(rotated, plain)
        close(permuted, plain)
        assert abs(lone) < 1e-12
    close(translated, plain, 1e-9)
    assert np.abs(plain).max() > 1e-3


def test_impossible_architectures_are_refused():
    for wrong, word in (({"hidden": 15}, "hidden"), ({"lmax": 3}, "lmax"), ({"cutoff": 0.0}, "cutoff")):
        with pytest.raises(InputError, match=word):
            ViSNetConfig(**wrong)


def test_strange_elements_are_refused_by_name():
    potential = small_potential()
    known = replace(potential, info=replace(potential.info, elements=("H", "C")))
    known.check_elements(np.array([1, 6]))
    with pytest.raises(InputError, match="holds O"):
        known.check_elements(np.array([1, 8]))
