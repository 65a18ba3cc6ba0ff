"""Samples drawn where they are wished for keep their exact density, and paths go through what a sampler knows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.coordinates.chart import chart_of
from ergodica.sampling.coordinates.internal import internal, placed
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.peptide_ensemble import draw_peptide
from ergodica.sampling.samplers.molecule.guidance import Restraint, log_restraints, read_restraint
from ergodica.sampling.samplers.molecule.network import InternalNetworkConfig, fresh_internal
from ergodica.sampling.samplers.molecule.paths import line, passage
from ergodica.sampling.samplers.molecule.sampler import InternalSampler
from ergodica.superposition import superposed
from ergodica.units import KB
from tests.sampling.test_internal_sampler import exact

HEAT = KB * 300.0


@pytest.fixture(scope="module")
def sampler(chain):
    """One that knows the springs of the chain and nothing of its dihedral angle."""
    rng, field = np.random.default_rng(0), chain.energy
    rest = [np.asarray(part) for part in internal(chain.plan, jnp.asarray(chain.positions))[:2]]
    springs = field.bonds.values[0, 0], field.angles.values[0, 0]  # all lengths are alike, and all angles
    lengths, angles = (
        at + np.sqrt(HEAT / spring) * rng.normal(size=(4000, len(at))) for at, spring in zip(rest, springs, strict=True)
    )
    turns = rng.uniform(-np.pi, np.pi, (4000, 1))
    positions = jax.jit(placed, static_argnums=0)(chain.plan, *map(jnp.asarray, (lengths, angles, turns)))
    chart, config = chart_of(chain.plan, np.asarray(positions)), InternalNetworkConfig(hidden=8, blocks=1)
    params = fresh_internal(config, chart.space, jax.random.key(0))
    return InternalSampler(config, Noise(0.02, 40.0), 300.0, chain.text, chart, field, params)


@pytest.fixture(scope="module")
def free(sampler):
    return draw_peptide(sampler, 1024, seed=1, steps=12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wish", "rare"),
    [
        ("dihedral:0,1,2,3=100,25", True),
        ("distance:0,3=1.95,0.15", False),
        ("gyration=0.95,0.03", False),
    ],
)
def test_weights_are_those_of_the_restrained_ensemble(sampler, free, wish, rare):
    """ln Z of the restrained ensemble from guided samples is that from free ones, of which few are where it is."""
    restraint = read_restraint(wish, 4)
    guided = draw_peptide(sampler, 1024, seed=2, steps=12, toward=[restraint])
    assert guided.folded == 0
    values = [np.asarray(restraint.measured(jnp.asarray(one.positions))) for one in (guided, free)]
    away = [np.asarray(restraint.log_weight(jnp.asarray(one))) > -2 for one in values]  # within two widths
    assert away[0].mean() > 1.5 * away[1].mean()
    wished = np.asarray(log_restraints([restraint], jnp.asarray(free.positions)))
    apart = np.exp(free.log_weights + wished - free.weighted.log_mean)
    expected, error = free.weighted.log_mean + np.log(apart.mean()), apart.std() / apart.mean() / np.sqrt(len(apart))
    found = guided.weighted
    assert abs(found.log_mean - expected) < 4 * np.hypot(error, found.log_mean_error) < 0.6
    assert found.pareto_k < 0.7
    if rare:
        assert found.log_mean_error < error
    free_again = np.exp(guided.log_weights - guided.log_restraints - found.log_mean)
    assert np.isfinite(free_again).all()


@pytest.mark.slow
def test_restrained_dihedral_angles_are_those_of_quadrature(sampler, chain):
    restraint = Restraint("dihedral", (0, 1, 2, 3), 1.2, 0.4)
    found = draw_peptide(sampler, 1024, seed=3, steps=12, toward=[restraint])
    turn = np.linspace(-np.pi, np.pi, 4001)
    height = sum(k * (1 + np.cos(n * turn - phase)) for k, n, phase in np.asarray(chain.energy.torsions.values))
    chance = np.exp(-height / HEAT)
    wished = chance * np.exp(np.asarray(restraint.log_weight(turn)))
    expected = exact(chain.energy)[0] + np.log(np.trapezoid(wished, turn) / np.trapezoid(chance, turn))
    assert abs(found.weighted.log_mean - expected) < 4 * found.weighted.log_mean_error < 0.4
    angles = np.asarray(restraint.measured(jnp.asarray(found.positions)))
    mean = found.average(np.sin(angles))[0]
    assert mean == pytest.approx(np.trapezoid(wished * np.sin(turn), turn) / np.trapezoid(wished, turn), abs=0.05)


@pytest.mark.slow
def test_two_restraints_hold_together(sampler):
    wishes = [read_restraint(text, 4) for text in ("dihedral:0,1,2,3=-90,20", "angle:0,1,2=108,4")]
    found = draw_peptide(sampler, 256, seed=4, steps=12, toward=wishes)
    for wish in wishes:
        values = np.asarray(wish.measured(jnp.asarray(found.positions)))
        assert found.weighted.weights @ values == pytest.approx(wish.value, abs=wish.width)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("dihedral:0,1,2=60,20", "of 4 different atoms"),
        ("distance:1,1=3,1", "different atoms"),
        ("distance:0,7=3,1", "no atom 7"),
        ("volume=3,1", "no property 'volume'"),
        ("gyration=3,0", "width above 0"),
        ("gyration=three", "can't be read"),
        ("distance:0,1=3", "can't be read"),
    ],
)
def test_restraints_that_mean_nothing_are_refused(text, hint):
    with pytest.raises(InputError, match=hint):
        read_restraint(text, 4)


@pytest.mark.slow
def test_a_path_leads_from_end_to_end_in_even_steps(sampler, free):
    turn = np.asarray(Restraint("dihedral", (0, 1, 2, 3), 0.0, 1.0).measured(jnp.asarray(free.positions)))
    ends = free.positions[[np.argmin(np.abs(turn - 1.0)), np.argmin(np.abs(turn + 2.0))]]
    found = passage(sampler, ends, points=9, steps=12)
    assert found.rmsd[0, 0] < 1e-3 and found.rmsd[-1, 1] < 1e-3
    steps = [superposed(one, other)[1] for one, other in zip(found.positions[1:], found.positions[:-1], strict=True)]
    assert max(steps) < 2 * np.mean(steps) and len(steps) >= 6
    energies = np.asarray(sampler.energy(jnp.asarray(found.positions)))
    np.testing.assert_allclose(found.energies, energies, atol=1e-3)
    with pytest.raises(InputError, match="at least 3"):
        passage(sampler, ends, points=2)
    with pytest.raises(InputError, match="of 4 atoms"):
        passage(sampler, ends[:, :3])
    with pytest.raises(WorkFailed, match="Structure 2 is none that the sampler"):
        passage(sampler, np.stack([ends[0], np.full((4, 3), np.nan)]), points=3)


def test_a_line_in_the_prior_keeps_its_radius_and_takes_the_shorter_way_round(sampler):
    space = sampler.chart.space
    ends = jnp.zeros((2, space.dimensions)).at[0, 0].set(3.0).at[1, 1].set(3.0)
    ends = ends.at[0, -1].set(0.45 * space.period).at[1, -1].set(-0.45 * space.period)
    found = np.asarray(line(sampler.chart, ends, jnp.linspace(0, 1, 5)))
    np.testing.assert_allclose(np.linalg.norm(found[:, : space.reals], axis=1), 3.0, atol=1e-5)
    assert (np.abs(found[:, -1]) > 0.44 * space.period).all()
