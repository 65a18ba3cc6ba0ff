"""Ensembles: the mean is a conservative potential, the spread is that of the members, and a file keeps them."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import jax
import numpy as np
import pytest

from ergodica import Calculator, predict
from ergodica.checkpoint import read_header
from ergodica.errors import InputError
from ergodica.potentials import EnergyScale, Info, Potential, ViSNetConfig
from ergodica.potentials.combine import combine, member
from ergodica.potentials.ensemble import Calibration, EnsembleConfig
from ergodica.potentials.modelfile import load_model, save_model
from tests.helpers.small import random_crystal, random_molecule, small_potential

pytestmark = pytest.mark.usefixtures("x64")

SIZE = {"layers": 1, "hidden": 8, "heads": 2, "num_rbf": 4}
ELEMENTS = ("H", "C", "O")


def single(seed: int, **parts) -> Potential:
    """A random member with an energy scale of its own."""
    scale = EnergyScale(1.0 + 0.3 * seed, reference={"H": -1.0 * seed, "C": -30.0, "O": -75.0 + seed})
    card = {"energy_scale": scale, "info": Info(name=f"m{seed}", elements=ELEMENTS)}
    return replace(small_potential(seed, **SIZE), **card | parts)


@pytest.fixture(scope="module")
def members() -> list[Potential]:
    return [single(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def ensemble(members) -> Potential:
    return combine(members, "three")


@pytest.fixture(scope="module")
def systems():
    rng = np.random.default_rng(0)
    return [random_molecule(rng), random_crystal(rng)]


def test_mean_and_spread_are_those_of_the_members(members, ensemble, systems):
    each = [predict(one, systems, precision="float64") for one in members]
    found = predict(ensemble, systems, precision="float64", uncertainty=True)
    for index, (one, system) in enumerate(zip(found, systems, strict=True)):
        energy, forces = (np.array([getattr(p[index], key) for p in each]) for key in ("energy", "forces"))
        assert one.energy == pytest.approx(energy.mean(), abs=1e-11)
        np.testing.assert_allclose(one.forces, forces.mean(axis=0), atol=1e-12)
        assert one.uncertainty.energy == pytest.approx(energy.std(), abs=1e-12)
        deviation = np.sqrt(((forces - forces.mean(axis=0)) ** 2).sum(axis=-1).mean(axis=0))
        np.testing.assert_allclose(one.uncertainty.forces, deviation, atol=1e-12)
        assert one.uncertainty.largest_force(system.fixed) == one.uncertainty.forces.max()
        if system.is_bulk:
            stress = np.array([p[index].stress for p in each])
            np.testing.assert_allclose(one.stress, stress.mean(axis=0), atol=1e-12)
            away = np.sqrt(((stress - stress.mean(axis=0)) ** 2).sum(axis=(1, 2)).mean())
            assert one.uncertainty.stress == pytest.approx(away, abs=1e-12)
        else:
            assert one.uncertainty.stress is None


def test_nothing_is_said_unasked(ensemble, systems):
    assert predict(ensemble, systems[0])[0].uncertainty is None


def test_forces_are_the_gradient_of_the_mean_energy(ensemble, systems):
    crystal, step = systems[1], 1e-4
    (here,) = predict(ensemble, crystal, precision="float64")
    for atom, axis in ((0, 0), (2, 1), (3, 2)):
        shift = np.zeros((len(crystal), 3))
        shift[atom, axis] = step
        ends = [replace(crystal, positions=crystal.positions + sign * shift) for sign in (1, -1)]
        up, down = predict(ensemble, ends, precision="float64")
        assert here.forces[atom, axis] == pytest.approx((down.energy - up.energy) / (2 * step), abs=2e-6)


@pytest.mark.parametrize("kind", ["visnet", pytest.param("m3gnet", marks=pytest.mark.slow), "geoformer"])
def test_identical_members_have_no_spread_and_the_members_numbers(kind, systems):
    options = {"visnet": SIZE, "m3gnet": {"units": 4, "blocks": 1, "threebody_cutoff": 2.4}}
    one = small_potential(0, kind, **options.get(kind, SIZE))
    (alone,) = predict(one, systems[0], precision="float64")
    (found,) = predict(combine([one, one]), systems[0], precision="float64", uncertainty=True)
    assert found.energy == pytest.approx(alone.energy, abs=1e-12)
    np.testing.assert_allclose(found.forces, alone.forces, atol=1e-12)
    assert found.uncertainty.energy == 0 and not found.uncertainty.forces.any()


def test_pure_energy_is_the_mean(ensemble, systems):
    from ergodica.neighbors import find_edges, pack

    batch = pack(systems, [find_edges(s, ensemble.cutoff) for s in systems], dtype=np.float64)
    energies = np.asarray(ensemble.energy(ensemble.params, batch))
    expected = [one.energy for one in predict(ensemble, systems, precision="float64")]
    np.testing.assert_allclose(energies[:2], expected, atol=1e-9)


def test_members_come_out_as_they_went_in(members, ensemble, systems):
    for index, one in enumerate(members):
        again = member(ensemble, index)
        assert again.config == one.config and again.energy_scale.reference == pytest.approx(one.energy_scale.reference)
        (left,), (right,) = (predict(p, systems[0], precision="float64") for p in (one, again))
        assert left.energy == pytest.approx(right.energy, abs=1e-12)
    with pytest.raises(InputError, match="no ensemble"):
        member(members[0], 0)


def test_only_some_parameters_may_vary(systems):
    """Members that share all but their last layer are those with the last layers put in."""
    base = small_potential(0, **SIZE)
    layer = base.params["params"]["head"]["block_1"]["update_1"]
    rng = np.random.default_rng(1)
    noise = [jax.tree.map(lambda leaf: leaf + rng.normal(size=leaf.shape), layer) for _ in range(5)]

    def with_layer(last):
        params = copy.deepcopy(base.params)
        params["params"]["head"]["block_1"]["update_1"] = last
        return params

    several = jax.tree.map(lambda *leaves: np.stack(leaves), *noise)
    config = EnsembleConfig(base.config, 5, varied=base.config.last_layer)
    sharing = Potential(config, with_layer(several))
    apart = combine([base.with_params(with_layer(one)) for one in noise])
    left, right = (predict(p, systems, precision="float64", uncertainty=True) for p in (sharing, apart))
    plain = predict(sharing, systems, precision="float64")
    for one, other, alone in zip(left, right, plain, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-12) == alone.energy
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-12)
        np.testing.assert_allclose(alone.forces, other.forces, atol=1e-12)
        np.testing.assert_allclose(one.uncertainty.forces, other.uncertainty.forces, atol=1e-12)


def test_file_keeps_everything(ensemble, tmp_path, systems):
    known = replace(ensemble, calibration=Calibration(0.9, 2.0, 3.0, None, 12, "test"))
    save_model(tmp_path / "e.safetensors", known)
    again = load_model(tmp_path / "e.safetensors")
    assert (again.config, again.info, again.calibration) == (known.config, known.info, known.calibration)
    left, right = (predict(p, systems, precision="float64", uncertainty=True) for p in (known, again))
    assert left[0].energy == right[0].energy and left[1].uncertainty.energy == right[1].uncertainty.energy
    assert left[0].uncertainty.bounds.energy == 2 * left[0].uncertainty.energy
    assert left[0].uncertainty.bounds.stress is None
    assert left[0].uncertainty.largest_force(systems[0].fixed) == pytest.approx(3 * left[0].uncertainty.forces.max())
    held = left[0].uncertainty.of_forces < left[0].uncertainty.of_forces.max()
    assert left[0].uncertainty.largest_force(~held) == left[0].uncertainty.of_forces[held].max()
    assert read_header(tmp_path / "e.safetensors")["kind"] == "ensemble"


def test_damaged_headers_are_refused(ensemble, tmp_path):
    from ergodica.checkpoint import load_tree, save_tree

    save_model(tmp_path / "e.safetensors", ensemble)
    params, header = load_tree(tmp_path / "e.safetensors")
    changes = {
        "does not know": {"kind": "visnot"},
        "unknown key 'member_count'": {"member_count": 3},
        "at least 2": {"members": 1, "scales": [], "offsets": []},
        "scales or offsets": {"scales": [1.0, 2.0]},
        "shape": {"members": 4, "scales": [], "offsets": []},
    }
    for hint, change in changes.items():
        save_tree(tmp_path / "bad.safetensors", params, {**header, "config": {**header["config"], **change}})
        with pytest.raises(InputError, match=hint):
            load_model(tmp_path / "bad.safetensors")
    save_tree(tmp_path / "bad.safetensors", params, {**header, "calibration": {"levl": 0.9}})
    with pytest.raises(InputError, match="did you mean 'level'"):
        load_model(tmp_path / "bad.safetensors")


def test_calculator_gives_the_spread_on_request(ensemble, systems):
    atoms = systems[1].to_ase()
    atoms.calc = calculator = Calculator(ensemble, precision="float64")
    (expected,) = predict(ensemble, systems[1], precision="float64", uncertainty=True)
    assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=1e-10)
    assert "forces_std" not in calculator.results
    found = calculator.get_uncertainty(atoms)
    np.testing.assert_allclose(found.forces, expected.uncertainty.forces, atol=1e-12)
    assert calculator.results["stress_std"] == pytest.approx(expected.uncertainty.stress, abs=1e-12)
    assert calculator.get_property("energy_std", atoms) == pytest.approx(expected.uncertainty.energy, abs=1e-12)
    assert set(calculator.export_properties()) >= {"energy", "forces", "stress"}
    for clone in (copy.deepcopy(calculator), pickle.loads(pickle.dumps(calculator))):
        assert clone.get_uncertainty(atoms).energy == found.energy
    atoms.positions[0] += 0.1
    assert calculator.get_uncertainty(atoms).energy != found.energy


def test_uncertainty_of_a_single_model_is_one_sentence(members, systems):
    hint = "Model 'm0' is a single model and can't say how uncertain it is"
    with pytest.raises(InputError, match=hint):
        predict(members[0], systems, uncertainty=True)
    with pytest.raises(InputError, match=hint):
        Calculator(members[0]).get_uncertainty(systems[0].to_ase())


@pytest.mark.parametrize(
    ("second", "hint"),
    [
        (lambda: replace(single(1), config=ViSNetConfig(hidden=16)), "architecture"),
        (lambda: single(1, energy_scale=EnergyScale(shift=1.0)), "atomic energies"),
        (lambda: single(1, info=Info(name="m1", level_of_theory="r2SCAN")), "two levels of theory, PBE and r2SCAN"),
        (lambda: combine([single(1), single(2)]), "single models"),
        (lambda: single(1, info=Info(name="m1", elements=("Cu",))), "no element in common"),
    ],
)
def test_what_can_not_be_joined(second, hint):
    first = single(0, info=Info(name="m0", elements=ELEMENTS, level_of_theory="PBE"))
    with pytest.raises(InputError, match=hint):
        combine([first, second()])


def test_one_model_is_no_ensemble(members):
    with pytest.raises(InputError, match="at least two"):
        combine(members[:1])
    with pytest.raises(InputError, match="predict energies"):
        EnsembleConfig(ViSNetConfig(head="dipole"), 2)
