"""What physics demands of every network, over its options, in float64: symmetries, derivatives, continuity, padding."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ergodica.neighbors import capacity_for, find_edges, pack
from ergodica.potentials.potential import derivatives
from ergodica.system import System
from tests.helpers.physics import GEOFORMERS, GRAPHORMERS, M3GNETS, ROOM, VISNETS, close, crossing, moved
from tests.helpers.small import CUTOFF, evaluate, random_crystal, random_molecule, random_rotation, small_potential

pytestmark = pytest.mark.usefixtures("x64")


def name_of(options: dict) -> str:
    """What pytest prints for a row of options."""
    return "-".join(map(str, options.values()))


OFTEN = [VISNETS[row] for row in (4, 5, 6, 7, 8)]
"""The rows of ViSNet of the fast suite, with every option in one of them; the slow suite runs every pair of options."""


def rows(networks: list[dict]) -> list:
    """Cases of a test."""
    slow = [options in VISNETS and options not in OFTEN for options in networks]
    return [
        pytest.param(options, marks=[pytest.mark.slow] * later, id=name_of(options))
        for options, later in zip(networks, slow, strict=True)
    ]


NETWORKS = [*VISNETS, *GEOFORMERS, *GRAPHORMERS, *M3GNETS]
over_options = pytest.mark.parametrize("options", rows(NETWORKS))
seeds = st.integers(0, 10_000)


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


@pytest.mark.parametrize("options", rows([one for one in NETWORKS if one.get("smooth", True)]))
def test_energy_and_forces_are_continuous_at_the_cutoff(options):
    energy, forces = crossing(small_potential(3, **options), CUTOFF)
    assert energy < 1e-12
    assert forces < 1e-5


def test_energy_and_forces_are_continuous_where_angles_begin_to_count():
    energy, forces = crossing(small_potential(3, **M3GNETS[0]), M3GNETS[0]["threebody_cutoff"])
    assert energy < 1e-12
    assert forces < 1e-5


@pytest.mark.parametrize("options", [*VISNETS[3:6], *GEOFORMERS, *GRAPHORMERS, *M3GNETS], ids=name_of)
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


slow = [pytest.param(options, marks=pytest.mark.slow) for options in (VISNETS[4], GRAPHORMERS[0], M3GNETS[0])]


@pytest.mark.parametrize("options", [*slow, GEOFORMERS[0]], ids=name_of)
def test_recomputing_changes_no_derivative(options):
    potential = small_potential(**options)
    system = random_crystal(np.random.default_rng(3))
    edges = find_edges(system, CUTOFF)
    batch = pack([system], [edges], ROOM, dtype=np.float64)
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
    if options.get("vecnorm", "none") == "none":  # the other norms divide by vectors that vanish by symmetry
        (crystal,) = evaluate(potential, [System([8], [[0.1, 0, 0]], cube, np.ones(3, bool))], ROOM)
        close(crystal.forces, np.zeros((1, 3)))
        close(crystal.virial, np.eye(3) * np.trace(crystal.virial) / 3)


def test_a_core_keeps_atoms_apart():
    """Whatever the network says, two atoms repel each other more and more."""
    dimers = [System([14, 8], np.array([[0.0, 0, 0], [distance, 0, 0]])) for distance in (0.8, 0.5, 0.2, 0.05)]
    found = evaluate(small_potential(**M3GNETS[-1]), dimers, ROOM)
    push = [one.forces[1, 0] for one in found]
    assert push[0] > 10 and push == sorted(push)
    assert found[-1].energy > 10_000
