"""A property in the place of the energy: learning it, and what such a model refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ergodica.calculators import Calculator
from ergodica.errors import InputError
from ergodica.potentials import load
from ergodica.potentials.ensemble import EnsembleConfig
from ergodica.potentials.modelfile import load_model, save_model
from ergodica.potentials.property import PropertyConfig
from ergodica.prediction import predict
from ergodica.training import PropertyOptions, finetune
from ergodica.training.metrics import property_errors
from ergodica.training.options import StartOptions
from ergodica.training.property import with_property
from ergodica.training.start import starting_potential
from tests.helpers.small import small_potential
from tests.training.conftest import MODEL, config, toy

KEY = "carbon"


def told(count, seed=0):
    """Toy structures that know their share of carbon, as a percentage, and nothing else."""
    return [
        replace(s, info={**s.info, KEY: 100 * np.mean(s.numbers == 6)}).with_labels(type(s.labels)())
        for s in toy(count, seed)
    ]


def begun(trunk, average=True):
    """A configuration that starts from the trunk."""
    return replace(config("run"), learn=PropertyOptions(KEY, average=average), start=StartOptions(model=str(trunk)))


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A potential that knows energies."""
    path = tmp_path_factory.mktemp("trunk") / "trunk.safetensors"
    potential = small_potential(hidden=8, layers=1, heads=2, num_rbf=4, max_z=10)
    save_model(path, replace(potential, info=replace(potential.info, name="trunk", elements=("H", "C", "O"))))
    return path


@pytest.fixture(scope="module")
def learnt(trunk, tmp_path_factory):
    """The potential after it has learnt the share of carbon."""
    output = tmp_path_factory.mktemp("learnt")
    learn = PropertyOptions(KEY, "%")
    return finetune(trunk, told(24), output=output, learn=learn, epochs=60, learning_rate=1e-2, batch_size=6)


@pytest.mark.slow
def test_property_is_learnt_and_kept_in_the_model_file(learnt):
    potential = load_model(learnt.checkpoint)
    assert isinstance(potential.config, PropertyConfig) and potential.config.unit == "%"
    assert potential.info.elements == ("H", "C", "O")  # the trunk's
    new = told(9, seed=5)
    found = predict(potential, new)
    assert {one.kind for one in found} == {KEY}
    numbers = property_errors(found, new)
    assert numbers["mae"] < 0.3 * numbers["mad"] and numbers["r2"] > 0.8
    assert numbers["rmse"] >= numbers["mae"] and set(learnt.validation) == {"loss", "property_mae"}


def test_mean_and_sum_over_a_supercell(trunk):
    atoms = toy(1)[0].to_ase()
    atoms.set_cell([8.0, 8.0, 8.0])
    atoms.pbc = True
    for average, ratio in ((True, 1), (False, 2)):
        options = begun(trunk, average)
        potential = starting_potential(options, with_property(told(6), options.learn))
        one, two = predict(potential, [atoms, atoms.repeat((2, 1, 1))], precision="float64")
        assert two.value == pytest.approx(ratio * one.value, rel=1e-9)


def test_trunk_is_kept_but_for_its_last_layer(trunk):
    options = begun(trunk)
    systems = with_property(told(6), options.learn)
    old, new = (one.params["params"] for one in (load(str(trunk)), starting_potential(options, systems)))
    np.testing.assert_array_equal(new["embedding"]["embedding"], old["embedding"]["embedding"])
    assert not np.array_equal(
        new["head"]["block_1"]["update_1"]["kernel"], old["head"]["block_1"]["update_1"]["kernel"]
    )
    fresh = starting_potential(replace(options, start=StartOptions()), systems)  # without a trunk
    assert fresh.config == PropertyConfig(MODEL, KEY)


def test_bad_properties(trunk, tmp_path):
    systems, path = told(6), tmp_path / "carbon.safetensors"
    run = {"output": tmp_path / "run", "epochs": 1}
    options = begun(trunk)
    potential = starting_potential(options, with_property(systems, options.learn))
    save_model(path, potential)
    with pytest.raises(InputError, match="has no 'gap'; it holds"):
        finetune(trunk, systems, learn=PropertyOptions("gap"), **run)
    broken = [replace(s, info={KEY: value}) for s, value in zip(systems, ("soft", float("nan")), strict=False)]
    with pytest.raises(InputError, match="'soft', not a number"):
        with_property(broken[:1], PropertyOptions(KEY))
    with pytest.raises(InputError, match="leave the structure out"):
        with_property(broken[1:], PropertyOptions(KEY))
    named = [replace(s, info={"gap": 1.0}) for s in systems]
    with pytest.raises(InputError, match="predicts 'carbon': it can't become 'gap'"):
        finetune(path, named, learn=PropertyOptions("gap"), **run)
    with pytest.raises(InputError, match="can't be called 'energy'"):
        PropertyConfig(MODEL, "energy")
    with pytest.raises(InputError, match="single models that predict energies"):
        EnsembleConfig(PropertyConfig(MODEL, KEY), 2)
    with pytest.raises(InputError, match="predicts 'carbon', not energies"):
        Calculator(potential)
