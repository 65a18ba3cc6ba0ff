"""Functionals in the loop of the package: a known functional is learnt, a run in pieces gives the same bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ergodica.dft.gaussians import integrals
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.labels.conformer import LabelOptions
from ergodica.dft.labels.file import LabelFile
from ergodica.dft.learned.examples import examples, fit_reference, less_reference, polarity
from ergodica.dft.learned.feed import ExampleFeed
from ergodica.dft.learned.functional import FunctionalConfig, load_functional
from ergodica.dft.learned.layout import Layout, Radial
from ergodica.dft.learned.loss import DensityLoss
from ergodica.dft.learned.network import NetworkConfig
from ergodica.dft.learned.training import (
    KIND,
    DensityData,
    DensityStart,
    FunctionalTask,
    FunctionalTraining,
    train_functional,
)
from ergodica.errors import InputError
from ergodica.training.options import OptimizerOptions, RunOptions, model_kind, parse_task
from tests.dft.toy import conformers


@pytest.fixture(scope="module")
def labels(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("labels") / "toy.h5"
    with LabelFile(path, LabelOptions()) as file:
        for number, one in enumerate(conformers(14)):
            file.append(f"{number:040d}", one)
    return str(path)


def configuration(labels: str, output: object, **run: int) -> FunctionalTraining:
    return FunctionalTraining(
        model=NetworkConfig(8, 4, 1, 2, Radial(6.0, 4)),
        data=DensityData((f"{labels}@0:10",), (f"{labels}@10:14",), 3),
        optimizer=OptimizerOptions(learning_rate=3e-3, warmup=2),
        run=RunOptions(**{"epochs": 4, "batch_size": 4, "steps_per_call": 2, **run}),
        output=str(output),
    )


def test_a_quadratic_functional_is_found_without_a_network() -> None:
    """The toy is half the square of q - q_SAD and a function of the distance, which the reference can be exactly."""
    config = FunctionalConfig(("H",), network=NetworkConfig(8, 4, 0, 2, Radial(6.0, 8)))
    found = examples(conformers(12, 30), config)
    reference = fit_reference(found, config)
    np.testing.assert_allclose(np.linalg.eigvalsh(reference.curvature[0, 1][:3, :3]), 1.0, atol=0.05)
    left = less_reference(found, reference, config)
    assert np.std([one.energy for one in left]) < 0.05 * np.std([one.energy for one in found])
    assert np.mean([one.gradient**2 for one in left]) < 0.01 * np.mean([one.gradient**2 for one in found])


def test_molecules_of_several_sizes_are_prepared_as_alone() -> None:
    config = FunctionalConfig(("H", "O"), network=NetworkConfig(8, 4, 1, 2, Radial(6.0, 4)))
    found = examples([*conformers(2), *conformers(2, 3, (1, 8))], config)  # two without oxygen
    reference = fit_reference(found, config)
    together = less_reference(found, reference, config)
    alone = [less_reference([one], reference, config)[0] for one in found]
    assert len({len(one.normal) for one in together}) == 2
    for one, other in zip(together, alone, strict=True):
        for name in ("energy", "gradient", "nuclear", "curvature"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-9)


def test_labels_of_moved_densities_follow_to_second_order() -> None:
    """The toy is quadratic, so that labels by its curvature are those of the moved density itself."""
    config = FunctionalConfig(("H",), network=NetworkConfig(8, 4, 1, 2, Radial(6.0, 4)))
    (one,) = examples(conformers(1), config)
    assert one.curvature is not None and one.spread is not None
    np.testing.assert_allclose(one.curvature, np.eye(len(one.normal)), atol=1e-5)
    np.testing.assert_allclose(one.normal @ one.spread, 0.0, atol=1e-5)
    feed = ExampleFeed([one], 1, 0, 1, noise=0.05)
    chunk = feed.chunk(*feed.plan(np.random.default_rng(0))[0])
    parts = (chunk.batch.natural, chunk.targets.gradient, chunk.targets.energy)
    natural, gradient, energy = (np.squeeze(np.asarray(part)) for part in parts)
    moved, away = natural - np.float32(one.natural), natural - np.float32(one.natural[0])
    assert np.abs(moved[1:]).max() > 0.01 and not moved[0].any()
    np.testing.assert_allclose(gradient, away, atol=1e-5)
    np.testing.assert_allclose(energy, one.energy[0] + 0.5 * np.sum(away**2, axis=1), atol=1e-5)


def test_random_moves_are_of_all_lengths() -> None:
    """Not on a shell alone, inside which a network would be free."""
    config = FunctionalConfig(("H",), network=NetworkConfig(8, 4, 1, 2, Radial(6.0, 4)))
    (one,) = examples(conformers(1), config)
    feed = ExampleFeed([one], 1, 2, 1, noise=0.1)
    lengths = []
    for seed in range(60):
        chunk = feed.chunk(*feed.plan(np.random.default_rng(seed))[0])
        moved = np.squeeze(np.asarray(chunk.batch.natural))[1] - one.natural[0]
        lengths.append(np.linalg.norm(moved) / (0.1 * len(moved) ** 0.5))
    assert np.mean(np.array(lengths) < 0.25) > 0.1 and 0.7 < max(lengths) < 1.6


@pytest.mark.slow
def test_the_loss_finds_the_one_direction_that_falls(tmp_path) -> None:
    """Of a network without parameters, whose curvature is 0, where labels are stiff along one direction of them all."""
    config = replace(configuration("", tmp_path), loss=DensityLoss(curvature=1.0))
    task = FunctionalTask(config, conformers(6), conformers(2))
    one, silent, errors_of = task.fitted[0], jax.tree.map(np.zeros_like, task.params), jax.jit(task.loss)
    away = np.linalg.qr(np.column_stack([one.normal, np.random.default_rng(0).normal(size=(len(one.normal), 2))]))[0].T
    first, second = away[1:].astype(np.float32)

    def found(stiff: float, soft: float) -> float:
        """Error where the labels' curvature is that much higher along one direction, and lower along another."""
        curvature = stiff * np.outer(first, first) - soft * np.outer(second, second)
        feed = ExampleFeed([replace(one, curvature=curvature)], 1, 1, 1, probing=True)
        return float(errors_of(silent, *jax.tree.map(lambda leaf: leaf[None], feed.row(0)))[1].curvature)

    batch, targets = ExampleFeed([one], 1, 1, 1).row(0)
    (answer,) = task.metric.answers(batch, targets.normal, first[None])
    size = float(np.sum(np.square(answer)))
    assert found(0.0, 0.0) == pytest.approx(0, abs=1e-5)
    assert found(40.0, 0.0) == pytest.approx(40 * size, rel=1e-3)
    assert found(0.5, 0.7) == pytest.approx(0.5 * size, rel=0.1)  # what falls counts before what rises
    unknown = ExampleFeed([replace(one, curvature=None, spread=None)], 1, 1, 1)
    assert errors_of(silent, *jax.tree.map(lambda leaf: leaf[None], unknown.row(0)))[1].curvature == 0
    with pytest.raises(InputError, match="asks labels of second order"):
        FunctionalTask(config, [replace(one, second=None) for one in conformers(2)], conformers(1))


