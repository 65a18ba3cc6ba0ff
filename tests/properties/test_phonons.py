"""Phonons."""

from __future__ import annotations

import sys

import numpy as np
import phonopy
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

from ergodica import load, phonons
from ergodica.errors import InputError, WorkFailed
from ergodica.properties.harmonic import displaced, forces_at_rest, supercell_multiples
from ergodica.properties.options import PhononOptions
from ergodica.properties.phonons import analyse
from ergodica.system import Labels, as_system
from ergodica.units import HBAR, KB, THZ
from tests.properties.fakes import ARGON, NEAREST, argon, crystal_of

QUICK = {"length": 5.0, "mesh": 20.0, "t_step": 100.0}


@pytest.fixture(scope="module")
def springs():
    """Argon with nearest neighbours alone: at rest, each bond is a spring."""
    (found,) = phonons(argon(), bulk("Ar", a=5.3), supercell=(3, 3, 3), mesh=40, fmax=1e-6, t_max=2000, t_step=100)
    return found


def dispersion(q, cell):
    """Frequencies of atoms on springs: D(q) = k/M Σ R̂R̂ᵀ (1 - cos q·R) over the neighbours."""
    mass = 39.948
    stiffness = 72 * ARGON["epsilon"] / (2 ** (1 / 3) * ARGON["sigma"] ** 2)
    steps = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), -1).reshape(-1, 3)
    lengths = np.linalg.norm(steps @ cell, axis=1)
    near = steps[(lengths > 0.1) & (lengths < NEAREST)]
    assert len(near) == 12
    bonds = near @ cell
    bonds /= np.linalg.norm(bonds, axis=1, keepdims=True)
    matrix = np.einsum("b,bi,bj->ij", 1 - np.cos(2 * np.pi * near @ q), bonds, bonds) * stiffness / mass
    return np.sqrt(np.maximum(np.linalg.eigvalsh(matrix), 0)) * THZ


def test_bands_are_those_of_atoms_on_springs(springs):
    assert springs.warnings == () and springs.n_atoms == 1
    cell = springs.phonopy.primitive.cell
    for qpoints, frequencies in zip(springs.bands.qpoints, springs.bands.frequencies, strict=True):
        expected = np.array([dispersion(q, cell) for q in qpoints])
        assert np.sort(frequencies, axis=1) == pytest.approx(expected, abs=2e-3)
    assert springs.gamma == pytest.approx(np.zeros(3), abs=1e-4) and not springs.imaginary
    assert springs.bands.labels[0] == ("Γ", "X")


def test_states_are_counted_and_heat_capacity_becomes_classical(springs):
    frequency, density = springs.dos
    assert np.trapezoid(density, frequency) == pytest.approx(3, rel=0.01)
    assert springs.thermal.heat_capacity[-1] == pytest.approx(3 * KB, rel=1e-3)
    assert springs.thermal.heat_capacity[0] == 0 and springs.thermal.entropy[0] == 0
    mean = np.trapezoid(density * frequency, frequency)
    assert springs.thermal.free_energy[0] == pytest.approx(0.5 * HBAR * 2 * np.pi * 1e-3 * mean, rel=0.01)


def test_thermal_functions_belong_together(springs):
    t = springs.thermal
    slope = np.gradient(t.free_energy, t.temperatures, edge_order=2)
    assert slope[5:-1] == pytest.approx(-t.entropy[5:-1], rel=5e-3)
    assert t.temperatures[3] == springs.room.temperatures[0] == 300
    assert springs.room.heat_capacity == pytest.approx(t.heat_capacity[3:4])


def test_room_temperature_is_told_whatever_the_table_holds(springs):
    (cold,) = phonons(
        argon(), bulk("Ar", a=5.3), supercell=(3, 3, 3), mesh=40, fmax=1e-6, t_max=100, t_step=60, relax="none"
    )
    told = "heat_capacity_300K_J_per_mol_K"
    assert cold.to_dict()[told] == pytest.approx(springs.to_dict()[told], rel=1e-3)


def test_isotopes_vibrate_with_their_own_masses(springs):
    heavy = bulk("Ar", a=5.3)
    heavy.set_masses([4 * 39.948])
    (found,) = phonons(argon(), heavy, supercell=(3, 3, 3), mesh=40, fmax=1e-6, t_step=500)
    assert found.highest == pytest.approx(0.5 * springs.highest, rel=1e-4)
    pair = bulk("Ar", a=5.3, cubic=True)
    pair.set_masses([36.0, 40.0, 40.0, 40.0])
    with pytest.raises(InputError, match="several masses"):
        phonons(argon(), pair, supercell=(1, 1, 1), relax="none")


def test_atoms_that_do_not_feel_each_other_have_no_phonons():
    with pytest.raises(WorkFailed, match="do not feel each other"):
        phonons(argon(), bulk("Ar", a=60.0), supercell=(1, 1, 1), mesh=20, relax="none")


