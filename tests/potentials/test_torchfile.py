"""The reader of PyTorch checkpoints: what it gives, what it refuses, and that it runs nothing."""

from __future__ import annotations

import argparse
import pickle
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ergodica.errors import InputError
from ergodica.potentials.torchfile import read_torch
from tests.helpers import torchzip
from tests.helpers.torchzip import Build, Call, Global, Storage, parameter, tensor, whole, write_legacy, write_zip

WRITERS = pytest.mark.parametrize("write", [write_zip, write_legacy])


def _checkpoint() -> dict:
    state = OrderedDict(weight=parameter(whole("0", np.arange(6.0, dtype="f4").reshape(2, 3))))
    state._metadata = {"": {"version": 1}}
    state["count"] = whole("1", np.array(7))
    hyper = Call(
        Global("pytorch_lightning.utilities.parsing", "AttributeDict"), new=True, items=(("lmax", 2), ("cutoff", 5.0))
    )
    return {"state_dict": state, "hyper_parameters": hyper, "epoch": 3, "callbacks": {}, "best": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("torch")


@WRITERS
def test_lightning_checkpoint(tmp_path, write):
    got = read_torch(write(tmp_path / "a.ckpt", _checkpoint()))
    np.testing.assert_array_equal(got["state_dict"]["weight"], [[0, 1, 2], [3, 4, 5]])
    assert got["state_dict"]["weight"].dtype == np.float32
    assert got["state_dict"]["count"].shape == () and got["state_dict"]["count"] == 7
    assert got["hyper_parameters"] == {"lmax": 2, "cutoff": 5.0}
    assert {type(got), type(got["state_dict"]), type(got["hyper_parameters"])} == {dict}
    assert (got["epoch"], got["best"], got["callbacks"]) == (3, None, {})


@WRITERS
@pytest.mark.parametrize("kind", ["f8", "f4", "f2", "i8", "i4", "u1", "b1", "c8"])
def test_kinds_of_numbers(tmp_path, write, kind):
    values = np.array([0, 1, 3, 200]).astype(kind)
    got = read_torch(write(tmp_path / "a.pt", whole("0", values)))
    assert got.dtype == ("f4" if kind == "f2" else kind)
    np.testing.assert_array_equal(got, values)


@pytest.mark.parametrize("order", ["little", "big"])
def test_byte_order(tmp_path, order):
    got = read_torch(write_zip(tmp_path / "a.pt", whole("0", np.arange(4)), order))
    np.testing.assert_array_equal(got, np.arange(4))
    assert got.dtype.isnative


@pytest.mark.parametrize("order", ["little", "big"])
def test_bfloat16_is_the_upper_half_of_float32(tmp_path, order):
    values = np.array([1.0, -2.5, 3.0e38, np.inf, 0.0078125], "f4")
    upper = (values.view("u4") >> 16).astype("u2")
    got = read_torch(write_zip(tmp_path / "a.pt", tensor(Storage("0", upper), (5,), (1,)), order))
    np.testing.assert_array_equal(got.view("u4"), upper.astype("u4") << 16)


@WRITERS
def test_views_share_their_storage(tmp_path, write):
    storage = Storage("0", np.arange(12.0))
    tree = {
        "all": tensor(storage, (3, 4), (4, 1)),
        "transposed": tensor(storage, (4, 3), (1, 4)),
        "sliced": tensor(storage, (2, 2), (4, 2), 5),
        "broadcast": tensor(storage, (5, 2), (0, 1), 3),
        "empty": tensor(storage, (0, 3), (3, 1)),
    }
    got = read_torch(write(tmp_path / "a.pt", tree))
    every = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(got["transposed"], every.T)
    np.testing.assert_array_equal(got["sliced"], every[1:, 1::2])
    np.testing.assert_array_equal(got["broadcast"], np.tile([3.0, 4.0], (5, 1)))
    assert got["empty"].shape == (0, 3)
    assert np.shares_memory(got["all"], got["sliced"]) and not got["all"].flags.writeable


def test_objects_that_are_data(tmp_path):
    tree = {
        "namespace": argparse.Namespace(lr=1e-3, name="x"),
        "path": Call(Global("pathlib", "PosixPath"), ("/", "data", "x")),
        "lists": defaultdict(list, a=[1]),
        "device": Call(Global("torch", "device"), ("cuda", 1)),
        "size": Call(Global("torch", "Size"), ((2, 3),)),
        "dtype": Global("torch", "float32"),
        "activation": Global("torch.nn.modules.activation", "SiLU"),
        "scalar": np.float32(1.5),
        "array": np.arange(6, dtype=">i4").reshape(2, 3),
        "kind": np.dtype("f8"),
        "parameter": Call(Global("torch.nn.parameter", "Parameter"), (whole("0", np.ones(2)), True)),
        Global("callbacks", "Checkpoint"): (True, "text", b"bytes"),
    }
    got = read_torch(write_zip(tmp_path / "a.pt", tree))
    np.testing.assert_array_equal(got.pop("array"), np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(got.pop("parameter"), np.ones(2))
    assert got == {
        "namespace": {"lr": 1e-3, "name": "x"}, "path": "/data/x", "lists": {"a": [1]}, "device": "cuda:1",
        "size": (2, 3), "dtype": "torch.float32", "activation": "torch.nn.modules.activation.SiLU", "scalar": 1.5,
        "kind": "float64", "callbacks.Checkpoint": (True, "text", b"bytes"),
    }  # fmt: skip


def test_shared_and_cyclic_containers(tmp_path):
    inner: list = []
    inner.append(inner)
    got = read_torch(write_zip(tmp_path / "a.pt", {"a": inner, "b": inner}))
    assert got["a"] is got["b"] and got["a"][0] is got["a"]


def test_tensor_with_attributes(tmp_path):
    inner = tensor(Storage("0", np.arange(3.0)), (3,), (1,))
    outer = (inner.function, Global("torch", "Tensor"), inner.args, {"tag": 1})
    got = read_torch(write_zip(tmp_path / "a.pt", Call(Global("torch._tensor", "_rebuild_from_type_v2"), outer)))
    np.testing.assert_array_equal(got, np.arange(3.0))


# --- files that ask to run something --------------------------------------------------------------------------------

ATTACKS = {
    "os.system": lambda shell, _: Call(Global("os", "system"), (shell,)),
    "posix.system": lambda shell, _: {"hyper_parameters": {"deep": [Call(Global("posix", "system"), (shell,))]}},
    "builtins.eval": lambda _, python: Call(Global("builtins", "eval"), (python,)),
    "__builtin__.exec": lambda _, python: Call(Global("__builtin__", "exec"), (python,)),
    "builtins.getattr": lambda _, python: Call(Call(Global("builtins", "getattr"), (Global("os", "x"), "system")), ()),
    "functools.partial": lambda shell, _: Call(Global("functools", "partial"), (Global("os", "system"), shell)),
    "subprocess.Popen": lambda shell, _: Call(Global("subprocess", "Popen"), (shell,), new=True),
    "torch.load": lambda shell, _: Call(Global("torch", "load"), (shell,)),
    "torch.hub._load_local": lambda shell, _: Call(Global("torch.hub", "_load_local"), (shell,)),
    "lightning.Config": lambda _, python: Call(Global("lightning", "Config"), new=True, state={"x": python}),
    "torch._utils._rebuild_parameter": lambda x, _: Build(Global("torch._utils", "_rebuild_parameter"), {"make": x}),
    "collections.OrderedDict": lambda shell, _: Build(Global("collections", "OrderedDict"), (None, {"make": shell})),
    "argparse.Namespace": lambda *_: Build(Global("argparse", "Namespace"), {"__setstate__": Global("os", "system")}),
}  # fmt: skip


@WRITERS
@pytest.mark.parametrize("name", ATTACKS)
def test_code_is_refused_by_name(tmp_path, write, name):
    marker = tmp_path / "marker"
    tree = _checkpoint() | {"zzz": ATTACKS[name](f"touch {marker}", f"open({str(marker)!r}, 'w')")}
    with pytest.raises(InputError, match=rf"a\.ckpt: the file asks to .*{name}.*refused"):
        read_torch(write(tmp_path / "a.ckpt", tree))
    assert not marker.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"(S'touch {}'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'touch {}'\no.",  # OBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93S'touch {}'\n\x85R.",  # STACK_GLOBAL
        b"\x80\x04\x8c\x02os\x8c\x06system\x93S'touch {}'\n\x85}\x92.",  # NEWOBJ_EX
        b"ccollections\nOrderedDict\n)R}S'__setstate__'\ncos\nsystem\nsbS'touch {}'\nb.",  # a state that is code
        b"\x82\x01.",  # EXT1
        b"S'\\_'\n(.",  # a bad escape, which Python only warns of
        b"S'touch {}'\nP\n.",  # PERSID
        b"]r\xff\xff\xff\xff.",  # LONG_BINPUT to an index that would fill the memory
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.",  # BINBYTES8 of a length that would
    ],
)
def test_hand_made_pickles(tmp_path, program):
    marker = tmp_path / "marker"
    program = program.replace(b"{}", str(marker).encode())
    path = torchzip.write_records(tmp_path / "a.pt", {"data.pkl": program})
    if b"__setstate__" in program:
        assert read_torch(path) == {}  # attributes of a mapping are dropped, whatever they say
    else:
        with pytest.raises(InputError):
            read_torch(path)
    assert not marker.exists()


