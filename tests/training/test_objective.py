"""The loss by hand, and the step on a quadratic whose minimum is known."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from ergodica.neighbors import Capacity
from ergodica.potentials.potential import EnergyScale, Potential, compiled_derivatives
from ergodica.system import Labels, System
from ergodica.training.data import Chunk, Loader, prepare
from ergodica.training.objective import (
    Errors,
    TrainState,
    loss_and_errors,
    make_chunk_step,
    penalty,
)
from ergodica.training.optimizer import learning_rate, make_transformation
from ergodica.training.options import LossOptions, OptimizerOptions
from ergodica.training.record import summary
from ergodica.training.start import trainable_mask
from tests.training.conftest import MODEL, toy


@pytest.mark.parametrize(
    ("kind", "value", "slope"),
    [
        ("mse", lambda e: e**2, lambda e: 2 * e),
        ("mae", abs, np.sign),
        ("huber", lambda e: e**2 if abs(e) < 0.5 else abs(e) - 0.25, lambda e: 2 * e if abs(e) < 0.5 else np.sign(e)),
    ],
)
@pytest.mark.parametrize("error", [-2.0, -0.3, 0.1, 0.7])
def test_penalty(kind, value, slope, error):
    found, gradient = jax.value_and_grad(lambda e: penalty(e, kind, 0.5))(error)
    assert found == pytest.approx(value(error), rel=1e-6)
    assert gradient == pytest.approx(slope(error), rel=1e-6)


MODEL_CUT = replace(MODEL, cutoff=2.0)


@pytest.fixture(scope="module")
def labelled():
    """A molecule with energy and forces, and a crystal with a stress as well; a potential for both."""
    crystal = bulk("C", cubic=True)
    crystal.rattle(0.1, seed=0)
    labels = Labels(3.0, np.full((8, 3), 0.2), 0.01 * np.arange(9.0).reshape(3, 3))
    potential = Potential.create(MODEL_CUT)
    molecule = toy(1, offsets={"H": 0.0, "C": 0.0})[0]
    return potential, prepare([molecule, System.from_ase(crystal).with_labels(labels)], 2.0, EnergyScale())


@pytest.fixture(scope="module")
def calls(labelled):
    """Loss and errors of both structures in one batch, without padding and with, and the network's output."""
    potential, samples = labelled
    loss = LossOptions(kind="mse", energy=0.5, forces=2.0, stress=30.0)
    evaluate = jax.jit(partial(loss_and_errors, MODEL_CUT, 0.7, loss))
    found = []
    for capacity in (Capacity(12, 12, 2), Capacity(20, 16, 5)):
        chunk = Loader(samples, 2, 1, loops=True).chunk(capacity, [np.arange(2)])
        batch, targets = jax.tree.map(lambda a: a[0], (chunk.batch, chunk.targets))
        found.append(evaluate(potential.params, batch, targets))
        if capacity.atoms == 12:
            output = jax.tree.map(np.asarray, compiled_derivatives(MODEL_CUT)(potential.params, batch))
    return found, output


def test_loss_by_hand(labelled, calls):
    samples, ((loss, errors), _), output = labelled[1], *calls
    systems = [s.system for s in samples]
    energy = 0.7 * np.array([output.energies[:4].sum(), output.energies[4:].sum()]) - [s.energy for s in samples]
    forces = 0.7 * output.forces - np.concatenate([s.labels.forces for s in systems])
    stress = 0.7 * output.virial[1] / systems[1].volume - systems[1].labels.stress
    by_hand = 0.5 * np.mean((energy / [4, 8]) ** 2) + 2.0 * np.mean(forces**2) + 30.0 * np.mean(stress**2)
    assert float(loss) == pytest.approx(by_hand, rel=1e-5)
    numbers = summary(errors)
    assert numbers["energy_mae_eV"] == pytest.approx(np.abs(energy).mean(), rel=1e-5)
    assert numbers["energy_mae_eV_per_atom"] == pytest.approx(np.abs(energy / [4, 8]).mean(), rel=1e-5)
    assert numbers["forces_rmse_eV_per_A"] == pytest.approx(np.sqrt((forces**2).mean()), rel=1e-5)
    assert numbers["stress_mae_eV_per_A3"] == pytest.approx(np.abs(stress).mean(), rel=1e-5)


def test_padding_does_not_matter(calls):
    (tight, padded), _ = calls
    assert all(
        np.allclose(a, b, rtol=2e-5) for a, b in zip(jax.tree.leaves(tight), jax.tree.leaves(padded), strict=True)
    )


# ------------------------------------------------------------------------------------------------- the step

START = {"params": {"a": np.array([4.0, -2.0], np.float32), "b": np.array([3.0], np.float32)}}


def quadratic(params, batch, _):
    """Half the squared distance from the batch."""
    leaves = params["params"]
    loss = 0.5 * (jnp.sum((leaves["a"] - batch) ** 2) + jnp.sum(leaves["b"] ** 2))
    return loss, Errors(*(jnp.zeros(()) for _ in range(8)), loss=loss, batches=jnp.ones(()))