def test_densities_far_from_the_ground_state_count_less() -> None:
    """Labels are made-up quadratic ones: the distance is the length of the move."""
    config = FunctionalConfig(("H",), network=NetworkConfig(8, 4, 1, 2, Radial(6.0, 4)))
    (one,) = examples(conformers(1), config)
    moved = np.linalg.norm(one.natural - one.natural[0], axis=1)
    np.testing.assert_allclose(one.distance, moved, atol=1e-6)
    focus = float(moved[2])
    feed = ExampleFeed([one], 1, 0, 1, focus=focus)
    shares = np.ravel(feed.chunk(*feed.plan(None)[0]).targets.share)
    np.testing.assert_allclose(shares, 1 / (1 + moved / focus), rtol=1e-5)
    assert shares[0] == 1 and shares[2] == pytest.approx(0.5)


def test_the_dipole_moment_answers_to_the_gradient_as_the_minimum_does() -> None:
    """The minimum of ½ p·(S + W)p + g·p with N electrons, by Lagrange's multiplier in plain coefficients."""
    layout, basis = Layout((1, 8)), DensityBasis.of(np.array([8, 1, 1]))
    places = np.array([[0.0, 0.0, 0.2], [0.0, 1.5, -0.9], [0.3, -1.4, -0.8]])
    shells = np.arange(layout.width) < layout.shells[:, :, None]
    with jax.enable_x64(True):
        unit = jnp.asarray(shells[..., None] * np.eye(layout.width))
        found, polarisability = jax.device_get(polarity(basis, layout, jnp.asarray(places), unit))
        s, w = (np.asarray(one(basis, places)) for one in (integrals.overlap, integrals.coulomb))
        moments = np.asarray(integrals.dipoles(basis, jnp.asarray(places)))
    values, vectors = np.linalg.eigh(s)
    root, slope = (vectors * values**0.5) @ vectors.T, np.random.default_rng(0).normal(size=basis.size)
    charges = integrals.charges(basis)[:, None]
    system = np.block([[s + w, charges], [charges.T, np.zeros((1, 1))]])
    moved = np.linalg.solve(system, np.append(-root @ slope, 0.0))[:-1]
    np.testing.assert_allclose(-slope @ found, moved @ moments, atol=1e-8)
    fields = np.linalg.solve(system, np.vstack([moments, np.zeros((1, 3))]))[:-1]
    assert polarisability == pytest.approx(np.trace(moments.T @ fields) / 3)


