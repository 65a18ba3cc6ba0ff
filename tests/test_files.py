"""Files: every layout read, every bad input told in one sentence, nothing half written."""

from __future__ import annotations

import errno
import io
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ergodica.errors import InputError, WorkFailed
from ergodica.files import atomic_write, read_structures, write_structures
from ergodica.system import Labels, System
from ergodica.units import KCAL_PER_MOL


def water(shift: float = 0.0) -> Atoms:
    atoms = Atoms("OH2", [[0, 0, 0], [0, 0.76, 0.59], [0, -0.76, 0.59 + shift]])
    atoms.calc = SinglePointCalculator(atoms, energy=-14.0 - shift, forces=np.full((3, 3), shift))
    return atoms


@pytest.fixture
def many(tmp_path: Path) -> Path:
    path = tmp_path / "water.xyz"
    ase.io.write(path, [water(0.1 * k) for k in range(6)])
    return path


@pytest.mark.parametrize(
    ("selection", "frames"),
    [
        ("", range(6)),
        ("@2", [2]),
        ("@-1", [5]),
        ("@1:3", [1, 2]),
        ("@::2", [0, 2, 4]),
        ("@-2:", [4, 5]),
        ("@::-1", range(5, -1, -1)),
        ("@:-4", [0, 1]),
    ],
)
def test_selection_keeps_the_numbers_of_the_file(many, selection, frames):
    systems = read_structures(f"{many}{selection}", needs=("energy", "forces"))
    assert [system.name for system in systems] == [f"water.xyz frame {k}" for k in frames]
    np.testing.assert_allclose([s.labels.energy for s in systems], [-14 - 0.1 * k for k in frames])


def test_stdin_is_extxyz(many, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(many.read_text()))
    assert len(read_structures("-", needs=("forces",))) == 6
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(InputError, match="stdin"):
        read_structures("-")


def test_a_name_with_an_at_sign(many):
    odd = many.with_name("run@2.xyz")
    odd.write_bytes(many.read_bytes())
    assert len(read_structures(odd)) == 6
    assert len(read_structures(f"{odd}@:2")) == 2


def test_ase_database(tmp_path):
    path = tmp_path / "all.db"
    write_structures(path, [water(), Atoms("He")])
    assert len(read_structures(path)) == 2
    chosen = read_structures(f"{path}@formula=H2O", needs=("energy",))
    assert len(chosen) == 1 and chosen[0].labels.energy == -14.0
    with pytest.raises(InputError, match="holds no structure"):
        read_structures(f"{path}@formula=Xe9")