def stepped(options, steps=1, active=None, freeze=()):
    """State and errors after some steps from `START` towards zero."""
    params = jax.tree.map(jnp.asarray, START)
    state = TrainState(
        params,
        make_transformation(options).init(params),
        jax.tree.map(jnp.array, params),
        jnp.zeros((), jnp.int32),
        jnp.ones(()),
    )
    active = np.ones(steps, bool) if active is None else np.array(active)
    chunk = Chunk(np.zeros((len(active), 2), np.float32), np.zeros(len(active)), active)
    advance = make_chunk_step(quadratic, options, learning_rate(options, 100), trainable_mask(START, freeze), 1)
    return advance(state, chunk)


PLAIN = OptimizerOptions(learning_rate=0.1, warmup=0, schedule="constant", clip=0.0, ema=0.0)


def test_inactive_steps_change_nothing():
    two, errors = stepped(PLAIN, active=[True, True])
    gaps, same = stepped(PLAIN, active=[True, False, True, False])
    assert int(gaps.step) == 2 and float(errors.loss) == float(same.loss)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(two), jax.tree.leaves(gaps), strict=True))


def test_runs_of_any_length_and_rate_are_one_program():
    """So that neither more epochs nor another rate are compiled anew."""
    params = jax.tree.map(jnp.asarray, START)
    state = TrainState(params, make_transformation(PLAIN).init(params), params, jnp.zeros((), jnp.int32), jnp.ones(()))
    chunk = Chunk(np.zeros((2, 2), np.float32), np.zeros(2), np.ones(2, bool))

    def program(options, steps):
        rate = learning_rate(options, steps)
        advance = make_chunk_step(quadratic, options, rate, trainable_mask(START, ()), 1)
        return advance.func.lower(state, chunk, rate=rate).as_text()

    cosine = replace(PLAIN, schedule="cosine", warmup=10)
    known = program(cosine, 100)
    assert known == program(cosine, 200) == program(replace(cosine, learning_rate=0.3, min_learning_rate=0.01), 100)
    assert known != program(PLAIN, 100)


def test_first_adam_step_is_the_rate():
    state, _ = stepped(PLAIN)
    assert np.asarray(state.params["params"]["a"]) == pytest.approx([3.9, -1.9], abs=1e-6)


@pytest.mark.parametrize("options", [PLAIN, replace(PLAIN, kind="amsgrad"), replace(PLAIN, clip=0.1)])
def test_descends(options):
    state, _ = stepped(options, steps=100)
    assert np.abs(state.params["params"]["a"]).max() < 0.5


def test_clipping():
    moments = [stepped(replace(PLAIN, clip=clip))[0].optimizer for clip in (0.0, 1.0)]
    norms = [np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(m[-1].mu))) for m in moments]
    assert norms == pytest.approx([0.1 * np.sqrt(29.0), 0.1], rel=1e-5)


def test_decoupled_decay():
    state, _ = stepped(replace(PLAIN, weight_decay=0.5))
    assert np.asarray(state.params["params"]["b"]) == pytest.approx([3.0 - 0.1 * (1 + 1.5)], abs=1e-5)


def test_moving_average():
    one, _ = stepped(replace(PLAIN, ema=0.05))
    first = START["params"]["b"] + (1 - 0.05) * (np.asarray(one.params["params"]["b"]) - START["params"]["b"])
    assert np.asarray(one.ema["params"]["b"]) == pytest.approx(first, rel=1e-6)


def test_frozen_parameters_stay_bit_for_bit():
    state, _ = stepped(replace(PLAIN, weight_decay=0.1, ema=0.9), steps=7, freeze=("b",))
    for tree in (state.params, state.ema):
        assert np.array_equal(tree["params"]["b"], START["params"]["b"])
        assert not np.array_equal(tree["params"]["a"], START["params"]["a"])


TWO_DEVICES = """
import sys
from dataclasses import replace
import jax, numpy as np
from ergodica.training.data import chunks
from ergodica.training.loop import _Run
from ergodica.training.task import PotentialTask
from tests.training.conftest import config, splits, toy

found = []
for devices in (1, 2):
    data = replace(splits(), train=toy(8))
    run = _Run(PotentialTask(config("unused", devices=devices, batch_size=4 // devices), data))
    for chunk in chunks(run.loader, 0, 0):
        run.state, errors = run.advance(run.state, run.place(chunk))
    assert int(run.state.step) == 2
    found.append(jax.tree.map(np.asarray, run.state.params))
print(max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, found))))
moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), found[0], run.task.params)
assert max(jax.tree.leaves(moved)) > 1e-3
"""


@pytest.mark.slow
def test_two_devices_are_one_with_twice_the_batch(cache):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": os.pathsep.join(["src", ".", *sys.path]),
    }
    answer = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert float(answer.stdout) < 1e-5
