"""Learned functionals: what must hold for any parameters, their file, and whom they refuse."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.dft import run
from ergodica.dft.functionals import energy
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.learned.atomic_reference import fit_linear, fit_quadratic
from ergodica.dft.learned.functional import (
    FunctionalConfig,
    LearnedFunctional,
    fresh_functional,
    load_functional,
    save_functional,
)
from ergodica.dft.learned.layout import Layout, Radial, index_table, tabulated
from ergodica.dft.learned.network import NetworkConfig
from ergodica.dft.minimize import MinimizeOptions
from ergodica.dft.molecule import make_molecule
from ergodica.dft.properties import forces, hirshfeld_charges, quadrupole
from ergodica.dft.run import DensityOptions, minimize_density
from ergodica.dft.start import atomic_start
from ergodica.errors import InputError
from ergodica.potentials.potential import Info
from ergodica.system import System
from ergodica.units import BOHR

pytestmark = pytest.mark.usefixtures("x64")

CONFIG = FunctionalConfig(("H", "O"), network=NetworkConfig(8, 4, 1, 2, Radial(6.0, 4)), formulas=("H2O",))
WATER = DensityBasis((8, 1, 1))
POSITIONS = np.array([[0.0, 0.1, 0.2], [0.0, 1.43, -0.9], [0.2, -1.4, -0.8]])
COEFFICIENTS = 0.1 * np.random.default_rng(2).normal(size=WATER.size)
prepared = jax.jit(make_molecule, static_argnums=0)
evaluated = jax.jit(energy)


@pytest.fixture(scope="module")
def functional() -> LearnedFunctional:
    """Random parameters, none of them zero."""
    fresh = fresh_functional(CONFIG, jax.random.key(0))
    random = np.random.default_rng(0)
    full = jax.tree.map(lambda leaf: jnp.asarray(leaf + 0.1 * random.normal(size=leaf.shape)), fresh)
    present = CONFIG.layout.present[:, [0, 1, 4, 9, 16]]
    tables = full.reference
    reference = replace(
        tables,
        coefficients=tables.coefficients * present[:, :, None],
        gradient=tables.gradient * present[:, :, None],
        whitening=tables.whitening * present[..., None] * present[:, :, None],
    )
    return replace(full, reference=reference)


def turned(positions: np.ndarray, coefficients: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """A molecule and its density with x, y, z turned into y, z, x: the harmonics' matrix from points on the sphere."""
    from ergodica.dft.gaussians.solid_harmonics import solid_harmonics

    points = jnp.asarray(np.random.default_rng(1).normal(size=(40, 3)))
    found = []
    for before, after in zip(solid_harmonics(points, 4), solid_harmonics(jnp.roll(points, 1, axis=1), 4), strict=True):
        found.append(np.linalg.lstsq(np.asarray(after), np.asarray(before), rcond=None)[0])
    matrix = np.zeros((25, 25))
    for degree, block in enumerate(found):
        matrix[degree**2 : (degree + 1) ** 2, degree**2 : (degree + 1) ** 2] = block
    index = index_table(CONFIG.layout, WATER)
    table = np.einsum("mp,npk->nmk", matrix, tabulated(jnp.asarray(coefficients), index))
    return jnp.roll(positions, 1, axis=1), jnp.zeros(WATER.size + 1).at[index].set(table)[:-1]


def test_energies_are_invariant(functional: LearnedFunctional) -> None:
    here = float(evaluated(COEFFICIENTS, prepared(WATER, POSITIONS), functional))
    places, coefficients = turned(POSITIONS, COEFFICIENTS)
    assert float(evaluated(coefficients, prepared(WATER, places), functional)) == pytest.approx(here, abs=1e-9)
    assert float(evaluated(COEFFICIENTS, prepared(WATER, POSITIONS + 3.0), functional)) == pytest.approx(here, abs=1e-9)
    swap = np.r_[0:116, 136:156, 116:136]  # the hydrogens
    swapped = prepared(WATER, POSITIONS[np.array([0, 2, 1])])
    assert float(evaluated(COEFFICIENTS[swap], swapped, functional)) == pytest.approx(here, abs=1e-9)
    assert abs(float(evaluated(coefficients, prepared(WATER, POSITIONS), functional)) - here) > 1e-3


@pytest.mark.slow
def test_targets_differ_by_what_is_computed(functional: LearnedFunctional) -> None:
    """The network's energy is the same; APBE and PBE energies stand beside it, or not."""
    from ergodica.dft.functionals import Semilocal

    molecule, positive = prepared(WATER, POSITIONS), jnp.asarray(atomic_start(WATER, 10.0))
    own = functional.terms(positive, molecule)["kinetic+xc"]
    rest = jax.jit(Semilocal("apbe", "pbe").terms)(positive, molecule)
    for target, kinetic in (("T_S-T_APBE", own + rest["kinetic"]), ("T_S", own)):
        other = replace(functional, config=replace(CONFIG, target=target))
        found = jax.jit(LearnedFunctional.terms)(other, positive, molecule)
        assert other.on_grid and set(found) == {"kinetic", "xc"}
        assert float(found["kinetic"]) == pytest.approx(float(kinetic), abs=1e-9)
        assert float(found["xc"]) == pytest.approx(float(rest["xc"]), abs=1e-9)


