"""Quasi-harmonic free energies and phase diagrams."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.eos import birchmurnaghan
from scipy.optimize import brentq

from ergodica.errors import InputError, WorkFailed
from ergodica.properties.eos import EosFit
from ergodica.properties.phase_diagram import compare_phases, phase_diagram
from ergodica.properties.quasiharmonic import FreeEnergySurface, Quasiharmonic, quasiharmonic
from ergodica.system import as_system
from ergodica.units import EV_PER_A3_IN_GPA, GPA, KB, KJ_PER_MOL
from tests.properties.fakes import argon

V0, B0, B1, QUANTUM, GAMMA = 12.0, 120 * GPA, 4.5, 0.025, 2.0
"""Einstein's crystal: Birch-Murnaghan and three oscillators whose energy (eV) goes as V^-γ."""
KELVIN = np.arange(0.0, 901.0, 50.0)


def einstein(volume, kelvin, e0=0.0, v0=V0, quantum=QUANTUM):
    """F, S and C_V of an atom."""
    x = quantum * (volume / v0) ** -GAMMA / np.maximum(KB * kelvin, 1e-9)
    level = quantum * (volume / v0) ** -GAMMA
    n = 1 / np.expm1(np.minimum(x, 700))
    static = birchmurnaghan(volume, e0, B0, B1, v0)
    free = static + 3 * (level / 2 + KB * kelvin * np.log1p(-np.exp(-np.minimum(x, 700))))
    entropy = 3 * KB * (x * n - np.log1p(-np.exp(-np.minimum(x, 700))))
    return free, entropy, 3 * KB * x**2 * n * (n + 1)


def surface(volumes=None, kelvin=KELVIN, **parameters):
    volumes = V0 * np.linspace(0.88, 1.08, 11) if volumes is None else volumes
    columns = [einstein(volumes[:, None], kelvin[None], **parameters)[k] for k in range(3)]
    return FreeEnergySurface.fit(kelvin, volumes, *columns)


@pytest.mark.parametrize("pressure", [0.0, 8.0])
def test_einsteins_crystal_expands_as_it_must(pressure):
    found = surface().at_pressure(pressure)

    def slope(v, t):
        return (einstein(v + 1e-4, t)[0] - einstein(v - 1e-4, t)[0]) / 2e-4 + pressure * GPA

    expected = np.array([brentq(slope, 10.5, 13.5, args=(t,)) for t in KELVIN])
    assert found["volume_A3_per_atom"] == pytest.approx(expected, rel=1e-4)
    assert found["grueneisen"][4:] == pytest.approx(GAMMA, rel=0.02)
    assert found["bulk_modulus_GPa"][0] > found["bulk_modulus_GPa"][-1] > 90
    cv, cp = found["heat_capacity_v_J_per_mol_K_per_atom"], found["heat_capacity_p_J_per_mol_K_per_atom"]
    alpha, bulk_modulus = found["thermal_expansion_per_K"], found["bulk_modulus_GPa"] / EV_PER_A3_IN_GPA
    difference = KELVIN * expected * alpha**2 * bulk_modulus * 1e3 / KJ_PER_MOL
    assert cp - cv == pytest.approx(difference, rel=1e-3, abs=1e-9) and (cp[1:] > cv[1:]).all()
    assert alpha[5:-1] == pytest.approx(np.gradient(expected, KELVIN)[5:-1] / expected[5:-1], rel=0.02)


def test_free_energy_entropy_and_volume_belong_together():
    """-∂G/∂T = S and ∂G/∂P = V hold for the fit itself."""
    kelvin = 400 + 0.5 * np.arange(-1, 2)
    fitted = surface(kelvin=kelvin)
    middle = fitted.at_pressure(5.0)
    slope = -(fitted.gibbs(5.0)[2] - fitted.gibbs(5.0)[0])
    assert slope * 1e3 / KJ_PER_MOL == pytest.approx(middle["entropy_J_per_mol_K_per_atom"][1], rel=1e-6)
    work = (fitted.gibbs(5.001)[1] - fitted.gibbs(4.999)[1]) / (0.002 * GPA)
    assert work == pytest.approx(middle["volume_A3_per_atom"][1], rel=1e-6)


def test_outside_the_sampled_volumes_there_is_no_number():
    narrow = surface(V0 * np.linspace(0.97, 1.01, 7))
    assert np.isnan(narrow.gibbs(0.0)[-1]) and np.isfinite(narrow.gibbs(0.0)[0])
    assert np.isnan(narrow.gibbs(20.0)).all()


