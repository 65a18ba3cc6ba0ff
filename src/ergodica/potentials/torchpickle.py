"""A pickle read as data: it can name anything, and run nothing but the few functions of this module.

A pickle is a program. Here it meets only stand-ins: every name in it becomes a `Global`, which imports nothing and,
when called, runs a function of `MAKERS` or refuses the file. Tensors and storages are merely noted down, as `Tensor`
and `Storage`; making arrays of them is `ergodica.potentials.torchfile`'s affair.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple

import numpy as np

from ergodica.errors import InputError

__all__ = ["Array", "Dict", "Dtype", "Global", "Namespace", "Storage", "Tensor", "unpickle"]

DTYPES = {
    "torch.float64": "f8", "torch.float32": "f4", "torch.float16": "f2", "torch.bfloat16": "bf16",
    "torch.int64": "i8", "torch.int32": "i4", "torch.int16": "i2", "torch.int8": "i1", "torch.bool": "?",
    "torch.uint64": "u8", "torch.uint32": "u4", "torch.uint16": "u2", "torch.uint8": "u1",
    "torch.complex64": "c8", "torch.complex128": "c16",
}  # fmt: skip
STORAGES = {
    "torch.DoubleStorage": "f8", "torch.FloatStorage": "f4", "torch.HalfStorage": "f2", "torch.BFloat16Storage": "bf16",
    "torch.LongStorage": "i8", "torch.IntStorage": "i4", "torch.ShortStorage": "i2", "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1", "torch.BoolStorage": "?", "torch.ComplexFloatStorage": "c8",
    "torch.ComplexDoubleStorage": "c16", "torch.UntypedStorage": "u1", "torch.storage.UntypedStorage": "u1",
    "torch.storage._UntypedStorage": "u1",
}  # fmt: skip
Make = Callable[..., object]


class Global(type):
    """A name in the pickle. It is a class only because the opcode NEWOBJ insists on one; each use makes a new one."""

    dotted: str
    make: Make

    def __call__(cls, *args: object) -> object:
        """Run the stand-in, or refuse the file."""
        return cls.make(*args)

    def __setstate__(cls, state: object) -> None:
        raise InputError(f"the file asks to alter {cls.dotted}, so it was refused")


def _global(dotted: str) -> Global:
    # some programs save the optimiser itself beside the weights: its attributes are kept as data
    known = Namespace.inert if dotted.startswith("torch.optim.") else None
    make = MAKERS.get(dotted) or known or _refusal(dotted)
    body = {"dotted": dotted, "make": staticmethod(make), "__new__": lambda _cls, *args: make(*args)}
    return Global("Global", (), body)


def _refusal(dotted: str) -> Make:
    def refuse(*_args: object) -> object:
        raise InputError(
            f"the file asks to run {dotted}, so it was refused; with torch, and if you trust it, load it and save its "
            "state_dict and plain numbers, strings and lists alone"
        )

    return refuse


class Dict(dict):
    """Any mapping; BUILD brings attributes such as `_metadata`, which are dropped."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        pass


class Namespace(Dict):
    """An object of which the attributes are kept and nothing else, such as an `argparse.Namespace`."""

    __slots__ = ()

    @classmethod
    def inert(cls, *_: object) -> Namespace:
        """One that has no attributes yet."""
        return cls()

    def __setstate__(self, state: Any) -> None:
        self.update(state)


class Storage(NamedTuple):
    """Numbers kept outside the pickle: their key, kind (of `STORAGES`) and number."""

    key: str
    code: str
    numel: int


class Tensor(NamedTuple):
    """A view of a storage; nothing about it has been checked yet, not even the types."""

    storage: Storage
    code: str
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class Dtype:
    """A NumPy dtype: a number, nothing else."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_flags: object) -> None:
        if not re.fullmatch(r"[biufc]\d{1,2}", code):
            raise InputError(f"holds a NumPy dtype {code!r}, and only numbers are read")
        self.code = code
        self.order = "<"

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    def numpy(self) -> np.dtype:
        """The dtype itself."""
        return np.dtype(self.order + self.code)


class Array:
    """A NumPy array, whose content arrives through BUILD."""

    __slots__ = ("value",)

    def __init__(self, *_prototype: object) -> None:
        self.value = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, data = state
        flat = np.frombuffer(data, dtype=dtype.numpy())
        self.value = flat.reshape(shape, order="F" if fortran else "C")


class _Unpickler(pickle.Unpickler):
    """Sees names as `Global` and notes the storages."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream, encoding="utf-8")
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str) -> Global:
        return _global(f"{module}.{name}")

    def persistent_load(self, pid: object) -> Storage | Global:
        match pid:
            case ("storage", Global(dotted=dotted), str(key), _, int(numel), *views) if views in ([], [None]):
                if dotted not in STORAGES:
                    raise InputError(f"holds a {dotted}, a kind of numbers that is not supported")
                return self.storages.setdefault(key, Storage(key, STORAGES[dotted], numel))
            case ("module", Global() as name, *_):  # how the old format mentions a torch.nn.Module
                return name
        raise InputError("holds a reference that is not a storage; load it with torch and save it anew")