def test_stand_ins_are_not_altered_for_the_next_file(tmp_path):
    evil = Build(Global("torch._utils", "_rebuild_tensor_v2"), (None, {"make": Global("os", "system")}))
    with pytest.raises(InputError, match="alter"):
        read_torch(write_zip(tmp_path / "evil.pt", evil))
    np.testing.assert_array_equal(read_torch(write_zip(tmp_path / "good.pt", whole("0", np.ones(2)))), [1, 1])


# --- damaged files --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(folder) -> list[Path]:
    return [write_zip(folder / "zip.pt", _checkpoint()), write_legacy(folder / "stream.pt", _checkpoint())]


MANY = settings(max_examples=100)  # a reader of hostile files deserves more than the suite's few


@MANY
@given(which=st.sampled_from([0, 1]), share=st.floats(0, 1, exclude_max=True))
def test_every_prefix_is_refused(files, which, share):
    data = files[which].read_bytes()
    path = files[which].with_name("prefix.pt")
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError):
        read_torch(path)


@MANY
@given(data=st.data())
def test_altered_bytes_give_an_input_error_or_a_value(files, data):
    """Of the pickle itself, since the archive's checksums catch the rest; and of the stream, which has none."""
    content = dict(torchzip.records(_checkpoint()))
    stream = data.draw(st.booleans())
    raw = bytearray(files[1].read_bytes() if stream else content["data.pkl"])
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = files[0].with_name("altered.pt")
    path.write_bytes(raw) if stream else torchzip.write_records(path, content | {"data.pkl": bytes(raw)})
    try:
        read_torch(path)
    except InputError:
        pass


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (tensor(Storage("0", np.ones(3), declared=4), (3,), (1,)), "storage 0 has 24 bytes but declares 4"),
        (tensor(Storage("0", np.ones(3)), (4,), (1,)), "does not fit its storage of 3"),
        (tensor(Storage("0", np.ones(3)), (2,), (1,), 2), "does not fit"),
        (tensor(Storage("0", np.ones(3)), (2, 2), (1,)), "strides"),
        (tensor(Storage("0", np.ones(3)), (2,), (-1,), 1), "strides"),
        (tensor(Storage("0", np.ones(3)), (1 << 40,), (0,)), "does not fit"),
        (Call(Global("numpy", "dtype"), ("O8", False, True)), "only numbers"),
        (Call(Global("torch._utils", "_rebuild_qtensor"), ()), "_rebuild_qtensor"),
    ],
)
def test_tensors_that_cannot_be(tmp_path, tree, message):
    with pytest.raises(InputError, match=message):
        read_torch(write_zip(tmp_path / "a.pt", tree))