def test_forces_are_those_of_finite_differences(functional: LearnedFunctional) -> None:
    along = jnp.asarray(np.random.default_rng(4).normal(size=(3, 3)))
    step = 1e-4
    up, down = (
        float(evaluated(COEFFICIENTS, prepared(WATER, POSITIONS + sign * step * along), functional)) for sign in (1, -1)
    )
    molecule = prepared(WATER, POSITIONS)
    pull = forces(molecule, COEFFICIENTS, functional)
    assert float(-jnp.sum(pull * along)) == pytest.approx((up - down) / (2 * step), rel=1e-6)


def test_padding_changes_nothing(functional: LearnedFunctional) -> None:
    natural = tabulated(jnp.asarray(COEFFICIENTS), index_table(CONFIG.layout, WATER))
    species = CONFIG.layout.species(np.array(WATER.numbers))
    each = jax.jit(LearnedFunctional.atom_energies)
    energies = each(functional, species, jnp.ones(3), POSITIONS, natural)
    padded = each(
        functional,
        jnp.append(species, 0),
        jnp.asarray([1.0, 1.0, 1.0, 0.0]),
        jnp.concatenate([POSITIONS, jnp.zeros((1, 3))]),
        jnp.concatenate([natural, jnp.zeros_like(natural[:1])]),
    )
    np.testing.assert_allclose(padded[:3], energies, rtol=0, atol=1e-4)  # weights of attention have 1e-6 in them
    assert float(padded[3]) == 0.0


def test_the_file_gives_the_functional_back(functional: LearnedFunctional, tmp_path) -> None:
    path = tmp_path / "functional.safetensors"
    save_functional(path, functional, Info(name="toy", elements=("H", "O")))
    back, info = load_functional(path)
    assert back.config == CONFIG and info.name == "toy"
    for one, two in zip(jax.tree.leaves(back), jax.tree.leaves(functional), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(InputError, match="no functional 'nothing'"):
        load_functional("nothing")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="not a complete"):
        load_functional(path)


def test_superposed_atoms_are_neutral_and_moved_charge_is_found() -> None:
    """Hirshfeld charges are those of free atoms where nothing has moved; a shell of one more electron makes an ion."""
    free = atomic_start(WATER, 10.0)
    neutral = hirshfeld_charges(WATER, POSITIONS, free, free)
    np.testing.assert_allclose(neutral, 0.0, atol=2e-3)
    far = POSITIONS + np.array([[0.0, 0.0, 0.0], [0.0, 20.0, 0.0], [0.0, -20.0, 0.0]])
    more = np.where(WATER.atom == 1, 1.5 * free, free)
    charges = hirshfeld_charges(WATER, far, more, free)
    np.testing.assert_allclose(charges, [0.0, -0.5, 0.0], atol=2e-3)


def test_quadrupoles_are_traceless_and_do_not_depend_on_the_origin() -> None:
    found = quadrupole(WATER, POSITIONS, COEFFICIENTS)
    shift = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(quadrupole(WATER, POSITIONS + shift, COEFFICIENTS), found, atol=1e-9)
    assert abs(np.trace(found)) < 1e-10 and np.abs(found).max() > 0.1
    round_about = quadrupole(DensityBasis((8,)), np.zeros((1, 3)), atomic_start(DensityBasis((8,)), 8.0))
    np.testing.assert_allclose(round_about, 0.0, atol=1e-12)


@pytest.mark.slow
def test_molecules_side_by_side_end_where_they_end_alone(functional: LearnedFunctional, tmp_path, monkeypatch) -> None:
    """Three in batches of two, the second of which is padded, with one of another kind among them."""
    path = tmp_path / "random.safetensors"
    save_functional(path, functional, Info("random"))
    numbers, places = np.array([8, 1, 1]), POSITIONS * BOHR
    waters = [System(numbers, places * stretch) for stretch in (0.97, 1.0, 1.03)]
    turned_round = System(numbers[::-1].copy(), places[::-1].copy())
    options = DensityOptions(str(path), minimize=MinimizeOptions(steps=6))
    alone = minimize_density([*waters, turned_round], options)
    monkeypatch.setitem(run.BATCH, "cpu", 2)
    together = minimize_density([waters[0], turned_round, *waters[1:]], options)
    for one, other in zip([alone[0], alone[3], alone[1], alone[2]], together, strict=True):
        assert one.iterations == other.iterations
        assert one.energy == pytest.approx(other.energy, abs=1e-8)
        np.testing.assert_allclose(one.system.labels.forces, other.system.labels.forces, atol=1e-6)


