"""Dispersion, cores and charges: against s-dftd3 and Madelung, and as additions to any model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

import ergodica.potentials
from ergodica import load, predict
from ergodica.errors import InputError
from ergodica.neighbors import Capacity, find_edges, pack
from ergodica.nn.geometry import edge_vectors, safe_norm
from ergodica.nn.narrow import narrowed, within
from ergodica.potentials import EnergyScale, add, combine, dispersion, with_core, with_dispersion
from ergodica.potentials.combine import member
from ergodica.potentials.dispersion import FUNCTIONALS, D3Config
from ergodica.potentials.modelfile import load_model, save_model
from ergodica.potentials.potential import atom_energies, derivatives, narrow_width
from ergodica.potentials.property import PropertyConfig
from ergodica.system import System
from ergodica.units import BOHR, HARTREE
from tests.helpers.small import random_crystal, random_molecule, small_potential

GOLDEN = json.loads((Path(__file__).parents[1] / "reference" / "d3_golden.json").read_text())
DATA = Path(ergodica.potentials.__file__).parent / "data"


def reference(case):
    """The structure of a case."""
    cell = (case["cell"], np.ones(3, bool)) if case["cell"] else ()
    return System(case["numbers"], case["positions"], *cell)


def agrees(cases, cutoff, cn_cutoff, precision="float64", tolerance=5e-7):
    """Energies, eV, forces and virials to the rounding of the reference data."""
    d3 = load("d3", functional=cases[0]["functional"], cutoff=cutoff, cn_cutoff=cn_cutoff, width=0.0)
    systems = [reference(case) for case in cases]
    for case, system, found in zip(cases, systems, predict(d3, systems, precision=precision), strict=True):
        assert found.energy == pytest.approx(case["energy_eV"], abs=tolerance)
        np.testing.assert_allclose(found.forces, case["forces_eV_per_A"], atol=tolerance)
        if case["cell"]:
            np.testing.assert_allclose(found.stress * system.volume, case["virial_eV"], atol=10 * tolerance)


def test_dispersion_of_molecules_is_s_dftd3s():
    agrees(GOLDEN["cases"][:2], 40.0, 40.0)


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 5e-7), ("float32", 2e-6)])
def test_dispersion_of_crystals_is_s_dftd3s(precision, tolerance):
    agrees(GOLDEN["cases"][2:], GOLDEN["cutoff_A"], GOLDEN["cn_cutoff_A"], precision, tolerance)


@pytest.mark.usefixtures("x64")
def test_parameters_of_functionals_are_s_dftd3s():
    """The formula once more, from coefficients that are known to be right."""
    system = reference(GOLDEN["cases"][1])
    known, numbers = dispersion.reference(), system.numbers
    vectors = system.positions[:, None] - system.positions[None]
    r = np.linalg.norm(vectors, axis=-1) + np.eye(len(system)) * 1e3
    bond = 4 / 3 * (known.radii[numbers][:, None] + known.radii[numbers])
    count = (1 / (1 + np.exp(-16 * (bond / r - 1)))).sum(axis=1)
    u, signs = (np.asarray(part) for part in dispersion.coefficients(jnp.asarray(numbers), jnp.asarray(count)))
    ratio = 3 * np.outer(known.charges[numbers], known.charges[numbers])
    for name, energy in GOLDEN["functionals_eV"].items():
        s6, s8, a1, a2 = D3Config(name).parameters
        inner = a1 * np.sqrt(ratio) + a2
        pairs = s6 / ((r / BOHR) ** 6 + inner**6) + s8 * ratio / ((r / BOHR) ** 8 + inner**8)
        found = -0.5 * HARTREE * np.sum((u * signs) @ u.T * pairs * (r < 100))
        assert found == pytest.approx(energy, abs=1e-6), name
    assert set(GOLDEN["functionals_eV"]) == set(FUNCTIONALS)


def test_the_data_are_what_their_readme_says():
    digest = hashlib.sha256((DATA / "d3.npz").read_bytes()).hexdigest()
    assert digest in (DATA / "README.md").read_text()


def test_dispersion_fades_smoothly_and_forces_are_its_slope():
    d3 = load("d3", functional="b3lyp", cutoff=6.0, cn_cutoff=4.5, width=1.5)
    r = np.linspace(2.5, 6.2, 200)
    found = predict(d3, [Atoms("CBr", [[0, 0, 0], [0, 0, one]]) for one in r], precision="float64")
    energy, force = np.array([one.energy for one in found]), np.array([one.forces[1, 2] for one in found])
    work = np.concatenate([[0.0], np.cumsum(0.5 * (force[1:] + force[:-1]) * np.diff(r))])
    np.testing.assert_allclose(energy[0] - energy, work, atol=2e-5)
    assert np.all(energy[r >= 6.0] == 0) and np.abs(np.diff(force)).max() < 0.05 * np.abs(force).max()


def test_own_parameters_are_taken():
    assert D3Config(damping=(1.0, 0.9, 0.3, 2.8)).parameters == (1.0, 0.9, 0.3, 2.8)


def test_the_madelung_constant_of_rock_salt():
    salt = bulk("NaCl", "rocksalt", a=5.64)
    (found,) = predict(load("coulomb", charges={"Na": 1, "Cl": -1}, cutoff=20.0), salt, precision="float64")
    assert -found.energy * 2.82 / (HARTREE * BOHR) == pytest.approx(1.747565, abs=2e-4)
    np.testing.assert_allclose(found.forces, 0, atol=1e-10)
    assert np.trace(found.stress) / 3 * salt.get_volume() == pytest.approx(-found.energy / 3, rel=2e-3)  # E ~ 1/a


def test_plain_charges_obey_coulombs_law():
    charges = {"method": "plain", "charges": {"Mg": 2.0, "O": -2.0}}
    (found,) = predict(load("coulomb", **charges), Atoms("MgO", [[0, 0, 0], [0, 0, 1.7]]), precision="float64")
    assert found.energy == pytest.approx(-4 * HARTREE * BOHR / 1.7, rel=1e-12)
    assert found.forces[1, 2] == pytest.approx(-4 * HARTREE * BOHR / 1.7**2, rel=1e-12)


def _by_part(whole, model, batch):
    """Derivatives of a sum, of its model with the model's own scale, and of its terms."""
    params, own = (jax.tree.map(jnp.asarray, one.params) for one in (whole, model))
    found = derivatives(whole.config, params, batch)
    bare = derivatives(model.config, own, batch)
    bare = jax.tree.map(lambda leaf: leaf * model.energy_scale.scale, bare)
    return found, [bare, *(derivatives(term, {}, batch) for term in whole.config.terms)]