def test_copper_agrees_with_phonopys_own_quasiharmonic_approximation():
    from phonopy.qha.qha import run_qha

    (found,) = quasiharmonic(EMT(), bulk("Cu"), length=5.0, mesh=20.0, t_max=600, t_step=100, volumes=6, p_max=5.0)
    assert found.warnings == () and found.gibbs.shape == (6, 7)
    kelvin = np.arange(0.0, 701.0, 100.0)
    static = [one.system.labels.energy for one in found.phonons]
    theirs = run_qha(
        [one.phonopy for one in found.phonons],
        kelvin,
        static,
        mesh=20.0,
        eos="birch_murnaghan",
        exclude_gamma_acoustic=True,
    )
    assert found.surface.volume(0.0) == pytest.approx(theirs.equilibrium_volumes, rel=2e-4)
    assert found.surface.gibbs(0.0) == pytest.approx(theirs.gibbs_free_energies, abs=2e-4)
    zero = found.surface.at_pressure(0.0)
    assert zero["thermal_expansion_per_K"][3] == pytest.approx(theirs.thermal_expansion[3], rel=0.03)
    record = found.to_dict()
    assert record["zero_pressure"]["thermal_expansion_per_K"][3] == pytest.approx(6e-5, rel=0.2)


@pytest.mark.slow
def test_the_supercell_is_one_at_all_volumes():
    changes = {"length": 7.2, "volumes": 5, "mesh": 15.0, "t_max": 27.0, "p_max": 0.4}
    (found,) = quasiharmonic(EMT(), bulk("Cu"), **changes)
    assert {len(one.phonopy.supercell) for one in found.phonons} == {108}
    np.testing.assert_allclose(found.surface.temperatures, [0, 10, 20, 27])
    np.testing.assert_allclose(found.pressures, [0, 0.4])


def test_unstable_crystal_and_pressure_out_of_reach_are_told():
    with pytest.raises(WorkFailed, match="imaginary modes"):
        quasiharmonic(argon(8.5), bulk("Ar", "sc", a=3.7), length=5.0, mesh=10.0, t_max=20)
    with pytest.raises(InputError, match="p_max"):
        quasiharmonic(EMT(), bulk("Cu"), p_max=5000.0)
    for bad in ({"volumes": 4}, {"expansion": 0.9}, {"p_max": -1}, {"length": 0}):
        with pytest.raises(InputError):
            quasiharmonic(EMT(), bulk("Cu"), **bad)


def phase(name, **parameters):
    system = as_system(bulk("Cu"), name)
    return Quasiharmonic(
        system, surface(**parameters), np.arange(0.0, 16.1, 0.25), EosFit("vinet", V0, 0, 120, 4, 0), (), ()
    )


def test_boundary_follows_clausius_and_clapeyron():
    """The denser, stiffer phase lies higher in energy: it wins under pressure, and loses on heating."""
    dense = V0 * 0.94
    loose = phase("loose")
    tight = phase("tight", e0=0.02, v0=dense, quantum=0.03, volumes=dense * np.linspace(0.88, 1.08, 11))
    found = compare_phases(loose, tight)
    assert found.warnings == () and len(found.boundary) >= len(KELVIN) - 1
    assert found.stable_at(0.0, 0.0) == "loose" and found.stable_at(0.0, 10.0) == "tight"
    line = dict(found.boundary)
    for t in (300.0, 600.0):
        one, other = (p.surface.at_pressure(line[t]) for p in (loose, tight))
        at = int(np.flatnonzero(t == KELVIN)[0])
        assert one["gibbs_eV_per_atom"][at] == pytest.approx(other["gibbs_eV_per_atom"][at], abs=1e-5)
        entropy, volume = (
            other[key][at] - one[key][at] for key in ("entropy_J_per_mol_K_per_atom", "volume_A3_per_atom")
        )
        clapeyron = entropy * KJ_PER_MOL / 1e3 / volume * EV_PER_A3_IN_GPA
        assert (line[t + 50] - line[t - 50]) / 100 == pytest.approx(clapeyron, rel=0.03)
    record = found.to_dict()
    assert record["boundary"][0]["temperature_K"] == 0.0 and record["first"]["name"] == "loose"


def test_one_phase_may_win_everywhere():
    found = compare_phases(phase("low"), phase("high", e0=0.5))
    assert found.boundary == () and "low is stable everywhere" in found.warnings[-1]
    lost = compare_phases(phase("low"), replace(phase("other"), surface=surface(V0 * np.linspace(0.5, 0.6, 7))))
    assert "No temperature and pressure" in lost.warnings[-1]


def test_polymorphs_have_one_composition():
    with pytest.raises(InputError, match=r"\(Cu\) and .* \(CuAu\) differ in composition"):
        phase_diagram(EMT(), [bulk("Cu"), bulk("CuAu", "cesiumchloride", a=3.1)])
    with pytest.raises(InputError, match="two structures, not 1"):
        phase_diagram(EMT(), [bulk("Cu")])