def test_missing_storage(tmp_path):
    content = dict(torchzip.records(_checkpoint()))
    del content["data/1"]
    with pytest.raises(InputError, match="lacks the record data/1"):
        read_torch(torchzip.write_records(tmp_path / "a.pt", content))


def test_compressed_archive(tmp_path):
    content = dict(torchzip.records(whole("0", np.zeros(100_000))))
    with pytest.raises(InputError, match="declares more content"):
        read_torch(torchzip.write_records(tmp_path / "bomb.pt", content, zipfile.ZIP_DEFLATED))


def test_deep_nesting(tmp_path):
    with pytest.raises(InputError):
        read_torch(torchzip.write_records(tmp_path / "a.pt", {"data.pkl": b"]" * 50_000 + b"a" * 49_999 + b"."}))


@pytest.mark.parametrize("record", ["constants.pkl", "code/__torch__.py"])
def test_torchscript(tmp_path, record):
    content = dict(torchzip.records({})) | {record: b""}
    with pytest.raises(InputError, match=r"TorchScript.*state_dict\(\)"):
        read_torch(torchzip.write_records(tmp_path / "a.pt", content))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", pickle.dumps({"a": 1}, 2), b"\x89HDF\r\n"])
def test_other_files(tmp_path, content):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.pt: .*not a"):
        read_torch(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_torch(tmp_path / "a.pt")
    with pytest.raises(InputError, match="directory"):
        read_torch(tmp_path)