def _sums_up(found, parts):
    for one, *several in zip(found, *parts, strict=True):
        np.testing.assert_allclose(one, sum(several), atol=1e-9 * max(1.0, np.abs(one).max()))
    assert all(np.abs(part.forces).max() > 1e-4 for part in parts)


SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in ("graphormer", "geoformer")]
OPTIONS = {"m3gnet": {"threebody_cutoff": 2.4}}


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", ["visnet", "m3gnet", *SLOW])
def test_the_energy_scale_goes_into_the_last_layer(kind):
    scale = EnergyScale(0.3, 1.5, {"C": -7.0})
    model = replace(small_potential(kind=kind, **OPTIONS.get(kind, {})), energy_scale=scale)
    whole = with_core(model)
    assert whole.energy_scale == replace(scale, scale=1.0) and whole.config.in_ev and whole.config.model == model.config
    system = random_molecule(np.random.default_rng(5))
    batch = pack([system], [find_edges(system, 3.0)], loops=model.config.loops, dtype=np.float64)
    output = jax.jit(lambda params: atom_energies(model.config, params, batch, edge_vectors(batch)))
    np.testing.assert_allclose(output(whole.params), 0.3 * output(model.params), rtol=1e-12)


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", ["visnet", "m3gnet", "graphormer", "geoformer"])
def test_a_sum_is_the_sum(kind):
    model = replace(small_potential(kind=kind, **OPTIONS.get(kind, {})), energy_scale=EnergyScale(0.3))
    whole = add(model, load("d3", cutoff=5.0, cn_cutoff=4.0), load("zbl", reach=0.9))
    rng = np.random.default_rng(5)
    systems = [random_molecule(rng), random_molecule(rng)]
    batch = pack(systems, [find_edges(one, 5.0) for one in systems], loops=whole.config.loops, dtype=np.float64)
    _sums_up(*jax.jit(lambda batch: _by_part(whole, model, batch))(batch))


@pytest.mark.usefixtures("x64")
def test_lists_are_cut_down_without_loss():
    """A model with few neighbours of many sees a shorter list, unless atoms crowd so that they would not fit there."""
    model = load("lj", sigma=1.2, epsilon=0.1, cutoff=2.2, onset=1.9)
    whole = with_dispersion(model, cutoff=12.0)
    rng = np.random.default_rng(1)
    spread = np.argwhere(np.ones((5, 5, 5))) * 1.8 + 0.2 * rng.random((125, 3))
    clump = np.vstack([0.75 * np.argwhere(np.ones((3, 3, 3))), spread[:98] + 4.0])
    run = jax.jit(lambda batch: _by_part(whole, model, batch))
    widest = []
    for positions in (spread, clump):
        system = System(rng.choice([1, 6, 8], 125), positions)
        edges = find_edges(system, 12.0)
        widest.append(int(np.bincount(find_edges(system, 2.2).receivers).max()))
        _sums_up(*run(pack([system], [edges], Capacity(125, 125, 1), loops=False, dtype=np.float64)))
    assert widest[0] <= narrow_width(125, 2.2 / 12.0) < widest[1]  # both ways have been gone


