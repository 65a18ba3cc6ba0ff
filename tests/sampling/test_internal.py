"""Internal coordinates and charts: there and back, volumes, trees."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.io import read
from scipy.sparse import coo_array
from scipy.sparse.csgraph import shortest_path

from ergodica.errors import InputError
from ergodica.sampling.coordinates.chart import chart_of
from ergodica.sampling.coordinates.internal import distant, internal, log_volume, placed, tree
from ergodica.sampling.peptides import read_peptide
from ergodica.sampling.samplers.molecule.network import InternalDenoiser, InternalNetworkConfig, fresh_internal
from ergodica.units import KB
from tests.sampling.conftest import PEPTIDES

SMALL = InternalNetworkConfig(hidden=16, blocks=1)
HEAT = KB * 300.0


pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def peptide():
    return read_peptide(PEPTIDES / "alanine.pdb", PEPTIDES / "alanine-vacuum.xml")


@pytest.fixture(scope="module")
def shaken(peptide):
    rng = np.random.default_rng(0)
    return peptide.positions + 0.08 * rng.normal(size=(200, *peptide.positions.shape))


def test_positions_come_back_from_internal_coordinates(peptide, shaken):
    plan = peptide.plan
    there = jax.jit(internal, static_argnums=0)(plan, jnp.asarray(shaken[:5]))
    assert [part.shape[1] for part in there] == [21, 20, 19]
    back = jax.jit(placed, static_argnums=0)(plan, *there)
    for one, other in zip(np.asarray(back), shaken[:5], strict=True):
        distances = np.linalg.norm(one[:, None] - one, axis=-1)
        np.testing.assert_allclose(distances, np.linalg.norm(other[:, None] - other, axis=-1), atol=1e-10)
        handed = np.linalg.det(one[[6, 10, 14]] - one[8]) * np.linalg.det(other[[6, 10, 14]] - other[8])
        assert handed > 0
    atoms = read(PEPTIDES / "alanine.pdb")
    atoms.positions = shaken[0]
    for number, (atom, known) in enumerate(zip(plan.atoms[3:], plan.references, strict=True)):
        degrees = atoms.get_dihedral(atom, *known)
        assert np.cos(np.radians(degrees) - there[2][0, number]) == pytest.approx(1, abs=1e-9)


def test_the_volume_is_the_determinant_of_the_jacobian(peptide, shaken):
    plan = peptide.plan
    parts = [part[0] for part in internal(plan, jnp.asarray(shaken[:1]))]
    start = jnp.concatenate(parts)

    def flat(values):
        return placed(plan, *jnp.split(values, [21, 41])).reshape(-1)

    jacobian, places = np.asarray(jax.jacfwd(flat)(start)), np.asarray(flat(start)).reshape(-1, 3)
    moved = np.stack([np.tile(axis, len(places)) for axis in np.eye(3)], axis=1)
    turned = np.stack([np.cross(axis, places).ravel() for axis in np.eye(3)], axis=1)
    whole = np.linalg.slogdet(np.concatenate([jacobian, moved, turned], axis=1))[1]
    assert whole == pytest.approx(float(log_volume(*parts[:2])), abs=1e-8)


def test_charts_have_unit_covariance_and_lead_back(peptide, shaken):
    chart = chart_of(peptide.plan, shaken)
    assert chart.space.dimensions == 60 and chart.space.angles == len(chart.rotors)
    x = chart.coordinates(jnp.asarray(shaken))
    stiff = np.asarray(x[:, : chart.space.reals])
    np.testing.assert_allclose(np.cov(stiff.T), np.eye(stiff.shape[1]), atol=1e-6)
    np.testing.assert_allclose(chart.coordinates(chart.positions(x)), x, atol=1e-8)
    slope = jnp.linalg.slogdet(jax.jacfwd(lambda x: jnp.concatenate(_internal(chart, x)))(x[0]))[1]
    lengths, angles, _ = _internal(chart, x[0])
    assert float(chart.log_volume(x[0])) == pytest.approx(float(slope + log_volume(lengths, angles)), abs=1e-8)
    assert float(chart.log_volume(x[0] + 1e3)) == -np.inf
    assert chart_of(peptide.plan, shaken, (0, 3)).rotors == (0, 3)


def _internal(chart, x):
    return internal(chart.plan, chart.positions(x))


def test_distant_pairs_are_more_than_three_bonds_apart(peptide):
    ends = np.asarray(peptide.energy.bonds.atoms).T
    bonded = coo_array((np.ones(len(ends[0])), ends), shape=(22, 22))
    expected = np.nonzero(np.triu(shortest_path(bonded, directed=False, unweighted=True) > 3))
    assert {*zip(*distant(peptide.plan), strict=True)} == {*zip(*expected, strict=True)}


@pytest.mark.slow
def test_networks_that_see_distances_are_finite_at_any_noise(peptide, shaken):
    chart = chart_of(peptide.plan, shaken)
    config = replace(SMALL, distances=True)
    params = fresh_internal(config, chart.space, jax.random.key(0), chart)
    params = jax.tree.map(lambda leaf: leaf + 0.01, params)
    x = 20.0 * jax.random.normal(jax.random.key(1), (8, 60))
    one, other = (InternalDenoiser(params, chart.space, config, chart)(x, sigma) for sigma in (0.02, 20.0))
    assert np.isfinite(one).all() and np.isfinite(other).all()


def test_trees_are_of_one_molecule():
    assert tree(4, [(0, 1), (1, 2), (2, 3)]).proper == (True,)
    assert tree(5, [(0, 1), (0, 2), (0, 3), (0, 4)]).proper == (False, False)
    with pytest.raises(InputError, match="at least four"):
        tree(3, [(0, 1), (1, 2)])
    with pytest.raises(InputError, match="one molecule"):
        tree(5, [(0, 1), (1, 2), (2, 3)])
