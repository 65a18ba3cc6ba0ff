"""Members trained in one run are what they would be if trained alone, and resume, validate and ship as one model."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.errors import InputError
from ergodica.potentials import Potential
from ergodica.potentials.combine import member
from ergodica.potentials.ensemble import EnsembleConfig
from ergodica.potentials.modelfile import load_model, save_model
from ergodica.prediction import predict
from ergodica.training import finetune, train
from ergodica.training.loop import _Run
from ergodica.training.options import parse_config
from ergodica.training.task import PotentialTask
from tests.training.conftest import MODEL, config, splits, toy

ENSEMBLE = EnsembleConfig(MODEL, 2)


def start(folder, **run):
    """A run of two members."""
    return replace(config(folder, **run), model=ENSEMBLE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ensemble"
    return folder, train(start(folder), splits())


@pytest.mark.slow
def test_members_learn_as_if_alone(tmp_path):
    """Same parameters at the start, same batches: the same parameters at the end, by Muon and with tight clipping."""
    together = start(tmp_path)
    together = replace(together, optimizer=replace(together.optimizer, kind="muon", clip=0.1))
    several = _Run(PotentialTask(together, splits()))
    alone = _Run(PotentialTask(replace(together, model=MODEL), splits()))
    first = jax.tree.map(lambda leaf: jnp.array(leaf[0]), several.state.params)
    alone.state = replace(alone.state, params=first, ema=jax.tree.map(jnp.array, first))
    chunk = several.loader.chunk(*several.loader.plan(np.random.default_rng(0))[0])
    left, _ = several.advance(several.state, chunk)
    right, _ = alone.advance(alone.state, chunk)
    for one, other in zip(jax.tree.leaves(left.params), jax.tree.leaves(right.params), strict=True):
        np.testing.assert_allclose(one[0], other, rtol=1e-4, atol=1e-5)
    kernel = left.params["params"]["combine"]["kernel"]
    before = several.task.params["params"]["combine"]["kernel"]
    assert not np.allclose(kernel[0], kernel[1], atol=1e-2) and not np.allclose(kernel, before, atol=1e-4)


@pytest.mark.slow
def test_validation_is_of_the_mean(trained):
    result = trained[1]
    data = splits().validation
    found = predict(result.potential, data, uncertainty=True)
    mae = np.mean([np.abs(p.forces - s.labels.forces).mean() for p, s in zip(found, data, strict=True)])
    assert mae == pytest.approx(result.validation["forces_mae_eV_per_A"], rel=1e-4)
    assert all(one.uncertainty.energy > 0 for one in found)
    assert load_model(result.checkpoint).config == ENSEMBLE


@pytest.mark.slow
def test_resumes_exactly(trained, tmp_path):
    def stop(numbers):
        if numbers["epoch"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(start(tmp_path, checkpoint_minutes=0.0), splits(), report=stop)
    result = train(start(tmp_path), splits(), resume=True)
    assert result.validation == trained[1].validation
    same = jax.tree.map(np.array_equal, result.potential.params, trained[1].potential.params)
    assert all(jax.tree.leaves(same))


@pytest.mark.slow
def test_finetune_of_an_ensemble(trained, tmp_path):
    result = finetune(
        trained[1].checkpoint, toy(4, offsets={"H": 1.0, "C": 2.0}), output=tmp_path, epochs=1, batch_size=2
    )
    assert result.potential.config == ENSEMBLE
    assert result.potential.energy_scale.reference["H"] == pytest.approx(1.0, abs=0.5)
    assert member(result.potential, 1).config == MODEL


@pytest.mark.slow
def test_posterior_is_not_finetuned(tmp_path):
    sharing = EnsembleConfig(MODEL, 2, varied=MODEL.last_layer)
    save_model(tmp_path / "posterior.safetensors", Potential.create(sharing))
    with pytest.raises(InputError, match="fine-tune the model it was made from"):
        finetune(tmp_path / "posterior.safetensors", toy(4), output=tmp_path / "run")


def test_members_in_a_configuration_file():
    table = {"kind": "m3gnet", "units": 8, "members": 3}
    model = parse_config({"model": table}, "train.toml").model
    assert isinstance(model, EnsembleConfig) and model.members == 3 and model.member.units == 8
    assert not isinstance(parse_config({"model": {**table, "members": 1}}, "train.toml").model, EnsembleConfig)
    for wrong in (0, 2.5, "four"):
        with pytest.raises(InputError, match="members must be a whole number"):
            parse_config({"model": {**table, "members": wrong}}, "train.toml")
