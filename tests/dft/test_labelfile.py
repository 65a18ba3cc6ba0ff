"""The file of labels: what goes in comes out, runs continue, other files are refused."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from ergodica.dft.labels import file as labelfile
from ergodica.dft.labels.conformer import LabelOptions
from ergodica.dft.labels.file import LabelFile, read_labels
from ergodica.errors import InputError, WorkFailed
from tests.dft.toy import conformers


def test_what_goes_in_comes_out_and_goes_on(tmp_path) -> None:
    path, options = tmp_path / "labels.h5", LabelOptions(seed=3)
    two, other = conformers(2), conformers(1, 3, (1, 8))
    with LabelFile(path, options) as file:
        for number, one in enumerate(two):
            file.append(f"{number:040d}", one)
        assert len(read_labels(path)) == 2  # while it is open
    with LabelFile(path, options) as file:
        assert file.keys == {f"{number:040d}" for number in range(2)}
        file.append("2" * 40, other[0])
    found = read_labels(path)
    for one, back in zip([*two, *other], found, strict=True):
        assert back.energy == pytest.approx(one.energy, rel=1e-15)
        np.testing.assert_array_equal(back.system.positions, one.system.positions)
        for name, values in vars(one.densities).items():
            tolerance = 1e-6 if name.endswith("_gradient") else 0.0
            np.testing.assert_allclose(getattr(back.densities, name), values, rtol=tolerance, atol=tolerance)
        for name, values in vars(one.second).items():
            np.testing.assert_allclose(getattr(back.second, name), values, rtol=1e-6, atol=1e-6)
    assert [len(one.system) for one in read_labels(path, slice(1, None))] == [2, 2]
    assert [one.energy for one in read_labels(path, slice(None, None, -1))] == [one.energy for one in found[::-1]]
    assert [one.energy for one in read_labels(f"{path}@1:")] == [one.energy for one in found[1:]]


def test_files_of_before_have_no_second_derivatives_and_go_on(tmp_path) -> None:
    path, options = tmp_path / "labels.h5", LabelOptions(curvature=False)
    (one,) = conformers(1)
    with LabelFile(path, options) as file:
        file.append("0" * 40, one)
    with h5py.File(path, "a") as file:
        made = json.loads(file.attrs["options"])
        del made["curvature"]
        file.attrs["options"] = json.dumps(made)
    with LabelFile(path, options) as file:
        assert len(file.keys) == 1
    assert read_labels(path)[0].second is None


def test_two_writers_of_one_file_are_one_too_many(tmp_path) -> None:
    path, options = tmp_path / "labels.h5", LabelOptions()
    with LabelFile(path, options) as file:
        with pytest.raises(InputError, match="Another process is writing"):
            LabelFile(path, options)
        file.append("0" * 40, conformers(1)[0])
    with LabelFile(path, options) as file:
        assert len(file.keys) == 1
    assert [one.name for one in tmp_path.iterdir()] == ["labels.h5"]


def test_a_writer_reads_what_is_there_when_nobody_else_writes(tmp_path, monkeypatch) -> None:
    """Else it would put back what another one, just done, has added to."""
    path, one, other = tmp_path / "labels.h5", *conformers(2)
    locked = labelfile._locked

    def late(where):
        monkeypatch.setattr(labelfile, "_locked", locked)
        with LabelFile(path, LabelOptions()) as file:
            file.append("1" * 40, other)
        return locked(where)

    with LabelFile(path, LabelOptions()) as file:
        file.append("0" * 40, one)
    monkeypatch.setattr(labelfile, "_locked", late)
    with LabelFile(path, LabelOptions()) as file:
        assert file.keys == {"0" * 40, "1" * 40}
    assert len(read_labels(path)) == 2


def test_what_can_not_be_gone_on_with_leaves_nothing_behind(tmp_path, monkeypatch) -> None:
    path = tmp_path / "labels.h5"
    with LabelFile(path, LabelOptions()) as file:
        file.append("0" * 40, conformers(1)[0])
    before = path.read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch, pytest.raises(WorkFailed, match="free space"):
        patch.setattr(LabelFile, "_write", full)
        LabelFile(path, LabelOptions())
    assert path.read_bytes() == before and not list(tmp_path.glob(".*.part"))
    with LabelFile(path, LabelOptions()) as file:  # nor is it locked
        assert file.keys == {"0" * 40}


def test_a_file_that_is_cut_off_is_told_at_once(tmp_path) -> None:
    whole, cut = tmp_path / "labels.h5", tmp_path / "cut.h5"
    with LabelFile(whole, LabelOptions()) as file:
        for number, one in enumerate(conformers(8)):
            file.append(f"{number:040d}", one)
    content = whole.read_bytes()
    for share in (0.001, 0.1, 0.5, 0.95):
        cut.write_bytes(content[: int(share * len(content))])
        with pytest.raises(InputError, match="damaged"):
            read_labels(cut)


def test_an_empty_file_has_no_options_to_keep_to_and_any_is_replaced_on_demand(tmp_path) -> None:
    path = tmp_path / "labels.h5"
    with LabelFile(path, LabelOptions()):
        pass
    with LabelFile(path, LabelOptions(count=3)) as file:
        file.append("0" * 40, conformers(1)[0])
    with LabelFile(path, LabelOptions(count=4), overwrite=True) as file:
        assert not file.keys


def test_other_files_are_refused(tmp_path) -> None:
    path = tmp_path / "labels.h5"
    with LabelFile(path, LabelOptions()) as file:
        file.append("0" * 40, conformers(1)[0])
    with pytest.raises(InputError, match="made with other options"):
        LabelFile(path, LabelOptions(count=3))
    with pytest.raises(InputError, match="no label file"):
        read_labels(tmp_path / "none.h5")
    (tmp_path / "text.h5").write_text("no")
    with pytest.raises(InputError, match="damaged"):
        read_labels(tmp_path / "text.h5")
    with pytest.raises(InputError, match="holds no labelled conformer"):
        read_labels(path, slice(5, None))
    with pytest.raises(InputError, match="count >= 0"):
        LabelOptions(weakest=1.0)
    with pytest.raises(InputError, match="none of level 20"):
        LabelOptions(grid_level=20)


def test_conformers_are_read_in_the_order_in_which_they_were_given(tmp_path) -> None:
    """Whichever worker is done first, and whatever is added later."""
    path, three = tmp_path / "labels.h5", conformers(3)
    keys = [f"{number:040d}" for number in range(3)]
    with LabelFile(path, LabelOptions(), order=[keys[2], keys[0]]) as file:
        file.append(keys[0], three[0])
        assert [one.energy for one in read_labels(path)] == [pytest.approx(three[0].energy)]
        file.append(keys[2], three[2])
    with LabelFile(path, LabelOptions(), order=[keys[1], keys[0]]) as file:
        file.append(keys[1], three[1])
    found = read_labels(path)
    assert [one.energy for one in found] == pytest.approx([three[number].energy for number in (2, 0, 1)])
    assert [one.system.name for one in read_labels(path, slice(1, None))] == [one.system.name for one in found[1:]]


def test_second_derivatives_are_left_where_they_are_if_nobody_wants_them(tmp_path) -> None:
    path = tmp_path / "labels.h5"
    with LabelFile(path, LabelOptions()) as file:
        file.append("0" * 40, conformers(1)[0])
    assert read_labels(path)[0].second is not None and read_labels(path, second=False)[0].second is None


def test_a_link_to_a_file_stays_one(tmp_path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "labels.h5"
    link.symlink_to(tmp_path / "disk" / "labels.h5")
    for _ in range(2):
        with LabelFile(link, LabelOptions()) as file:
            file.append(f"{len(file.keys):040d}", conformers(1)[0])
    assert link.is_symlink() and len(read_labels(tmp_path / "disk" / "labels.h5")) == 2
