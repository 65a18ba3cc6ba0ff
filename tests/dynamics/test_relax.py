"""Relaxation of atoms and cells."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule

from ergodica import predict, relax
from ergodica.errors import InputError
from ergodica.potentials import EnergyScale, Info, Potential, ViSNetConfig


@pytest.fixture(scope="module")
def potential() -> Potential:
    config = ViSNetConfig(hidden=16, layers=2, heads=4, num_rbf=8)
    return Potential.create(config, energy_scale=EnergyScale(scale=0.1), info=Info(elements=("H", "C", "O", "Si")))


@pytest.mark.parametrize("optimizer", ["FIRE", "lbfgs"])
def test_forces_vanish_and_labels_are_the_models(potential, optimizer):
    start = molecule("CH3CH2OH")
    (one,) = relax(potential, start, optimizer=optimizer, fmax=0.005)
    (check,) = predict(potential, one.system)
    assert one.converged and one.fmax < 0.005 and one.steps > 0
    assert one.system.labels.energy == pytest.approx(check.energy, abs=1e-5)
    assert np.allclose(one.system.labels.forces, check.forces, atol=1e-5)
    assert optimizer == "lbfgs" or check.energy < predict(potential, start)[0].energy  # LBFGS may end on a saddle


def test_steps_run_out(potential):
    (one,) = relax(potential, molecule("CH3CH2OH"), steps=2, fmax=1e-6)
    assert not one.converged and one.steps == 2


def test_cell_follows_the_pressure(potential):
    silicon = bulk("Si", cubic=True)
    squeezed, free = (relax(potential, silicon, cell=True, pressure=p, steps=5)[0].system for p in (20.0, 0.0))
    assert squeezed.volume < free.volume
    assert relax(potential, silicon)[0].system.volume == pytest.approx(silicon.get_volume())


def test_unsuitable_structures_are_refused_before_anything_runs(potential):
    with pytest.raises(InputError, match="structure 1 holds Fe"):
        relax(potential, [molecule("H2O"), bulk("Fe")])
    with pytest.raises(InputError, match="not periodic"):
        relax(potential, molecule("H2O"), cell=True)


@pytest.mark.parametrize(
    "changes", [{"fmax": 0}, {"steps": -1}, {"pressure": 1.0}, {"optimizer": "magic"}, {"fmxa": 1}]
)
def test_options_that_make_no_sense(potential, changes):
    with pytest.raises(InputError):
        relax(potential, molecule("H2O"), **changes)
