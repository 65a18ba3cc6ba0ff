"""Writes PyTorch checkpoints in pure Python: honest ones like `torch.save`'s, and hostile ones.

Trees hold plain data, NumPy and standard-library objects, which pickle writes as always, and the classes below.
"""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STORAGES = {
    "f8": "DoubleStorage", "f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage", "i4": "IntStorage",
    "u1": "ByteStorage", "b1": "BoolStorage", "c8": "ComplexFloatStorage", "u2": "BFloat16Storage",
}  # fmt: skip
"""Storage of a NumPy kind; "u2" are the upper halves of float32, which is what bfloat16 is."""

LEGACY = (0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True})


@dataclass(frozen=True)
class Global:
    """A name to be imported, existing or not."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """Opcode REDUCE, or NEWOBJ, with the SETITEMS and BUILD that may follow."""

    function: Any
    args: tuple = ()
    new: bool = False
    items: tuple = ()
    state: Any = None


@dataclass(frozen=True)
class Build:
    """Opcode BUILD on anything: calls its `__setstate__`, or sets its attributes."""

    target: Any
    state: Any


@dataclass(frozen=True, eq=False)
class Storage:
    """Numbers in a record of their own."""

    key: str
    data: np.ndarray
    declared: int | None = None


ORDERED = Call(Global("collections", "OrderedDict"))


def tensor(storage: Storage, size: tuple = (), stride: tuple = (), offset: int = 0) -> Call:
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), (storage, offset, size, stride, False, ORDERED))


def whole(key: str, data: np.ndarray) -> Call:
    """A contiguous tensor."""
    steps = tuple(step // data.itemsize for step in data.strides)
    return tensor(Storage(key, data.ravel()), data.shape, steps)


def parameter(data: Call) -> Call:
    return Call(Global("torch._utils", "_rebuild_parameter"), (data, True, ORDERED))


class _Pickler(pickle._Pickler):
    """The pure-Python pickler, which lets us put opcodes of our own between its."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, protocol=2)
        self.storages: dict[str, Storage] = {}

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        writers = {Global: self._global, Call: self._call, Build: self._build, Storage: self._storage}
        writer = writers.get(type(obj))
        if writer is None:
            super().save(obj, save_persistent_id)
        else:
            writer(obj)

    def _global(self, name: Global) -> None:
        self.write(pickle.GLOBAL + f"{name.module}\n{name.name}\n".encode())

    def _call(self, call: Call) -> None:
        self.save(call.function)
        super().save(call.args)
        self.write(pickle.NEWOBJ if call.new else pickle.REDUCE)
        for key, value in call.items:
            self.save(key)
            self.save(value)
            self.write(pickle.SETITEM)
        if call.state is not None:
            self.save(call.state)
            self.write(pickle.BUILD)

    def _build(self, build: Build) -> None:
        self.save(build.target)
        self.save(build.state)
        self.write(pickle.BUILD)

    def _storage(self, storage: Storage) -> None:
        self.storages[storage.key] = storage
        numel = storage.data.size if storage.declared is None else storage.declared
        kind = STORAGES[storage.data.dtype.str[1:]]
        self.save(("storage", Global("torch", kind), storage.key, "cuda:0", numel))
        self.write(pickle.BINPERSID)


def pickled(tree: Any) -> tuple[bytes, dict[str, Storage]]:
    stream = io.BytesIO()
    pickler = _Pickler(stream)
    pickler.dump(tree)
    return stream.getvalue(), pickler.storages


def records(tree: Any, order: str = "little") -> Iterator[tuple[str, bytes]]:
    """The records of the zip format, with their names inside the archive's folder."""
    data, storages = pickled(tree)
    yield "data.pkl", data
    yield "byteorder", order.encode()
    for key, storage in storages.items():
        yield f"data/{key}", storage.data.astype(storage.data.dtype.newbyteorder(order)).tobytes()
    yield "version", b"3\n"


def write_records(path: Path, content: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(f"archive/{name}", data)
    return path


def write_zip(path: Path, tree: Any, order: str = "little") -> Path:
    return write_records(path, dict(records(tree, order)))


def write_legacy(path: Path, tree: Any) -> Path:
    """The stream format of torch < 1.6."""
    data, storages = pickled(tree)
    parts = [*(pickle.dumps(part, 2) for part in LEGACY), data, pickle.dumps(sorted(storages), 2)]
    for key in sorted(storages):
        numbers = storages[key].data
        parts += [struct.pack("<q", numbers.size), numbers.tobytes()]
    path.write_bytes(b"".join(parts))
    return path
