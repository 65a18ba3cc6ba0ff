"""Atoms above surfaces: the energy against ASE's, exact densities, symmetries of the sampler, training, bad input."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc100, fcc111
from ase.calculators.emt import EMT
from hypothesis import given, settings
from hypothesis import strategies as st

from ergodica import load
from ergodica.errors import InputError
from ergodica.sampling.adsorption import AdatomOptions, adsorb
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.reweighting import reweight
from ergodica.sampling.energies.surfaces import Surface, surface_height, surface_of, visitor
from ergodica.sampling.samplers.adatoms.alloys import AlloyOptions, alloys
from ergodica.sampling.samplers.adatoms.network import AdatomNetworkConfig
from ergodica.sampling.samplers.adatoms.sampler import (
    AdatomSampler,
    adatom_log_density,
    draw_adatoms,
    load_adatoms,
    save_adatoms,
)
from ergodica.sampling.samplers.adatoms.score import Above, AdatomDenoiser, fresh_params
from ergodica.sampling.samplers.adatoms.training import AdatomData, AdatomTask, AdatomTraining, known
from ergodica.sampling.walks.density_map import MapOptions, draw_states, energies_at, energy_map
from ergodica.training.loop import run_task
from ergodica.training.options import OptimizerOptions, RunOptions
from ergodica.units import KB

SMALL = AdatomNetworkConfig(hidden=8, vectors=4, layers=2, radial=6)
NOISE = Noise(0.02, 5.0, 7.0)
HEAT = KB * 300.0


@lru_cache
def mixed() -> Atoms:
    """A shaken alloy surface without any symmetry."""
    slab = fcc111("Cu", (3, 3, 3), vacuum=8.0)
    slab.symbols[[20, 25, 12]] = "Pt"
    slab.symbols[[22, 7]] = "Ag"
    slab.rattle(0.05, seed=1)
    return slab


def random_sampler(seed: int = 0) -> AdatomSampler:
    """Parameters at random everywhere, the last layers included."""
    params = fresh_params(SMALL, jax.random.key(seed))
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    leaves = [leaf + 0.3 * rng.normal(size=leaf.shape).astype(leaf.dtype) for leaf in leaves]
    metals = ("Ag", "Cu", "Pt")
    return AdatomSampler(SMALL, NOISE, metals, ("O", "H"), (200.0, 700.0), jax.tree.unflatten(tree, leaves))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.sampled_from(["H", "C", "N", "O", "Pd"]))
def test_energies_are_those_of_ase(seed, symbol):
    """With the atom anywhere, also in another cell, less those without it."""
    slab, rng = mixed(), np.random.default_rng(seed)
    x = np.append(rng.uniform(-9, 9, size=2), rng.uniform(0.8, 4.0))
    visited = slab + Atoms(symbol, positions=[x + np.array([0, 0, surface_height(slab.positions[:, 2])])])
    alone = Atoms(symbol)
    energies = []
    for atoms in (visited, slab.copy(), alone):
        atoms.calc = EMT()
        energies.append(atoms.get_potential_energy())
    with jax.enable_x64(True):
        found = float(visitor(surface_of(slab), int(alone.numbers[0]))(jnp.asarray(x)))
    assert found == pytest.approx(energies[0] - energies[1] - energies[2], abs=1e-9)


@pytest.mark.slow
def test_the_density_is_boltzmanns_and_sites_of_a_metal_are_alike():
    """Nine hollows of either kind; a finer grid has the same free energy; states have the mean energy of the grid."""
    energy = visitor(surface_of(fcc111("Cu", (3, 3, 4), vacuum=8.0)), 8)
    fine, found = energy_map(energy, 300.0, MapOptions(0.1, 0.04)), energy_map(energy, 300.0)
    assert found.log_partition == pytest.approx(fine.log_partition, abs=2e-3)
    chance = np.exp(found.log_density) * found.volume
    assert chance.sum() == pytest.approx(1.0)
    assert found.lateral.mean() * float(found.surface.area) == pytest.approx(1.0)
    assert len(found.sites) == 18
    shares = [site.probability for site in fine.sites]
    assert max(shares) / min(shares) < 1.15 and sum(shares) == pytest.approx(1.0)
    x, forces = draw_states(found, energy, 4000, np.random.default_rng(0))
    energies = energies_at(energy, x)
    expected = np.sum(np.exp(fine.log_density) * fine.energies) * fine.volume
    assert energies.mean() == pytest.approx(expected, abs=4 * energies.std() / len(x) ** 0.5)
    assert np.all(np.abs(forces.mean(axis=0)) < 4 * forces.std(axis=0) / len(x) ** 0.5)


def test_populations_of_a_grid_that_misses_the_wells_are_not_given():
    slab, grid = fcc111("Cu", (3, 3, 2), vacuum=8.0), MapOptions(0.3, 0.08)
    fine, coarse = (adsorb(slab, AdatomOptions("O", temperature, grid=grid)) for temperature in (600.0, 5.0))
    assert fine.reliable and not coarse.reliable and coarse.normalisation_error > 0.02


@pytest.mark.parametrize("step", [0.05, 0.15, 0.25])
def test_the_error_of_coarse_heights_is_foreseen(step):
    """As large as that against a fine grid, or larger; populations are not given where it is large."""
    slab = fcc111("Cu", (3, 3, 2), vacuum=8.0)
    found, fine = (adsorb(slab, AdatomOptions("O", grid=MapOptions(0.3, h, 0.6, 3.0))) for h in (step, 0.02))
    wrong = abs(np.expm1(found.found.log_partition - fine.found.log_partition))
    assert wrong <= found.normalisation_error + 1e-3
    assert found.reliable == (step < 0.1)


def test_a_grid_that_ends_where_the_atom_is_is_refused():
    energy = visitor(surface_of(fcc111("Cu", (3, 3, 3), vacuum=8.0)), 8)
    with pytest.raises(InputError, match="highest points"):
        energy_map(energy, 300.0, MapOptions(0.4, 0.1, 0.5, 1.7))


def test_any_potential_gives_the_same_density():
    slab, options = fcc111("Cu", (3, 3, 2), vacuum=8.0), AdatomOptions("O", grid=MapOptions(1.3, 0.2, 0.6, 3.0))
    quick = adsorb(slab, options)
    potential = load("emt")
    other = adsorb(slab, options, replace(potential, info=replace(potential.info, name="another")))
    np.testing.assert_allclose(other.found.log_density, quick.found.log_density, rtol=1e-5, atol=5e-3)
    assert quick.normalisation == 1.0 and quick.drawn is None
    assert not quick.reliable  # upon a grid as coarse as that


def scores(surface: Surface, x: np.ndarray, sigma: float = 0.4) -> np.ndarray:
    sampler = random_sampler()
    return np.asarray(sampler.denoiser(surface, 8, 300.0).score(jnp.asarray(x, jnp.float32), jnp.asarray(sigma)))


@pytest.mark.slow
def test_scores_repeat_turn_and_reflect_with_the_slab():
    slab, rng = mixed(), np.random.default_rng(2)
    surface = surface_of(slab)
    x = np.column_stack([rng.uniform(0, 7, size=(5, 2)), rng.uniform(1.0, 2.5, size=5)])
    found = scores(surface, x)
    assert np.abs(found).max() > 0.1
    away = np.append(np.array([2, -1]) @ np.asarray(surface.lattice), 0.0)
    np.testing.assert_allclose(scores(surface, x + away), found, atol=2e-4)
    np.testing.assert_allclose(scores(surface_of(slab.repeat((2, 1, 1))), x), found, atol=2e-4)
    angle = 0.7
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [np.sin(angle), -np.cos(angle), 0], [0, 0, 1.0]])
    turned = slab.copy()
    turned.positions, turned.cell = slab.positions @ turn, np.asarray(slab.cell) @ turn
    np.testing.assert_allclose(scores(surface_of(turned), x @ turn), found @ turn, atol=2e-4)


@pytest.mark.slow
def test_an_untrained_sampler_is_uniform_in_the_plane():
    """Its score is that of the Gaussian in height that is taken off before the network; its density is known."""
    sampler = replace(random_sampler(), params=fresh_params(SMALL, jax.random.key(0)))
    surface = surface_of(mixed())
    x = np.array([[0.0, 0.0, 1.7], [3.0, 1.0, 2.0], [9.0, -4.0, 1.2]])
    found = adatom_log_density(sampler.denoiser(surface, 8, 300.0), x, NOISE)
    expected = Above(jnp.asarray(surface.lattice)).log_prior(jnp.asarray(x), NOISE.smallest)
    np.testing.assert_allclose(found, expected, atol=0.01)


@pytest.mark.slow
def test_weights_of_an_untrained_sampler_give_the_exact_free_energy():
    """Densities of samples are exact whatever the network is: the mean weight is the partition function."""
    sampler = replace(random_sampler(), params=fresh_params(SMALL, jax.random.key(0)))
    energy = visitor(surface_of(mixed()), 8)
    hot = replace(sampler, temperatures=(200.0, 9000.0))
    drawn = draw_adatoms(hot, energy, 3000.0, 4000, steps=6)
    found = reweight(-drawn.energies / (KB * 3000.0) - drawn.log_density)
    exact = energy_map(energy, 3000.0, MapOptions(0.2, 0.08, 0.0, 9.0)).log_partition
    assert abs(found.log_mean - exact) < 4 * found.log_mean_error + 0.02
    assert found.log_mean_error < 0.1


@pytest.mark.slow
def test_training_goes_on_where_it_stopped(tmp_path):
    slabs = AlloyOptions(count=2, size=(3, 3, 2), relax=False)
    data = AdatomData(slabs, replace(slabs, count=1, seed=1), ("O",), states=32, places=8, steps=4)
    states = [known(data, slabs) for slabs in (data.train, data.validation)]
    run = RunOptions(epochs=3, batch_size=2, steps_per_call=2, checkpoint_minutes=0)

    def stop(numbers):
        if numbers["step"] > 4:
            raise KeyboardInterrupt

    def trained(name, **options):
        config = AdatomTraining(SMALL, data, OptimizerOptions(warmup=2), run, output=str(tmp_path / name))
        return run_task(lambda: AdatomTask(config, *states), config.output, **options)

    whole = trained("whole")
    with pytest.raises(KeyboardInterrupt):
        trained("parts", report=stop)
    parts = trained("parts", resume=True)
    one, other = (jax.tree.leaves(load_adatoms(outcome.checkpoint).params) for outcome in (whole, parts))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_files_keep_everything(tmp_path):
    sampler = random_sampler()
    save_adatoms(tmp_path / "s.safetensors", sampler)
    again = load_adatoms(tmp_path / "s.safetensors")
    assert (again.config, again.noise, again.metals, again.visitors) == (SMALL, NOISE, ("Ag", "Cu", "Pt"), ("O", "H"))
    for one, other in zip(jax.tree.leaves(sampler.params), jax.tree.leaves(again.params), strict=True):
        np.testing.assert_array_equal(one, other)


def test_alloys_keep_apart_what_is_held_out():
    slabs = alloys(AlloyOptions(count=40, relax=False, held_out=("CuPd", "AgPt")))
    for slab in slabs:
        symbols = set(slab.get_chemical_symbols())
        assert not {"Cu", "Pd"} <= symbols and not {"Ag", "Pt"} <= symbols
    assert {len(set(slab.numbers)) for slab in slabs} == {1, 2, 3}


@pytest.mark.parametrize(
    ("slab", "number", "message"),
    [
        (Atoms("Cu4", positions=np.eye(4)[:, :3]), 8, "repeats along its first two"),
        (fcc111("Fe", (3, 3, 2), a=3.6, vacuum=8.0), 8, "has no Fe"),
        (fcc111("Cu", (1, 1, 2), vacuum=8.0), 8, "meet its own images"),
        (fcc100("Cu", (3, 3, 2), vacuum=1.0, periodic=True), 8, "vacuum above"),
        (fcc111("Cu", (3, 3, 2), vacuum=8.0), 92, "has no U"),
    ],
)
def test_unsuitable_slabs_are_refused(slab, number, message):
    with pytest.raises(InputError, match=message):
        visitor(surface_of(slab), number)


@pytest.mark.parametrize(
    ("number", "temperature", "slab", "message"),
    [
        (7, 300.0, mixed(), "atoms above them of O H, not on N"),
        (8, 100.0, mixed(), "between 200 and 700 K"),
        (8, 300.0, fcc111("Au", (3, 3, 2), vacuum=8.0), "slabs of Ag Cu Pt, not on Au"),
        (8, 300.0, fcc111("Cu", (2, 2, 2), vacuum=8.0), "repeat the slab"),
    ],
)
def test_what_a_sampler_was_not_trained_for_is_refused(number, temperature, slab, message):
    with pytest.raises(InputError, match=message):
        random_sampler().denoiser(surface_of(slab), number, temperature)


@pytest.mark.slow
def test_a_denoiser_moves_by_the_score():
    denoiser: AdatomDenoiser = random_sampler().denoiser(surface_of(mixed()), 8, 300.0)
    x = jnp.array([[1.0, 2.0, 1.5]])
    np.testing.assert_allclose(denoiser(x, jnp.asarray(0.3)), x + 0.09 * denoiser.score(x, jnp.asarray(0.3)), rtol=1e-6)
