"""Geoformer against AI2BMD's: energies and properties computed by AI2BMD's program (tests/reference/README.md)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ergodica.errors import InputError
from ergodica.potentials.potential import EnergyScale, Potential
from ergodica.potentials.upstream import translate_geoformer
from ergodica.prediction import predict
from ergodica.system import System
from tests.helpers.golden import geoformer_shapes, geoformer_state

GOLDEN = json.loads((Path(__file__).parents[1] / "reference" / "geoformer_golden.json").read_text())
CASES = range(len(GOLDEN["cases"]))
BUFFERS = {"mean": np.array(0.0), "std": np.array(1.0)}


def structures() -> list[System]:
    """The molecules of the reference file."""
    rows = [(np.array(z), np.array(x)) for z, x in zip(GOLDEN["z"], GOLDEN["pos"], strict=True)]
    return [System(z[z > 0], x[z > 0]) for z, x in rows]


@pytest.mark.parametrize("index", CASES)
def test_number_of_parameters_is_ai2bmds(index):
    case = GOLDEN["cases"][index]
    assert sum(int(np.prod(shape)) for shape in geoformer_shapes(**case["kwargs"]).values()) == case["n_params"]


@pytest.mark.parametrize("index", CASES)
def test_predictions_are_ai2bmds(index):
    case = GOLDEN["cases"][index]
    model = translate_geoformer(geoformer_state(case["kwargs"], case["gain"], case["emb"]) | BUFFERS, case["kwargs"])
    potential = Potential(model.config, model.params, EnergyScale(model.scale, model.shift, {}, model.reduce))
    expected = np.ravel(case["y"])
    found = predict(potential, structures()[: len(expected)], precision="float64")
    values = [one.energy if model.config.head == "energy" else one.value for one in found]
    # masses are of single precision in the published program
    tolerance = 1e-9 if model.config.head == "energy" else 1e-7
    np.testing.assert_allclose(np.ravel(values), expected, rtol=0, atol=tolerance)


def test_hyper_parameters_are_read_as_the_published_training_spells_them():
    case = GOLDEN["cases"][0]
    spelt = {"num_attention_heads": "num_heads", "rbf_trainable": "trainable_rbf"}
    hyper = {spelt.get(key, key): value for key, value in case["kwargs"].items()} | {"cutoff": 5.0, "lr": 1e-4}
    state = geoformer_state(case["kwargs"], case["gain"], case["emb"]) | BUFFERS
    needed = {"max_z", "embedding_dim", "ffn_embedding_dim", "num_layers", "num_heads", "cutoff", "num_rbf"}
    assert needed <= set(hyper)
    assert translate_geoformer(state, None, hyper).config == translate_geoformer(state, case["kwargs"]).config
    del hyper["num_heads"]
    with pytest.raises(InputError, match="lack 'num_attention_heads'"):
        translate_geoformer(state, None, hyper)


def test_the_mean_over_atoms_is_the_sum_over_their_number():
    case = next(case for case in GOLDEN["cases"] if case["kwargs"].get("decoder_type") == "electronic_spatial_extent")
    kwargs = case["kwargs"]
    state = geoformer_state(kwargs, case["gain"], case["emb"]) | BUFFERS
    values = []
    for aggr in ("sum", "mean"):
        model = translate_geoformer(state, kwargs | {"aggr": aggr})
        potential = Potential(model.config, model.params, EnergyScale(model.scale, model.shift, {}, model.reduce))
        values.append(predict(potential, structures()[0])[0].value)
    assert values[1] == pytest.approx(values[0] / len(structures()[0]), rel=1e-5)
    with pytest.raises(InputError, match="Unknown aggr 'max'"):
        translate_geoformer(state, kwargs | {"aggr": "max"})


def test_wrong_arguments_are_one_clear_sentence():
    case = GOLDEN["cases"][0]
    state = geoformer_state(case["kwargs"], case["gain"], case["emb"])
    for change, words in (
        ({"num_layers": 4}, r"has no 'geo_encoder\.layers\.3"),
        ({"max_z": 30}, "20 elements"),
        ({"colour": 1}, "Unknown Geoformer argument 'colour'"),
        ({"decoder_type": "smell"}, "Unknown decoder_type 'smell'"),
    ):
        with pytest.raises(InputError, match=words):
            translate_geoformer(state, case["kwargs"] | change)
    with pytest.raises(InputError, match="no use for"):
        translate_geoformer(state | {"odd": np.zeros(1)}, case["kwargs"])
