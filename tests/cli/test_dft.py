"""`dft minimize` and `dft ks` as commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import read, write

from ergodica.units import BOHR, HARTREE
from tests.cli.conftest import is_one_sentence, stopped
from tests.dft.toy import minimum


def test_two_electrons_need_no_learning_and_forces_are_derivatives(ergodica):
    """Three H2 in one go: exact for one orbital, up to the basis; every energy is minimised on its own."""
    step, bond = 2e-3, 0.741
    write("h2.xyz", [Atoms("H2", [[0, 0, 0], [0, 0, bond + d]]) for d in (-step, 0, step)], format="extxyz")
    options = ("--functional", "vw", "--tolerance", "1e-6")
    answer = ergodica("dft", "minimize", "h2.xyz", *options, "--json", "-o", "out.xyz", model=False)
    assert answer.code == 0
    short, here, long = answer.json
    assert here["converged"] and here["gradient_norm"] <= 1e-6 and abs(here["electron_count_error"]) < 1e-9
    assert abs(here["energy_Ha"] - -1.164610358690273) <= 0.3 / 627.5  # Kohn-Sham's, within 0.3 kcal/mol
    assert set(here["terms_Ha"]) == {"kinetic", "xc", "hartree", "external", "nuclear"}
    assert here["energy_Ha"] == pytest.approx(sum(here["terms_Ha"].values()), abs=1e-9)
    assert here["dipole_D"] == pytest.approx([0, 0, 0], abs=1e-3) and here["reference"] is None
    slope = HARTREE * (long["energy_Ha"] - short["energy_Ha"]) / (2 * step)
    assert -here["forces_eV_per_A"][1][2] == pytest.approx(slope, abs=1e-5 * HARTREE / BOHR)
    assert read("out.xyz", 1).get_potential_energy() == pytest.approx(HARTREE * here["energy_Ha"], rel=1e-9)
    np.testing.assert_allclose(read("out.xyz", 1).get_forces(), here["forces_eV_per_A"], atol=1e-6)


@pytest.mark.parametrize(
    ("atoms", "options", "hint"),
    [
        (Atoms("H"), [], "1 electrons"),
        (molecule("NO"), [], "15 electrons"),
        (Atoms("Fe"), [], "no density basis for Fe"),
        (Atoms("H2", [[0, 0, 0], [0, 0, 0.1]]), [], "0.10 Å apart"),
        (Atoms("He", cell=[5, 5, 5], pbc=True), [], "periodic"),
        (molecule("CH4"), ["-f", "ofdft-water"], "holds C, an element that this functional was not trained on"),
        (molecule("H2"), ["-f", "ofdft-water"], "use --force"),
        (
            Atoms("OH2", molecule("H2O").positions, info={"charge": 2}),
            ["-f", "ofdft-water"],
            "is H2O 2+, but this functional was trained on H2O",
        ),
        (Atoms("He", info={"charge": np.nan}), [], "charge"),
        (molecule("H2O"), ["-f", "ofdft-water", "--xc", "lda"], "leave --xc out"),
        (molecule("H2"), ["-f", "tf", "--start", "model"], "Only a learned functional"),
        (Atoms("He"), ["--functional", "b3lyp"], "no functional 'b3lyp'"),
        (Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info={"multiplicity": 3}), [], "said to have 2 unpaired electrons"),
        (Atoms("He", info={"spin": "up"}), [], "'spin' of 'up' is no whole number"),
        (Atoms("He"), ["--steps", "0"], "one step or more"),
        (Atoms("He"), ["--tolerance", "nan"], "tolerance"),
    ],
)
def test_molecules_that_are_refused(ergodica, atoms, options, hint):
    write("bad.xyz", atoms, format="extxyz")
    answer = ergodica("dft", "minimize", "bad.xyz", *options, model=False)
    assert answer.code == 2 and is_one_sentence(answer.err) and hint in answer.err


def test_what_did_not_converge_is_no_label(ergodica):
    write("h2.xyz", molecule("H2"), format="extxyz")
    answer = ergodica("dft", "minimize", "h2.xyz", "-f", "vw", "--steps", "2", "-o", "out.xyz", model=False)
    assert answer.code == 1
    atoms = read("out.xyz")
    assert atoms.calc is None and atoms.info["converged"] == np.False_
    assert ergodica("dft", "minimize", "out.xyz", "-f", "vw", "-o", "again.xyz", model=False).code == 0
    atoms = read("again.xyz")
    assert atoms.calc is not None and "converged" not in atoms.info


@pytest.mark.slow
def test_labels_and_errors_of_the_shipped_functional(ergodica):
    """Water as its functional has never seen it, from labels to errors; starts agree."""
    pytest.importorskip("pyscf")
    write("water.xyz", molecule("H2O"), format="extxyz")
    answer = ergodica(
        "dft", "labels", "water.xyz", "-o", "l.h5", "--count", "1", "--workers", "0", "--json", model=False
    )
    assert answer.code == 0 and answer.json["labels"] == 2
    again = ergodica(
        "dft", "labels", "water.xyz", "-o", "l.h5", "--count", "1", "--workers", "0", "--json", model=False
    )
    assert again.json["known"] == 1 and again.json["conformers"] == 0
    found = [
        ergodica("dft", "evaluate", "l.h5", "-f", "ofdft-water", "--start", start, "--json", model=False).json
        for start in ("model", "sad", "minao")
    ]
    for one in found:
        assert one["converged"] == 1 and one["energy_mae_kcal_per_mol"] < 0.1
        assert one["forces_mae_kcal_per_mol_A"] < 1.0 and one["density_l1_electrons"] < 0.05
    forced = ergodica("dft", "minimize", "water.xyz", "-f", "ofdft-water", "--json", model=False).json
    assert not forced["extrapolated"] and set(forced["terms_Ha"]) == {"kinetic+xc", "hartree", "external", "nuclear"}


def test_kohn_sham_beside_it(ergodica):
    pytest.importorskip("pyscf")
    write("h2.xyz", molecule("H2"), format="extxyz")
    answer = ergodica("dft", "ks", "h2.xyz", "--json", model=False)
    assert answer.code == 0 and answer.json["energy_Ha"] == pytest.approx(-1.1646, abs=1e-3)
    assert sum(answer.json["terms_Ha"].values()) == pytest.approx(answer.json["energy_Ha"], abs=1e-7)


def test_what_was_minimised_before_ctrl_c_is_kept(ergodica, monkeypatch):
    from ergodica.dft import run

    monkeypatch.setattr(run, "iter_minimized", stopped(run.iter_minimized, 2))
    write("helium.xyz", [Atoms("He")] * 3, format="extxyz")
    answer = ergodica("dft", "minimize", "helium.xyz", "-f", "vw", "--json", "-o", "out.xyz", model=False)
    assert answer.code == 130 and "2 of 3 converged" in answer.err
    assert [one["index"] for one in answer.json] == [0, 1]
    assert [atoms.get_potential_energy() for atoms in read("out.xyz", ":")] == pytest.approx(
        [HARTREE * one["energy_Ha"] for one in answer.json]
    )


def test_a_scan_keeps_what_is_known_and_says_what_is_extrapolated(ergodica, monkeypatch):
    from ergodica.dft import run

    def first(systems, options):
        yield 0, minimum(systems[0], -150.0, extrapolated=options.force)
        raise KeyboardInterrupt

    write("peroxide.xyz", molecule("H2O2"), format="extxyz")
    options = ("--dihedral", "2", "0", "1", "3", "--points", "2", "-f", "ofdft-water")
    refused = ergodica("dft", "scan", "peroxide.xyz", *options, model=False)
    assert refused.code == 2 and "is H2O2, but this functional was trained on H2O" in refused.err
    monkeypatch.setattr(run, "iter_minimized", first)
    answer = ergodica("dft", "scan", "peroxide.xyz", *options, "--force", "--json", "-o", "scan.png", model=False)
    assert answer.code == 130 and len(answer.json) == 1 and answer.json[0]["extrapolated"]
    assert Path("scan.png").read_bytes().startswith(b"\x89PNG")
