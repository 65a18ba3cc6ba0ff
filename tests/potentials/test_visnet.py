"""ViSNet alone: what its published form lacks, its heads, its arguments."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from ase.data import atomic_masses

from ergodica.errors import InputError
from ergodica.neighbors import find_edges, pack
from ergodica.nn.geometry import edge_vectors
from ergodica.potentials.heads import assemble
from ergodica.potentials.potential import Potential
from ergodica.potentials.visnet import ViSNetConfig
from ergodica.system import System
from tests.helpers.physics import ROOM, VISNETS, close, crossing, moved
from tests.helpers.small import CUTOFF, evaluate, random_crystal, random_molecule, random_rotation, small_potential

pytestmark = pytest.mark.usefixtures("x64")


@pytest.mark.slow
def test_published_form_jumps_at_the_cutoff():
    """The bias of s_proj leaves a message at the cut-off; if this passed the test above, that test would be blind."""
    energy, forces = crossing(small_potential(3, **VISNETS[3]), CUTOFF)
    assert energy > 1e-6
    assert forces > 1e-4


def stress_jump(softening: float, size: float) -> float:
    """Change of the shear virial of a perfect cubic crystal when a shear of this size changes its sign, eV."""
    potential = small_potential(softening=softening)
    shear = np.zeros((3, 3))
    shear[0, 1] = shear[1, 0] = 1.0
    cells = [np.eye(3) * 2.5 @ (np.eye(3) + sign * size * shear) for sign in (-1, 1)]
    below, above = evaluate(potential, [System([8], [[0, 0, 0]], c, np.ones(3, bool)) for c in cells], ROOM)
    return float(abs(above.virial[0, 1] - below.virial[0, 1]))


@pytest.mark.slow
def test_perfect_crystal_has_a_smooth_stress_and_the_published_form_a_cusp():
    """A smooth stress changes in proportion to the shear, a cusp by the same amount for every shear."""
    for softening, ratio in ((0.05, 100.0), (0.0, 1.0)):
        assert stress_jump(softening, 2e-5) == pytest.approx(ratio * stress_jump(softening, 2e-7), rel=0.05)


@pytest.mark.slow
def test_float32_agrees_with_float64():
    potential, systems = small_potential(**VISNETS[0]), [random_crystal(np.random.default_rng(4))]
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
