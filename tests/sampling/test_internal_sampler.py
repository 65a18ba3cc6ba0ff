"""Replica exchange by dynamics, and a sampler of all degrees of freedom, against an ensemble that is known."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.io import read

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.coordinates.chart import chart_of
from ergodica.sampling.coordinates.internal import internal
from ergodica.sampling.diffusion.reweighting import bennett, reweight
from ergodica.sampling.peptide_ensemble import PeptideOptions, _gathered, draw_peptide, sample_peptide
from ergodica.sampling.peptides import atom_names, backbone_angles, pdb_bytes, read_peptide, read_states, write_xtc
from ergodica.sampling.samplers.molecule.bootstrap import Bootstrap
from ergodica.sampling.samplers.molecule.network import InternalNetworkConfig
from ergodica.sampling.samplers.molecule.sampler import draw_structures, load_internal, save_internal
from ergodica.sampling.samplers.molecule.training import (
    InternalData,
    InternalTask,
    InternalTraining,
    fresh_sampler,
    states_of,
    train_internal,
)
from ergodica.sampling.walks.replica_md import Dynamics, Walked, continue_replicas, start_replicas
from ergodica.sampling.walks.tempering import Ladder
from ergodica.training.loop import run_task
from ergodica.training.options import OptimizerOptions, RunOptions
from ergodica.units import KB
from tests.sampling.conftest import PEPTIDES

SMALL = InternalNetworkConfig(hidden=16, blocks=1)
HEAT = KB * 300.0


@pytest.fixture(scope="module")
def peptide():
    return read_peptide(PEPTIDES / "alanine.pdb", PEPTIDES / "alanine-vacuum.xml")


def exact(field, heat=HEAT):
    """ln Z of the chain over its internal coordinates, and the mean cosine of its dihedral angle, by quadrature."""
    total = 0.0
    for constant, rest in np.asarray(field.bonds.values):
        r = np.linspace(0.2, 3.0, 4001)
        total += np.log(np.trapezoid(r**2 * np.exp(-0.5 * constant * (r - rest) ** 2 / heat), r))
    for constant, rest in np.asarray(field.angles.values):
        angle = np.linspace(0, np.pi, 4001)
        total += np.log(np.trapezoid(np.sin(angle) * np.exp(-0.5 * constant * (angle - rest) ** 2 / heat), angle))
    turn = np.linspace(-np.pi, np.pi, 4001)
    height = sum(k * (1 + np.cos(n * turn - phase)) for k, n, phase in np.asarray(field.torsions.values))
    boltzmann = np.exp(-height / heat)
    return total + np.log(np.trapezoid(boltzmann, turn)), np.trapezoid(np.cos(turn) * boltzmann) / boltzmann.sum()


@pytest.fixture(scope="module")
def ensemble(chain):
    return sample_peptide(chain, PeptideOptions(600, seed=3, dynamics=Dynamics(timestep=2.0, stride=10)))


def test_replica_exchange_gives_the_exact_ensemble(chain, ensemble):
    assert ensemble.reliable and ensemble.effective >= 600 and min(ensemble.exchanged) > 0.3
    turn = internal(chain.plan, jnp.asarray(ensemble.positions))[2][:, 0]
    mean, error = ensemble.average(np.cos(np.asarray(turn)))
    assert abs(mean - exact(chain.energy)[1]) < 4 * error and error < 0.05
    energy, error = ensemble.average(ensemble.energies)
    height = np.asarray(chain.energy.terms(jnp.asarray(ensemble.positions))["torsions"]).mean()
    assert abs(energy - height - 2.5 * HEAT) < 4 * error + 0.03 * HEAT  # five springs, the volume element aside


def test_rungs_with_nothing_in_common_leave_the_lowest(chain, ensemble):
    """Of energies so far apart that they say nothing of each other, nothing that was met at the lowest is lost."""
    ladder = Ladder(walkers=2)
    energies = (
        np.random.default_rng(0).normal(size=(9, ladder.rungs, 2)) * 0.01 + 90.0 * np.arange(ladder.rungs)[:, None]
    )
    walked = Walked(np.broadcast_to(chain.positions, (*energies.shape, 4, 3)), energies, np.zeros(ladder.rungs - 1))
    found = _gathered(chain, ladder, [walked, walked], (10.0, 1.0, 1), 0)
    assert len(found.energies) == 2 * 9 * 2 and found.energies.max() < 1
    np.testing.assert_allclose(found.thermal.temperatures, [300.0])
    assert len(ensemble.thermal.temperatures) == 21 and ensemble.thermal.temperatures[4] == pytest.approx(390.0)


def test_dynamics_that_blow_up_say_so(chain):
    with pytest.raises(WorkFailed, match="make them shorter"):
        run = start_replicas(chain.energy, chain.positions, Ladder(walkers=2), jax.random.key(0))
        continue_replicas(chain.energy, run, Ladder(walkers=2), Dynamics(timestep=200.0, mass=1.0), 4)
    with pytest.raises(WorkFailed, match="atoms overlap"):
        start_replicas(chain.energy, np.full((4, 3), np.nan), Ladder(walkers=2), jax.random.key(0))


def configuration(chain, output, **run):
    return InternalTraining(
        model=SMALL,
        data=InternalData(steps=6),
        optimizer=OptimizerOptions(learning_rate=3e-3, warmup=2),
        run=RunOptions(**{"epochs": 2, "batch_size": 32, "steps_per_call": 2, **run}),
        output=str(output),
    )


def test_untrained_samplers_have_exact_weights(chain, ensemble, tmp_path):
    """The density of samples is right whatever the network does: weights give the partition function."""
    sampler = fresh_sampler(configuration(chain, tmp_path), chain, ensemble.positions)
    drawn = draw_structures(sampler, 1024, steps=8)
    weighted = reweight(-drawn.energies - drawn.log_density)
    log_partition, cosine = exact(chain.energy)
    assert abs(weighted.log_mean - log_partition) < 4 * weighted.log_mean_error < 0.4
    angle = drawn.x[:, -1] * sampler.chart.space.pace
    assert weighted.average(np.cos(angle)) == pytest.approx(cosine, abs=0.1)


@pytest.mark.slow
def test_a_run_in_pieces_gives_the_same_bits_and_a_file(chain, ensemble, tmp_path):
    def stop(numbers):
        if numbers["step"] > 4:
            raise KeyboardInterrupt

    def trained(name, **options):
        config = configuration(chain, tmp_path / name, checkpoint_minutes=0)
        sampler = fresh_sampler(config, chain, ensemble.positions)
        states = states_of(sampler, ensemble.positions[:300]), states_of(sampler, ensemble.positions[300:400])
        return run_task(lambda: InternalTask(config, sampler, states), config.output, **options)

    whole = trained("whole")
    with pytest.raises(KeyboardInterrupt):
        trained("parts", report=stop)
    one, other = (load_internal(outcome.checkpoint) for outcome in (whole, trained("parts", resume=True)))
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.structure == chain.text and one.chart.plan == chain.plan
    drawn = draw_peptide(one, 40, seed=1)
    np.testing.assert_allclose(drawn.energies, chain.energy(jnp.asarray(drawn.positions)), atol=2e-5)
    save_internal(tmp_path / "again.safetensors", one)
    np.testing.assert_array_equal(
        draw_peptide(load_internal(tmp_path / "again.safetensors"), 40, seed=1).positions, drawn.positions
    )


@pytest.mark.slow
def test_a_sampler_learns_from_the_energy_alone(chain, tmp_path, monkeypatch):
    monkeypatch.setattr("ergodica.sampling.samplers.molecule.training.read_peptide", lambda *_: chain)
    config = configuration(chain, tmp_path)
    how = Bootstrap(hottest=600.0, rungs=2, proposals=256, settling=500, walk=100, records=10)
    config = replace(config, data=replace(config.data, bootstrap=how))
    outcome = train_internal(config)
    assert (tmp_path / "600K" / "model.safetensors").is_file()
    found = load_internal(outcome.checkpoint)
    assert found.temperature == 300 and found.info.errors["energy_calls"] == how.first_calls + how.calls
    weighted = draw_peptide(found, 512, seed=2).weighted
    assert abs(weighted.log_mean - exact(chain.energy)[0]) < 4 * weighted.log_mean_error
    with pytest.raises(InputError, match="trajectory and a bootstrap"):
        train_internal(replace(config, data=replace(config.data, trajectory=("a.npz",))))


def test_bennett_is_exact_between_gaussians():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=4000), 0.7 + 0.8 * rng.normal(size=3000)

    def log_ratio(x):  # of 5 times a Gaussian about 0.7 of width 0.8, over the unit Gaussian
        return np.log(5 / 0.8) - 0.5 * ((x - 0.7) / 0.8) ** 2 + 0.5 * x**2

    level, error = bennett(log_ratio(one), log_ratio(other))
    assert abs(level - np.log(5)) < 4 * error < 0.1
    with pytest.raises(InputError, match="both sides"):
        bennett(np.zeros(0), np.zeros(3))


def test_backbone_angles_and_models_of_a_pdb_file(peptide, tmp_path):
    assert atom_names(peptide.text)[8] == ("ALA2A", "CA")
    atoms = read(PEPTIDES / "alanine.pdb")
    angles = backbone_angles(peptide.text, peptide.positions[None])["ALA2A"][0]
    expected = [atoms.get_dihedral(4, 6, 8, 14), atoms.get_dihedral(6, 8, 14, 16)]
    np.testing.assert_allclose(np.cos(angles - np.radians(expected)), 1, atol=1e-6)
    (tmp_path / "a.pdb").write_bytes(pdb_bytes(peptide.text, np.stack([peptide.positions, peptide.positions + 1])))
    models = read(tmp_path / "a.pdb", index=":")
    assert len(models) == 2
    np.testing.assert_allclose(models[1].positions, peptide.positions + 1, atol=1e-3)
    first, last = read_states([tmp_path / "a.pdb"] * 2, peptide, share=0.5)
    assert first.shape == last.shape == (2, 22, 3)
    pytest.importorskip("mdtraj")
    assert write_xtc(tmp_path / "a.xtc", first)
    np.testing.assert_allclose(read_states([tmp_path / "a.xtc"], peptide, share=0)[0], first, atol=0.01)


def test_bad_input(peptide, chain, ensemble, tmp_path):
    with pytest.raises(InputError, match="no file"):
        read_peptide("nowhere.pdb", PEPTIDES / "alanine-vacuum.xml")
    (tmp_path / "chain.pdb").write_text(chain.text)
    with pytest.raises(InputError, match="do not belong together"):
        read_peptide(tmp_path / "chain.pdb", PEPTIDES / "alanine-vacuum.xml")
    with pytest.raises(InputError, match="No structures"):
        read_states([], peptide)
    with pytest.raises(InputError, match="4 atoms, not of 22"):
        read_states([tmp_path / "chain.pdb"], peptide)
    with pytest.raises(InputError, match="too few"):
        chart_of(peptide.plan, np.stack([peptide.positions] * 10))
    with pytest.raises(InputError, match="do not move"):
        chart_of(peptide.plan, np.stack([peptide.positions] * 100))
    with pytest.raises(InputError, match="must be positive"):
        InternalNetworkConfig(blocks=0)
    with pytest.raises(InputError, match="must be above 300"):
        Bootstrap(hottest=200.0).temperatures(300.0)
    with pytest.raises(InputError, match="multiple of records"):
        Bootstrap(walk=10, records=3)
    with pytest.raises(InputError, match="structures can be drawn"):
        PeptideOptions(count=0)
    sampler = fresh_sampler(configuration(chain, tmp_path), chain, ensemble.positions)
    with pytest.raises(InputError, match="atoms overlap"):
        states_of(sampler, np.zeros((2, 4, 3)))
