"""Samplers in the loop of the package: they get better than physics, a run in pieces gives the same bits."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from ergodica.errors import InputError
from ergodica.sampling.coordinates.landscape import landscape
from ergodica.sampling.molecules import read_molecule
from ergodica.sampling.samplers.torsions.network import TorsionNetworkConfig
from ergodica.sampling.samplers.torsions.sampler import draw, load_sampler
from ergodica.sampling.samplers.torsions.training import (
    KIND,
    MoleculeData,
    SamplerTask,
    SamplerTraining,
)
from ergodica.sampling.walks.references import _load, _save, draw_reference, pack, read_names, references
from ergodica.sampling.walks.tempering import Ladder
from ergodica.training.loop import run_task
from ergodica.training.options import OptimizerOptions, RunOptions, model_kind, parse_task


@pytest.fixture(scope="module")
def molecules():
    """Two small ones of one shape, with a few states each."""
    return [draw_reference(smiles, ladder=Ladder(300.0, 1.5, 2, 8)) for smiles in ("CCCCO", "NCCCO")]


def configuration(output, **run):
    return SamplerTraining(
        model=TorsionNetworkConfig(8, 4, 4, 1, 2),
        data=MoleculeData(states=16, draws=4),
        optimizer=OptimizerOptions(learning_rate=3e-3, warmup=2),
        run=RunOptions(**{"epochs": 3, "batch_size": 2, "steps_per_call": 2, **run}),
        output=str(output),
    )


def trained(molecules, config, **options):
    return run_task(lambda: SamplerTask(config, molecules, molecules), config.output, **options)


@pytest.mark.slow
def test_a_run_in_pieces_gives_the_same_bits(molecules, tmp_path):
    def stop(numbers):
        if numbers["step"] > 4:
            raise KeyboardInterrupt

    whole = trained(molecules, configuration(tmp_path / "whole"))
    assert whole.steps == 12
    with pytest.raises(KeyboardInterrupt):
        trained(molecules, configuration(tmp_path / "parts", checkpoint_minutes=0), report=stop)
    parts = trained(molecules, configuration(tmp_path / "parts"), resume=True)
    one, other = (load_sampler(outcome.checkpoint) for outcome in (whole, parts))
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.temperatures == (300.0, 450.0) and one.force_field == "MMFF94"
    with pytest.raises(InputError, match="between 300 and 450 K"):
        draw(one, landscape(read_molecule("CO")), 700.0, 10)


@pytest.mark.slow
def test_the_network_starts_from_physics_and_improves_on_it(molecules, tmp_path):
    """What is left of the error is mostly that of the targets."""
    outcome = trained(molecules, configuration(tmp_path / "run", epochs=20, validate_every=20))
    assert outcome.validation["score_error"] < outcome.validation["physics_score_error"]


@pytest.mark.slow
def test_targets_at_no_noise_are_torques(molecules):
    """There the score of the physics part has no error to speak of."""
    task = SamplerTask(configuration("unused"), molecules, molecules)
    feed, _ = task.loaders(1)
    chunk = feed.chunk(*feed.plan(np.random.default_rng(0))[0])
    batch, targets = jax.tree.map(lambda leaf: leaf[0], (chunk.batch, chunk.targets))
    clean = batch.angles - batch.sigma[..., None] * targets.noise
    still = replace(batch, angles=clean, sigma=np.full_like(batch.sigma, 1e-3))
    _, errors = task.loss(task.params, still, targets)
    size = np.sum((batch.beta[:, None, None] * targets.torques) ** 2) * 1e-6
    assert float(errors.squared) < 0.01 * size


@pytest.mark.slow
def test_references_survive_their_file(molecules, tmp_path):
    _save(tmp_path / "one.safetensors", molecules[0])
    back = _load(tmp_path / "one.safetensors")
    assert back.smiles == "CCCCO" and back.rotors == 4
    for a, b in zip(*map(jax.tree.leaves, (molecules[0].known, back.known)), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(back.torques, molecules[0].torques)


@pytest.mark.slow
def test_packed_states_are_those_that_were_drawn(molecules, tmp_path):
    pack(tmp_path / "states.npz", {0: molecules}, 32)
    names = [one.smiles for one in molecules]
    back = references(names, tmp_path / "one", packed=tmp_path / "states.npz")
    for one, other in zip(molecules, back, strict=True):
        turned = np.angle(np.exp(1j * (one.angles[:, :32] - other.angles)))
        assert other.angles.shape == (2, 32, 4) and np.abs(turned).max() < 1e-4
        np.testing.assert_allclose(other.torques, one.torques[:, :32], atol=2e-3 * np.abs(one.torques).max())
    with pytest.raises(InputError, match="no file"):
        references(names, tmp_path / "two", packed=tmp_path / "nothing.npz")


def test_bad_input(tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_names(tmp_path / "nothing.smi")
    (tmp_path / "empty.smi").write_text("# nothing\n")
    with pytest.raises(InputError, match="no SMILES"):
        read_names(tmp_path / "empty.smi")
    with pytest.raises(InputError, match="no sampler"):
        load_sampler("nowhere")
    table = {"model": {"kind": "torsion-sampler", "hidden": 8, "heads": 4}, "data": {"train": "a.smi"}}
    assert parse_task(SamplerTraining, table, "x.toml").model.hidden == 8
    with pytest.raises(InputError, match="did you mean 'hidden'"):
        parse_task(SamplerTraining, {"model": {"hiden": 8}}, "x.toml")
    path = tmp_path / "x.toml"
    path.write_text('[model]\nkind = "torsion-sampler"\n')
    assert model_kind(path) == KIND