def test_strangers_are_refused(functional: LearnedFunctional) -> None:
    def of(*numbers: int) -> System:
        return System(np.array(numbers), np.eye(len(numbers), 3))

    assert not functional.is_strange(of(1, 8, 1))
    assert functional.is_strange(of(1, 1), force=True)
    with pytest.raises(InputError, match="is H2, but this functional was trained on H2O: use --force"):
        functional.is_strange(of(1, 1))
    ions = replace(functional, config=replace(functional.config, formulas=("HO-", "H3O+")))
    assert not ions.is_strange(replace(of(1, 8), charge=-1)) and not ions.is_strange(replace(of(8, 1, 1, 1), charge=1))
    assert ions.is_strange(of(1, 8, 1), force=True) and ions.is_strange(replace(of(1, 8), charge=1), force=True)
    with pytest.raises(InputError, match=r"is H2O 2\+, but .* was trained on HO-, H3O\+"):
        ions.is_strange(replace(of(1, 8, 1), charge=2))
    general = replace(functional, config=replace(functional.config, formulas=()))
    assert not general.is_strange(of(1, 1)) and general.is_strange(replace(of(1, 8), charge=-1), force=True)
    for one in (functional, general):
        with pytest.raises(InputError, match="holds C, an element"):
            one.is_strange(of(6, 8), force=True)


def test_the_table_holds_every_coefficient_once() -> None:
    basis = DensityBasis((1, 6, 8))
    layout = Layout((1, 6, 8))
    index = index_table(layout, basis)
    assert sorted(index[index < basis.size]) == list(range(basis.size))
    np.testing.assert_array_equal(index < basis.size, layout.present[[0, 1, 2]].astype(bool))


def test_fits_find_what_is_there() -> None:
    from ergodica.dft.learned.atomic_reference import Ground, Response

    random, layout = np.random.default_rng(0), Layout((1,))
    truth = random.normal(size=(1, 3, 5, 6)) * layout.present[:, [0, 1, 4]][:, :, None]
    around = random.normal(size=(40, 2, 9, 5))
    values = np.einsum("gnmc,mck->gnmk", around, truth[0][layout.degree])
    grounds = [Ground(np.zeros(2, int), a, v) for a, v in zip(around, values, strict=True)]
    np.testing.assert_allclose(fit_linear(layout, grounds), truth, atol=1e-3)
    half = random.normal(size=(6, 6))
    stiff = half @ half.T / 6 + 2 * np.eye(6)
    slopes = random.normal(size=(50, 2, 9, 6)) * layout.present[0]
    moved = np.where(layout.degree[:, None] == 0, slopes @ np.linalg.inv(stiff), 0.0)
    found = fit_quadratic(layout, [Response(np.zeros(2, int), moved, slopes)])
    np.testing.assert_allclose(found[0, 0], stiff, atol=1e-3)
    np.testing.assert_allclose(np.linalg.eigvalsh(found[0, 1][:3, :3]), 50.0, rtol=1e-6)  # what can't be moved is stiff


def test_atoms_out_of_sight_add_nothing(functional: LearnedFunctional) -> None:
    places = np.concatenate([POSITIONS + shift * np.eye(3)[0] for shift in (0.0, 4.0, 11.0, 15.0)])
    species, everyone = functional.config.layout.species(np.tile([8, 1, 1], 4)), np.ones(12)
    present = functional.config.layout.present[species]
    natural = 0.1 * present * np.random.default_rng(5).normal(size=present.shape)
    others = functional.sight(places)
    assert others.shape == (12, 8) and (others == 12).any()

    def total(places: jax.Array, others: np.ndarray | None) -> jax.Array:
        return jnp.sum(functional.atom_energies(species, everyone, places, natural, others))

    slopes = jax.jit(jax.value_and_grad(total))
    energy, slope = slopes(places, None)
    found, found_slope = slopes(places, others)
    assert float(found) == pytest.approx(float(energy), abs=1e-10)
    np.testing.assert_allclose(found_slope, slope, atol=1e-10)


@pytest.mark.slow
def test_a_functional_of_small_clusters_knows_a_larger_one():
    """(H2O)4 of liquid water, learnt on up to three; own PySCF labels, PBE/6-31G(2df,p)."""
    places = [
        [0.0, 0.0, 0.0], [0.2414, 0.5508, 0.7719], [-0.8241, -0.4502, 0.3032],
        [-4.1845, 3.5796, -0.8794], [-4.0868, 4.1516, -0.139], [-4.2453, 2.6311, -0.4735],
        [-0.6238, 4.366, 3.2798], [0.3, 4.503, 3.4819], [-0.607, 3.8273, 2.4282],
        [2.4807, -3.622, -2.6106], [1.8547, -4.3347, -2.6991], [2.0124, -3.1579, -1.845],
    ]  # fmt: skip
    cluster = System(np.tile([8, 1, 1], 4), np.array(places))
    with pytest.raises(InputError, match="force"):
        minimize_density(cluster, DensityOptions("ofdft-water-clusters"))
    found = minimize_density(cluster, DensityOptions("ofdft-water-clusters", start="sad", force=True))[0]
    assert found.converged and found.iterations < 40 and found.extrapolated
    assert found.energy == pytest.approx(-305.32896, abs=1e-3)
    assert np.linalg.norm(found.dipole - [-1.030, -1.354, 3.595]) < 1.0