def test_a_narrowed_list_is_a_list():
    system = random_crystal(np.random.default_rng(3), 8)
    batch = pack([system], [find_edges(system, 5.0)], loops=True)
    near = within(safe_norm(edge_vectors(batch)), batch.neighbors, 3.0)
    width = int(np.asarray(near).sum(axis=1).max())
    found = jax.jit(narrowed, static_argnums=2)(batch.neighbors, near, width)
    known = pack([system], [find_edges(system, 3.0)], loops=True).neighbors
    assert found.index.shape == known.index.shape and int(found.mask.sum()) == int(known.mask.sum())
    flat, reverse = np.asarray(found.mask).reshape(-1), np.asarray(found.reverse).reshape(-1)
    np.testing.assert_array_equal(reverse[reverse], np.arange(len(reverse)))
    row = np.arange(len(reverse)) // width
    np.testing.assert_array_equal(np.asarray(found.index).reshape(-1)[reverse[flat]], row[flat])
    shifts = np.asarray(found.shift).reshape(-1, 3)
    np.testing.assert_array_equal(shifts[reverse], -shifts)


def test_a_sum_survives_its_file(tmp_path):
    sums = [
        add(load("emt"), load("zbl", reach=0.6), load("coulomb", charges={"Cu": 0.5, "Au": -0.5}, cutoff=5.0)),
        with_dispersion(small_potential(), "pbe0"),
    ]
    for whole in sums:
        save_model(tmp_path / "sum.safetensors", whole)
        again = load_model(tmp_path / "sum.safetensors")
        assert again.config == whole.config and again.info == whole.info and again.energy_scale == whole.energy_scale
        jax.tree.map(np.testing.assert_array_equal, again.params, whole.params)
    assert sums[0].info.elements == ("Cu", "Au") and sums[0].info.name == "emt+zbl+coulomb"


def test_a_core_leaves_bonds_alone_and_keeps_atoms_apart():
    core = with_core(load("lj")).config.terms[0]
    several = [molecule(name) for name in ("N2", "CO", "C2H2", "H2O", "HCN", "F2")]
    close = Atoms("C2", [[0, 0, 0], [0, 0, 0.5]])
    *bonded, apart = predict(replace(load("zbl"), config=core), [*several, close])
    assert all(one.energy == 0 for one in bonded)
    assert apart.energy > 50 and apart.forces[1, 2] > 100


@pytest.mark.slow
def test_members_of_an_ensemble_get_the_terms_one_by_one():
    members = [
        replace(small_potential(seed), energy_scale=EnergyScale(0.2 + 0.1 * seed, 0.0, {"C": -1.0 * seed}))
        for seed in range(2)
    ]
    first, then = combine([with_dispersion(one) for one in members]), with_dispersion(combine(members))
    for index, one in enumerate(members):
        for many in (first, then):
            own, expected = member(many, index), with_dispersion(one)
            assert own.config == expected.config and own.energy_scale.scale == pytest.approx(1)
            assert own.energy_scale.reference["C"] == pytest.approx(one.energy_scale.reference["C"])
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), own.params, expected.params)


def test_what_can_not_be_added_is_refused():
    bare = small_potential()
    cases = [
        (lambda: add(bare, bare), "no classical potential"),
        (lambda: with_dispersion(with_dispersion(bare)), "such a term already"),
        (lambda: with_core(small_potential(kind="m3gnet", core=True, threebody_cutoff=2.4)), "such a term already"),
        (lambda: add(load("emt"), load("emt")), "such a term already"),
        (lambda: with_dispersion(replace(bare, energy_scale=EnergyScale(reduce="mean"))), "averages over atoms"),
        (lambda: with_dispersion(replace(bare, config=PropertyConfig(bare.config, "gap"))), "predicts 'gap'"),
        (lambda: add(load("emt"), load("coulomb", charges={"Na": 1.0})), "no element in common"),
        (lambda: load("d3", functional="pbf"), "no parameters of 'pbf'"),
        (lambda: load("d3", cutoff=5.0), "width < cn_cutoff"),
        (lambda: load("d3", damping=(1.0, 2.0)), "four numbers"),
        (lambda: load("coulomb"), "charge of each element"),
        (lambda: load("coulomb", charges={"Xx": 1.0}), "no element"),
        (lambda: load("coulomb", charges={"Na": 1.0}, method="ewald"), "method"),
        (lambda: load("zbl", reach=0.0), "reach"),
    ]
    for make, words in cases:
        with pytest.raises(InputError, match=words):
            make()
