"""Equations of state."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.eos import EquationOfState, birchmurnaghan, vinet

from ergodica import eos
from ergodica.errors import InputError
from ergodica.properties.eos import fit_eos
from ergodica.units import GPA
from tests.properties.fakes import Volumetric

TRUE = {"v0": 41.7, "e0": -12.3, "b0": 137.0, "b1": 5.1}
FORMS = {"birch-murnaghan": birchmurnaghan, "vinet": vinet}


def curve(form, volume):
    return FORMS[form](volume, TRUE["e0"], TRUE["b0"] * GPA, TRUE["b1"], TRUE["v0"])


@pytest.mark.parametrize("form", FORMS)
def test_parameters_are_recovered_from_points_of_the_curve(form):
    volumes = TRUE["v0"] * np.linspace(0.92, 1.09, 9)
    fit = fit_eos(volumes, curve(form, volumes), form)
    assert {key: getattr(fit, key) for key in TRUE} == pytest.approx(TRUE, rel=1e-6)
    assert fit.rms < 1e-8
    step = 1e-4
    slope = (curve(form, 40 + step) - curve(form, 40 - step)) / (2 * step)
    assert fit.pressure(np.array([40.0]))[0] == pytest.approx(-slope / GPA, rel=1e-5)


def test_no_minimum_is_no_fit():
    volumes = np.linspace(30, 40, 7)
    assert fit_eos(volumes, 1 / volumes) is None


@pytest.mark.parametrize("start", [0.7, 1.0, 1.6])
def test_window_moves_until_it_encloses_the_minimum(start):
    atoms = bulk("Cu", a=(4 * TRUE["v0"] * start) ** (1 / 3))
    (found,) = eos(Volumetric(lambda v: curve("birch-murnaghan", v)), atoms, relax="none")
    assert found.fit.v0 == pytest.approx(TRUE["v0"]) and found.fit.b0 == pytest.approx(TRUE["b0"], rel=1e-5)
    assert abs(found.volumes.mean() / TRUE["v0"] - 1) < 0.031
    assert bool(found.warnings) == (start != 1.0)


def test_crystal_that_is_not_bound_says_so_and_spoils_no_other():
    energy = lambda v: 1 / v if v > 100 else curve("vinet", v)  # noqa: E731
    gas, solid = eos(Volumetric(energy), [bulk("Cu", a=8.0), bulk("Cu", a=5.5)], relax="none")
    assert not gas.found and "no minimum" in gas.warnings[0] and gas.to_dict()["v0_A3"] is None
    assert solid.found


def test_copper_agrees_with_ases_own_fit():
    (found,) = eos(EMT(), bulk("Cu"), points=9)
    v0, e0, b0 = EquationOfState(found.volumes, found.energies, eos="birchmurnaghan").fit()
    assert (found.fit.v0, found.fit.e0) == pytest.approx((v0, e0), rel=1e-5)
    assert found.fit.b0 == pytest.approx(b0 / GPA, rel=1e-4)
    record = found.to_dict()
    assert record["v0_A3_per_atom"] == pytest.approx(11.5653, abs=1e-3)


def test_shape_is_relaxed_at_each_volume():
    squat = bulk("Cu", "hcp", a=2.6, c=3.9)
    (rigid,) = eos(EMT(), squat, relax="none")
    (free,) = eos(EMT(), squat)
    ratio = [cell.cell[2, 2] / cell.cell[0, 0] for cell in free.cells]
    assert min(ratio) > 1.55 and free.fit.e0 < rigid.fit.e0 - 1e-3
    assert [cell.volume for cell in free.cells] == pytest.approx(free.volumes)


def test_unsuitable_input_is_refused():
    with pytest.raises(InputError, match=r"no crystal \(0 of 3"):
        eos(EMT(), molecule("H2O"))
    for bad in ({"points": 4}, {"span": 0.7}, {"form": "parabola"}, {"pionts": 9}):
        with pytest.raises(InputError):
            eos(EMT(), bulk("Cu"), **bad)