def unpickle(stream: io.BytesIO) -> tuple[Any, dict[str, Storage]]:
    """Read one pickle off the stream; its opcodes are checked before any is run.

    Args:
        stream: the bytes, at the pickle's beginning; left at its end.

    Returns:
        the object, made of this module's stand-ins where it is more than plain data, and the storages it refers to.

    Raises:
        InputError: the pickle asks to run something, or holds numbers of an unknown kind.
        Exception: whatever `pickle` and `pickletools` raise on damaged data.
    """
    start = stream.tell()
    for opcode, arg, _ in pickletools.genops(stream):
        if opcode.name.startswith("EXT"):
            raise InputError("the pickle uses extension codes, so it was refused; torch never writes them")
        if opcode.name.endswith("PUT") and int(arg or 0) > stream.getbuffer().nbytes:
            raise InputError("the pickle asks for more memory than the file has bytes")
    end = stream.tell()
    stream.seek(start)
    unpickler = _Unpickler(stream)
    tree = unpickler.load()
    stream.seek(end)
    return tree, unpickler.storages


def _tensor(storage: Storage, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
    if len(rest) > 2 and rest[2]:
        raise InputError("holds a tensor that is conjugated or negated lazily; call its resolve_conj() before saving")
    return Tensor(storage, storage.code, offset, tuple(size), tuple(stride))


def _typed_tensor(storage: Storage, offset: int, size: Any, stride: Any, *rest: Any) -> Tensor:
    _grad, _hooks, dtype, *metadata = rest
    if dtype.dotted not in DTYPES:
        raise InputError(f"holds a tensor of {dtype.dotted}, a kind of numbers that is not supported")
    tensor = _tensor(storage, offset, size, stride, _grad, _hooks, *metadata)
    return tensor._replace(code=DTYPES[dtype.dotted])


def _subclassed(function: Global, _kind: object, args: Any, _state: object) -> object:
    if not isinstance(function, Global):
        raise InputError("the file asks to run something without a name, so it was refused")
    return function(*args)


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise InputError(f"holds bytes in the encoding {encoding!r}, which pickle never writes")
    return text.encode("latin-1")


def _device(kind: str, index: int | None = None) -> str:
    return kind if index is None else f"{kind}:{index:d}"


MAKERS: dict[str, Make] = {
    "collections.OrderedDict": Dict,
    "collections.Counter": Dict,
    "collections.defaultdict": lambda _factory=None, *content: Dict(*content),
    "argparse.Namespace": Namespace.inert,
    "torch.Size": lambda sizes=(): tuple(sizes),
    "torch.device": _device,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": lambda data, *_: data,
    "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
    "torch.nn.parameter.Parameter": lambda data, *_: data,
    "torch.nn.parameter.Buffer": lambda data, *_: data,
    "torch._tensor._rebuild_from_type_v2": _subclassed,
    "numpy.dtype": Dtype,
    "_codecs.encode": _encode,  # how pickle's protocol 2 spells bytes
}
for _core in ("numpy.core.multiarray", "numpy._core.multiarray"):
    MAKERS[f"{_core}._reconstruct"] = Array
    MAKERS[f"{_core}.scalar"] = lambda dtype, data: np.frombuffer(data, dtype.numpy(), count=1)[0].item()
for _package in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric"):
    MAKERS[f"{_package}.utilities.parsing.AttributeDict"] = Dict
    MAKERS[f"{_package}.utilities.data.AttributeDict"] = Dict
for _module in ("pathlib", "pathlib._local"):  # Python 3.13 moved them
    MAKERS |= {f"{_module}.{kind}PosixPath": lambda *parts: str(PurePosixPath(*parts)) for kind in ("", "Pure")}
    MAKERS |= {f"{_module}.{kind}WindowsPath": lambda *parts: str(PureWindowsPath(*parts)) for kind in ("", "Pure")}
