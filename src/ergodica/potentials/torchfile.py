"""PyTorch checkpoints read without torch, and without ever running what a file asks to run.

`ergodica.potentials.torchpickle` reads the pickle inside and notes the tensors it describes; here the two file formats
are taken apart, and the tensors made as read-only views of their storages, once their bounds have been checked.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ergodica.errors import InputError
from ergodica.potentials.torchpickle import Array, Dict, Dtype, Global, Namespace, Storage, Tensor, unpickle

__all__ = ["read_torch"]

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
SMALL_TENSOR = 1 << 20
"""Elements that a broadcast tensor may have, however small its file."""

BROKEN = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
    Warning, pickle.UnpicklingError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
"""What the standard library raises on damaged archives and pickles; warnings where the user made them errors."""

Load = Callable[[Storage], bytes]


def read_torch(path: str | Path) -> Any:
    """Read what `torch.save` wrote, as plain containers and NumPy arrays.

    Both formats are read: the zip of torch >= 1.6 and the stream before it. Mappings become dict, paths and devices
    str, and a class or dtype that is only mentioned its dotted name. Half precision (float16,
    bfloat16) is widened to float32, exactly. Arrays are read-only; tensors that shared a storage share it still.

    Args:
        path: the `.pt`, `.pth` or `.ckpt` file.

    Raises:
        InputError: the file is missing, damaged or no checkpoint, is a TorchScript archive, or asks to run code.
    """
    try:
        with Path(path).open("rb") as file:
            return _read(file)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except BROKEN as error:
        raise InputError(f"{path}: not a readable PyTorch checkpoint ({error})") from error


def _read(file: io.BufferedReader) -> object:
    start = file.read(4)
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if start == b"PK\x03\x04":
        return _read_zip(file, size)
    if start[:1] == pickle.PROTO:
        return _read_stream(io.BytesIO(file.read()), size)
    raise InputError("not a PyTorch checkpoint, which is a zip archive or a pickle")


def _read_zip(file: io.BufferedReader, size: int) -> object:
    with zipfile.ZipFile(file) as archive:
        records = {info.filename: info for info in archive.infolist()}
        prefix = _prefix(list(records))
        infos = archive.infolist()
        if sum(info.file_size for info in infos) > size or any(info.compress_type for info in infos):
            raise InputError(f"the archive declares more content than its {size} bytes hold as they are")

        def record(name: str) -> bytes:
            if prefix + name not in records:
                raise InputError(f"the archive lacks the record {name}, so it is incomplete")
            return archive.read(records[prefix + name])

        order = record("byteorder").decode() if prefix + "byteorder" in records else "little"
        tree, _ = unpickle(io.BytesIO(record("data.pkl")))
        builder = _Builder(lambda storage: record(f"data/{storage.key}"), size, ">" if order == "big" else "<")
        return builder.plain(tree)


def _prefix(names: list[str]) -> str:
    """The folder inside the archive, with its slash; torch names it after the file."""
    pickles = [name for name in names if PurePosixPath(name).name == "data.pkl"]
    if len(pickles) != 1:
        raise InputError("a zip archive, but not a PyTorch checkpoint: it should hold one data.pkl")
    prefix = pickles[0].removesuffix("data.pkl")
    if prefix + "constants.pkl" in names or any(name.startswith(prefix + "code/") for name in names):
        raise InputError(
            "a TorchScript archive, which is a program; with torch, and if you trust it, save its weights alone: "
            "torch.save(torch.jit.load(path, map_location='cpu').state_dict(), 'weights.pt')"
        )
    return prefix


def _read_stream(stream: io.BytesIO, size: int) -> object:
    """The format before torch 1.6: magic, protocol, system, objects, storage keys, then count and bytes of each."""
    if unpickle(stream)[0] != LEGACY_MAGIC:
        raise InputError("a pickle, but not a PyTorch checkpoint: it lacks torch's magic number")
    unpickle(stream), unpickle(stream)  # protocol and system: storages are little-endian on every machine
    tree, used = unpickle(stream)
    keys, _ = unpickle(stream)
    raw = {key: _take_storage(stream, _itemsize(used[key].code)) for key in keys}
    return _Builder(lambda storage: raw[storage.key], size, "<").plain(tree)


def _take_storage(stream: io.BytesIO, itemsize: int) -> bytes:
    (count,) = struct.unpack("<q", stream.read(8))
    raw = stream.read(count * itemsize) if count >= 0 else b""
    if len(raw) != count * itemsize:
        raise InputError(f"the file ends inside a storage of {count} elements, so it is incomplete")
    return raw


def _itemsize(code: str) -> int:
    return 2 if code == "bf16" else np.dtype(code).itemsize


def _numbers(raw: bytes, code: str, order: str) -> np.ndarray:
    """Native, read-only numbers; half precision widened, exactly."""
    if code == "bf16":
        out = (np.frombuffer(raw, order + "u2").astype(np.uint32) << 16).view(np.float32)
    else:
        flat = np.frombuffer(raw, np.dtype(order + code))
        out = flat.astype("f4" if code == "f2" else code, copy=False)
    out.setflags(write=False)
    return out


class _Builder:
    """Makes plain containers and arrays of an unpickled tree, each object once.

    Attributes:
        load: the bytes of a storage.
        limit: elements that one tensor may have; no honest file has more than bytes.
        order: byte order of the storages, "<" or ">".
    """

    def __init__(self, load: Load, size: int, order: str) -> None:
        self.load = load
        self.limit = max(size, SMALL_TENSOR)
        self.order = order
        self.done: dict[int, object] = {}
        self.flat: dict[tuple[str, str], np.ndarray] = {}
        self.makers: dict[type, Callable[[Any], object]] = {
            dict: self._dict, Dict: self._dict, Namespace: self._dict, list: self._list,
            tuple: lambda items: tuple(map(self.plain, items)), set: lambda items: set(map(self.plain, items)),
            frozenset: lambda items: frozenset(map(self.plain, items)), Global: lambda name: name.dotted,
            Tensor: self._view, Storage: lambda storage: self._numbers(storage, storage.code),
            Array: lambda array: array.value, Dtype: lambda dtype: str(dtype.numpy()),
        }  # fmt: skip

    def plain(self, item: Any) -> object:
        make = self.makers.get(type(item))
        if make is None:
            return item
        if id(item) not in self.done:
            self.done[id(item)] = make(item)
        return self.done[id(item)]

    def _dict(self, items: dict[object, object]) -> dict[object, object]:
        out: dict[object, object] = {}
        self.done[id(items)] = out  # before its content, which may contain it
        out.update((self.plain(key), self.plain(value)) for key, value in items.items())
        return out

    def _list(self, items: list[object]) -> list[object]:
        out: list[object] = []
        self.done[id(items)] = out
        out.extend(map(self.plain, items))
        return out

    def _numbers(self, storage: Storage, code: str) -> np.ndarray:
        if (storage.key, code) not in self.flat:
            raw = self.load(storage)
            if len(raw) != storage.numel * _itemsize(storage.code):
                raise InputError(f"storage {storage.key} has {len(raw)} bytes but declares {storage.numel} elements")
            self.flat[storage.key, code] = _numbers(raw, code, self.order)
        return self.flat[storage.key, code]

    def _view(self, tensor: Tensor) -> np.ndarray:
        flat = self._numbers(tensor.storage, tensor.code)
        offset, size, stride = tensor.offset, tensor.size, tensor.stride
        if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in (offset, *size, *stride)):
            raise InputError(f"a tensor has the shape {size} but the strides {stride} and the offset {offset}")
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if math.prod(size) > self.limit or (0 not in size and last >= flat.size):
            raise InputError(f"a tensor of shape {size} does not fit its storage of {flat.size} elements")
        if 0 in size:
            return np.zeros(size, flat.dtype)
        return np.lib.stride_tricks.as_strided(flat[offset:], size, [step * flat.itemsize for step in stride])