BAD = {
    "empty.xyz": ("", "is empty"),
    "cut.xyz": ("3\n\nH 0 0 0\nH 0 0 1\n", "incomplete"),
    "element.xyz": ("1\n\nQq 0 0 0\n", "unknown element 'Qq'"),
    "dummy.xyz": ("1\n\nX 0 0 0\n", "unknown element"),
    "strange.foo": ("hello\n", "format that ASE does not know"),
    "nan.xyz": ("1\n\nH nan 0 0\n", "nan.xyz frame 0: the position of atom 0"),
    "none.xyz": ("0\n\n", "holds no structure|no atoms"),
    "bad.traj": ("garbage", "damaged"),
    "bad.cif": ("junk\n", "damaged"),
    "bad.pdb": ("junk\n", "no atoms"),
    "bad.npz": ("junk\n", "damaged"),
    "flat.xyz": (
        '1\nLattice="1 0 0 2 0 0 0 0 1" Properties=species:S:1:pos:R:3\nH 0 0 0\n',
        "zero volume",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_told_in_one_sentence(tmp_path, name):
    content, message = BAD[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_structures(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)


def test_missing_file_folder_and_bad_selection(tmp_path, many):
    with pytest.raises(InputError, match="There is no file"):
        read_structures(tmp_path / "nothing.xyz")
    with pytest.raises(InputError, match="is a folder"):
        read_structures(tmp_path)
    with pytest.raises(InputError, match="must look like"):
        read_structures(f"{many}@abc")
    with pytest.raises(InputError, match="holds no structure"):
        read_structures(f"{many}@100:200")
    with pytest.raises(InputError):
        read_structures(f"{many}@100")


def test_truncated_npz(tmp_path):
    path = tmp_path / "a.npz"
    ragged(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged"):
        read_structures(path)


def test_npz_with_pickles_or_of_another_kind(tmp_path):
    path = tmp_path / "evil.npz"
    np.savez(path, z=np.array([{}], dtype=object), R=np.zeros((1, 1, 3)), E=np.zeros(1), F=np.zeros((1, 1, 3)))
    with pytest.raises(InputError, match="allow_pickle"):
        read_structures(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(InputError, match="none of the known layouts"):
        read_structures(path)


# ------------------------------------------------------------------------------------------------------------- labels


def foreign(path: Path) -> Path:
    path.write_text(
        "2\nProperties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-1.5 "
        'REF_stress="1 2 3 4 5 6" text=hello pbc="F F F"\nH 0 0 0 1 2 3\nH 0 0 0.74 4 5 6\n'
    )
    return path


@pytest.mark.parametrize("label", ["energy", "forces", "stress"])
def test_missing_label_is_an_error_that_names_the_likely_key(tmp_path, label):
    path = foreign(tmp_path / "ref.xyz")
    assert read_structures(path)[0].labels == Labels()
    with pytest.raises(InputError, match=rf"ref.xyz frame 0 has no {label}.*{label}_key='REF_{label}'"):
        read_structures(path, needs=(label,))


def test_explicit_keys(tmp_path):
    path = foreign(tmp_path / "ref.xyz")
    (system,) = read_structures(
        path,
        needs=("energy", "forces", "stress"),
        energy_key="REF_energy",
        forces_key="REF_forces",
        stress_key="REF_stress",
    )
    assert system.labels.energy == -1.5
    np.testing.assert_array_equal(system.labels.forces, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(system.labels.stress, [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    for key, message in (("nothing", "has no 'nothing'"), ("text", "not numeric"), ("REF_stress", "has shape")):
        with pytest.raises(InputError, match=message):
            read_structures(path, energy_key=key)


def test_explicit_keys_of_an_archive(tmp_path):
    path = tmp_path / "water.npz"
    write_structures(path, [System.from_ase(water(0.1 * k)) for k in range(2)])
    with np.load(path) as archive:
        np.savez(path, **archive, E_ccsd=np.array([-3.0, -4.0]))
    assert [one.labels.energy for one in read_structures(path, energy_key="E_ccsd")] == [-3.0, -4.0]
    with pytest.raises(InputError, match="no 'E_mp2'"):
        read_structures(path, energy_key="E_mp2")


@pytest.mark.parametrize("selection", ["-", "::0", "1:-"])
def test_bad_selections(many, selection):
    with pytest.raises(InputError, match="must look like"):
        read_structures(f"{many}@{selection}")


def test_label_that_is_not_finite(tmp_path):
    path = tmp_path / "nan.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3 energy=nan\nH 0 0 0\n")
    with pytest.raises(InputError, match="'energy' is not a finite number"):
        read_structures(path, needs=("energy",))


# ------------------------------------------------------------------------------------------------------------ archives


def ragged(path: Path, **more: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    stress = np.arange(12.0).reshape(2, 6)
    stress[1] = np.nan
    parts = {
        "n_atoms": np.array([2, 3]),
        "numbers": np.array([1, 1, 8, 1, 1], np.uint8),
        "positions": rng.normal(size=(5, 3)).astype(np.float32),
        "energy": np.array([-1.0, -2.0]),
        "forces": rng.normal(size=(5, 3)),
        "cell": np.stack([9 * np.eye(3)] * 2),
        "pbc": np.array([[True] * 3, [True, True, False]]),
        "stress": stress,
    }
    np.savez(path, **{**parts, **more})


def test_ragged_archive(tmp_path):
    path = tmp_path / "a.npz"
    ragged(path)
    first, second = read_structures(path, needs=("energy", "forces"))
    assert (len(first), len(second)) == (2, 3) and second.name == "a.npz frame 1"
    assert second.labels.energy == -2.0 and second.labels.stress is None and not second.is_bulk
    np.testing.assert_array_equal(first.labels.stress, [[0, 5, 4], [5, 1, 3], [4, 3, 2]])
    assert [s.name for s in read_structures(f"{path}@-1")] == ["a.npz frame 1"]
    with pytest.raises(InputError, match="frame 1 has no stress"):
        read_structures(path, needs=("stress",))


def test_ragged_archive_of_crystals_and_what_is_known_of_them(tmp_path):
    path = tmp_path / "crystals.npz"
    cells = np.stack([np.diag([2.0, 3.0, 4.0]), 5 * np.eye(3)])
    scaled = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0, 0]])
    more = {"bulk_modulus": np.array([10.0, 20.0]), "formula": np.array(["NaCl", "Cu"]), "meta": np.array("{}")}
    np.savez(path, n_atoms=np.array([2, 1]), numbers=np.array([11, 17, 29]), scaled=scaled, cell=cells, **more)
    salt, copper = read_structures(path)
    np.testing.assert_allclose(salt.positions[1], [1.0, 1.5, 2.0])
    np.testing.assert_allclose(copper.positions, [[1.25, 0, 0]])
    assert salt.is_bulk and salt.labels.energy is None and salt.labels.forces is None
    assert copper.info == {"bulk_modulus": 20.0, "formula": "Cu"}


def test_split_archive(tmp_path):
    path = tmp_path / "ethanol.npz"
    coordinates = np.random.default_rng(0).normal(size=(5, 3, 3))
    np.savez(path, numbers=[8, 1, 1], train1_R=coordinates, train1_E=np.arange(5.0), train1_F=coordinates,
             test1_R=coordinates[:2])  # fmt: skip
    systems = read_structures(f"{path}@train1[1:4]", needs=("energy", "forces"))
    assert [s.labels.energy for s in systems] == [1, 2, 3] and systems[0].name == "ethanol.npz train1 frame 1"
    assert len(read_structures(f"{path}@test1")) == 2
    for selection in ("", "@valid", "@0:3"):
        with pytest.raises(InputError, match=r"train1 \(5 frames\), test1 \(2 frames\)"):
            read_structures(f"{path}{selection}")
    with pytest.raises(InputError, match="test1 frame 0 has no energy"):
        read_structures(f"{path}@test1", needs=("energy",))


@pytest.mark.parametrize("keys", [("nuclear_charges", "coords", "energies", "forces"), ("z", "R", "E", "F")])
def test_published_archives_are_converted_from_kcal(tmp_path, keys):
    path = tmp_path / "md17.npz"
    coordinates = np.random.default_rng(0).normal(size=(3, 2, 3))
    values = ([8, 1], coordinates, np.full((3, 1), -10.0), np.ones((3, 2, 3)))
    np.savez(path, **dict(zip(keys, values, strict=True)))
    systems = read_structures(f"{path}@1:", needs=("energy", "forces"))
    assert [s.name for s in systems] == ["md17.npz frame 1", "md17.npz frame 2"]
    assert systems[0].labels.energy == pytest.approx(-10 * KCAL_PER_MOL)
    np.testing.assert_allclose(systems[0].labels.forces, KCAL_PER_MOL)
    np.savez(path, e_unit="eV", **dict(zip(keys, values, strict=True)))
    with pytest.raises(InputError, match="units of eV"):
        read_structures(path)


# -------------------------------------------------------------------------------------------------------------- writing


@given(
    positions=hnp.arrays(float, (3, 3), elements=st.floats(-50, 50, allow_subnormal=False)),
    energy=st.floats(-1e4, 1e4),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    charge=st.sampled_from([0.0, -1.0, 2.0]),
)
def test_round_trip(tmp_path_factory, positions, energy, pbc, charge):
    path = tmp_path_factory.mktemp("trip") / "a.xyz"
    labels = Labels(energy, positions[::-1].copy(), np.diag([1.0, 2.0, 3.0]))
    given_system = System([8, 1, 6], positions, np.diag([9.0, 8, 7]), pbc, charge, labels)
    write_structures(path, [given_system] * 2)
    back = read_structures(path, needs=("energy", "forces", "stress"))
    assert len(back) == 2
    np.testing.assert_allclose(back[1].positions, positions, atol=1e-7)
    np.testing.assert_array_equal(back[1].pbc, pbc)
    np.testing.assert_allclose(back[1].labels.stress, labels.stress)
    assert back[1].labels.energy == pytest.approx(energy) and back[1].charge == charge


def test_write_failures(tmp_path, many, monkeypatch):
    old = many.read_bytes()
    with pytest.raises(InputError, match="writes no format"):
        write_structures(tmp_path / "a.strange", Atoms("H"))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(WorkFailed, match="No space left"):
        monkeypatch.setattr("ase.io.write", full)
        write_structures(many, Atoms("H"))
    assert many.read_bytes() == old
    assert sorted(p.name for p in tmp_path.iterdir()) == ["water.xyz"]


def test_atomic_write(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "file.bin"
    atomic_write(path, b"one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, b"three")
    assert path.read_bytes() == b"two" and len(list(path.parent.iterdir())) == 1
    (tmp_path / "blocked").write_text("a file, not a folder")
    with pytest.raises(WorkFailed, match="Could not write"):
        atomic_write(tmp_path / "blocked" / "x", b"")


def test_a_ragged_archive_holds_all_that_a_system_is(tmp_path):
    rng = np.random.default_rng(0)
    crystal = System(
        numbers=[14, 8],
        positions=rng.normal(size=(2, 3)),
        cell=np.eye(3) * 4 + rng.normal(size=(3, 3)) * 0.1,
        pbc=[True] * 3,
        charge=1.0,
        labels=Labels(-3.0, rng.normal(size=(2, 3)), np.diag([1.0, 2, 3]) + 0.1, "emt 3", "guess"),
        info={"kind": "rattled", "temperature_K": 300.0},
        fixed=[True, False],
        own_masses=[30.0, 18.0],
    )
    bare = System(numbers=[1], positions=np.zeros((1, 3)))
    write_structures(tmp_path / "both.npz", [crystal, bare])
    first, second = read_structures(tmp_path / "both.npz")
    for key in ("numbers", "positions", "cell", "pbc", "charge", "info", "fixed", "own_masses"):
        np.testing.assert_array_equal(getattr(first, key), getattr(crystal, key))
    for key in ("energy", "forces", "stress", "teacher", "level_of_theory"):
        np.testing.assert_array_equal(getattr(first.labels, key), getattr(crystal.labels, key))
    assert second.labels == Labels() and second.info == {}
    assert not second.fixed.any() and not second.own_masses.size


def test_extxyz_carries_what_is_known_of_a_structure(tmp_path):
    system = System([1], np.zeros((1, 3)), labels=Labels(-1.0, teacher="me", level_of_theory="a b"), info={"step": 3})
    write_structures(tmp_path / "a.extxyz", system)
    (found,) = read_structures(tmp_path / "a.extxyz")
    assert found.info == {"step": 3}
    assert (found.labels.energy, found.labels.teacher, found.labels.level_of_theory) == (-1.0, "me", "a b")
    assert found.with_labels(Labels(-2.0)).to_ase().info == {"step": 3}, "new labels do not keep the old teacher's name"