def test_potential_gives_what_ases_calculator_gives():
    ours, theirs = (phonons(model, bulk("Cu"), **QUICK)[0] for model in (load("emt"), EMT()))
    for one, other in zip(ours.bands.frequencies, theirs.bands.frequencies, strict=True):
        assert one == pytest.approx(other, abs=1e-4)  # close to Γ the root magnifies rounding


def test_instability_is_flagged_with_its_wave_vector():
    (found,) = phonons(argon(8.5), bulk("Ar", "sc", a=3.7), **QUICK)
    assert found.imaginary and found.lowest < -0.1 and "imaginary modes" in found.warnings[-1]
    again = found.phonopy.run_qpoints([found.lowest_q]).frequencies
    assert again.min() == pytest.approx(found.lowest, abs=1e-3)


def test_structure_that_is_not_relaxed_is_warned_of():
    (found,) = phonons(EMT(), bulk("Cu", a=3.75), relax=False, **QUICK)
    assert "not relaxed" in found.warnings[0] and found.system.volume == pytest.approx(3.75**3 / 4)
    (quiet,) = phonons(EMT(), bulk("Cu", a=3.75), **QUICK)
    assert quiet.warnings == () and quiet.highest > found.highest


def test_phonopy_reads_what_is_written(springs, tmp_path):
    path = tmp_path / "phonopy_params.yaml"
    path.write_bytes(springs.yaml())
    loaded = phonopy.load(str(path), log_level=0)
    q = [[0.5, 0.0, 0.5], [0.3, 0.1, 0.2]]
    expected = springs.phonopy.run_qpoints(q).frequencies
    assert loaded.run_qpoints(q).frequencies == pytest.approx(expected, abs=1e-6)


def test_supercell_is_as_long_as_asked_for():
    assert supercell_multiples(np.eye(3) * 5.0, 10.0) == (2, 2, 2)
    skew = np.array([[4.0, 0, 0], [3.0, 2.0, 0], [0, 0, 11.0]])
    multiples = supercell_multiples(skew, 10.0)
    heights = 1 / np.linalg.norm(np.linalg.inv(np.array(multiples)[:, None] * skew), axis=0)
    assert (heights >= 10 - 1e-9).all() and multiples[2] == 1


@pytest.mark.parametrize("group", [14, 88, 167])
@pytest.mark.parametrize("primitive", [True, False])
def test_forces_at_rest_find_their_atoms_in_the_supercell(group, primitive):
    system = as_system(crystal_of(group, primitive))
    system = system.with_labels(Labels(0.0, np.arange(3.0 * len(system)).reshape(-1, 3)))
    harmonic = displaced(system, PhononOptions(length=4.0))
    forces = forces_at_rest(system, harmonic)
    gaps = (harmonic.supercell.positions[:, None] - system.positions) @ np.linalg.inv(system.cell)
    image = np.abs(gaps - np.rint(gaps)).max(axis=2) < 1e-6
    assert (image.sum(axis=1) == 1).all()
    assert np.array_equal(forces, system.labels.forces[image.argmax(axis=1)])


@pytest.mark.parametrize("package", ["phonopy", "seekpath"])
def test_missing_packages_are_named_with_the_command_that_brings_them(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs {package}: pip install 'ergodica\[phonons\]'"):
        phonons(EMT(), bulk("Cu"))


def test_modes_that_are_a_little_imaginary_are_counted_where_they_are_left_out(springs, monkeypatch):
    """Frequencies lowered by a shift: whatever comes out at or below zero is missing in the thermal functions."""
    real = type(springs.phonopy).run_mesh

    def lowered(self, *arguments, **options):
        found = real(self, *arguments, **options)
        found.frequencies[np.asarray(found.frequencies) < 0.3] = -0.05
        return found

    options = PhononOptions(**{**QUICK, "mesh": 60.0})
    assert analyse(springs.system, springs.phonopy, options).warnings == ()
    monkeypatch.setattr(type(springs.phonopy), "run_mesh", lowered)
    (warning,) = analyse(springs.system, springs.phonopy, options).warnings
    assert "modes of the mesh are imaginary by rounding or a little more (down to 0.050i THz)" in warning


def test_unsuitable_input_is_refused():
    charged, mixed = bulk("Cu"), bulk("Cu", cubic=True)
    charged.info["charge"] = 1
    mixed.set_masses([63.0, 65.0, 63.0, 65.0])
    with pytest.raises(InputError, match="charge of 1"):
        phonons(EMT(), charged)
    with pytest.raises(InputError, match="several masses"):
        phonons(EMT(), mixed)
    with pytest.raises(InputError, match="no crystal"):
        phonons(EMT(), molecule("H2O"))
    for bad in ({"supercell": (0, 1, 1)}, {"length": -1.0}, {"mesh": 0.0}, {"lenght": 9}):
        with pytest.raises(InputError):
            phonons(EMT(), bulk("Cu"), **bad)