def test_energies_of_what_is_saved_are_level(tmp_path) -> None:
    """Validation energies that are all of them higher raise the functional's constants, and nothing else."""
    task = FunctionalTask(configuration("", tmp_path), conformers(6), conformers(10)[6:])
    kept = []
    for _ in range(2):
        task.save(tmp_path / "model.safetensors", task.params, {})
        kept.append(load_functional(tmp_path / "model.safetensors")[0])
        task.checked = [replace(one, energy=one.energy + 0.3) for one in task.checked]
    raised = np.asarray(kept[1].reference.energy - kept[0].reference.energy)
    np.testing.assert_allclose(raised[0, -1], 0.15 * 16 / 17, atol=1e-5)  # of two atoms; four rows and the ridge
    assert not raised[:, :-1].any()


def test_training_goes_on_from_a_functional(tmp_path) -> None:
    """With its reference, for the compositions it now learns from."""
    first = FunctionalTask(configuration("", tmp_path), conformers(6), conformers(2))
    path = tmp_path / "first.safetensors"
    first.save(path, jax.tree.map(lambda leaf: leaf + 0.01, first.params), {})
    going_on = replace(configuration("", tmp_path), start=DensityStart(str(path)), general=True)
    second = FunctionalTask(going_on, conformers(3), conformers(1))
    kept = load_functional(path)[0]
    for one, other in zip(*map(jax.tree.leaves, (second.functional, kept)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert kept.config.formulas == ("H2",) and second.functional.config.formulas == ()
    with pytest.raises(InputError, match="was not trained on O"):
        FunctionalTask(going_on, conformers(1, 4, (1, 8)), conformers(1))
    with pytest.raises(InputError, match='set target = "T_S\\+E_XC"'):
        FunctionalTask(replace(going_on, target="T_S"), conformers(3), conformers(1))


@pytest.mark.slow
def test_a_run_in_pieces_gives_the_same_bits(labels: str, tmp_path) -> None:
    whole = train_functional(configuration(labels, tmp_path / "whole"))
    assert whole.steps == 12
    assert whole.validation["ground_energy_mae_mHa"] < 20
    with pytest.raises(KeyboardInterrupt):
        train_functional(configuration(labels, tmp_path / "parts", checkpoint_minutes=0), report=stop_after(6))
    parts = train_functional(configuration(labels, tmp_path / "parts"), resume=True)
    assert parts.steps == whole.steps
    one, two = (load_functional(result.checkpoint) for result in (whole, parts))
    for a, b in zip(jax.tree.leaves(one[0]), jax.tree.leaves(two[0]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one[1].elements == ("H",) and one[0].config.formulas == ("H2",)
    assert "validation_nuclear_gradient_error_mHa_per_Bohr" in one[1].errors


def stop_after(step: int) -> Callable[[dict[str, float]], None]:
    """Raise as Ctrl-C does, at a step."""

    def report(numbers: dict[str, float]) -> None:
        if numbers["step"] > step:
            raise KeyboardInterrupt

    return report


def test_configurations_are_checked(tmp_path) -> None:
    table = {"model": {"kind": "density-functional", "hidden": 8, "heads": 4}, "data": {"train": ["a.h5"]}}
    config = parse_task(FunctionalTraining, table, "x.toml")
    assert config.model.hidden == 8 and config.data.train == ("a.h5",)
    with pytest.raises(InputError, match="did you mean 'hidden'"):
        parse_task(FunctionalTraining, {"model": {"hiden": 8}}, "x.toml")
    with pytest.raises(InputError, match="must not be negative"):
        DensityData(densities=-1)
    bare = [replace(one, densities=replace(one.densities, kinetic=one.densities.kinetic[:1])) for one in conformers(2)]
    with pytest.raises(InputError, match="ground states alone"):
        FunctionalTask(config, bare, bare)
    with pytest.raises(InputError, match="multiples of heads"):
        replace(config.model, hidden=9)
    path = tmp_path / "x.toml"
    path.write_text('[model]\nkind = "density-functional"\n')
    assert model_kind(path) == KIND
    path.write_text("[model]\nhidden = 3\n")
    assert model_kind(path) != KIND
