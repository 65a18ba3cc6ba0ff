"""Strict conversion between frozen dataclasses and plain dictionaries (TOML tables, file headers)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, get_origin, get_type_hints

from ergodica.errors import InputError

if TYPE_CHECKING:
    from cattrs import Converter

__all__ = ["from_dict"]

T = TypeVar("T")


def from_dict(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Build a dataclass from a mapping; unknown keys and wrong types are errors with a suggestion.

    Args:
        cls: a dataclass, possibly nested.
        values: its fields.
        where: what is being read, for the message ("train.toml", "model.safetensors: config").

    Raises:
        InputError: naming the key and what was expected.
    """
    import cattrs

    check_keys(cls, values, where)
    plain = cattrs.Converter(forbid_extra_keys=True)
    # a field that may hold one of several classes is given as the value itself
    plain.register_structure_hook_func(lambda kind: getattr(kind, "_is_protocol", False), lambda value, _: value)
    for kind in WORDS:
        plain.register_structure_hook(kind, _exactly)
    converter = plain.copy()
    converter.register_structure_hook_func(_is_tuple, partial(_listed, plain))
    try:
        return converter.structure(dict(values), cls)
    except Exception as error:  # cattrs wraps whatever the fields raise
        own = _input_error(error)
        inner = [str(own)] if own else cattrs.transform_error(error, format_exception=_in_words)
        raise InputError(f"{where}: {inner[0] if inner else error}") from error


WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _exactly(value: Any, kind: type) -> Any:
    """A value of a simple type, as it is: Python's own conversions turn "false" into True and 1.9 into 1."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, kind) and not (kind is not bool and isinstance(value, bool)):
        return value
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    raise ValueError(f"{value!r} is not {WORDS[kind]}")


def _is_tuple(kind: Any) -> bool:
    origin: Any = get_origin(kind)
    return origin is tuple


def _listed(plain: Converter, value: Any, kind: Any) -> Any:
    """A tuple, which no text is, though it has items."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"{value!r} is not a list: write [{value!r}]")
    return plain.structure(value, kind)


def _in_words(error: BaseException, kind: type | None) -> str:
    from cattrs.v import format_exception

    text = str(error).replace("not in literal typing.Literal", "is not one of ")
    return text if " is not " in text else format_exception(error, kind)


def _input_error(error: BaseException) -> InputError | None:
    """The `InputError` a dataclass raised when it was made, out of the group cattrs put it into."""
    if isinstance(error, InputError):
        return error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return next((found for found in map(_input_error, inner) if found), None)


def check_keys(cls: type, values: Mapping[str, Any], where: str) -> None:
    """Raise `InputError` for the first key that is no field of `cls`, suggesting the nearest."""
    hints = get_type_hints(cls)
    names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in names:
            close = difflib.get_close_matches(key, names, n=1)
            hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}."
            raise InputError(f"{where}: unknown key '{key}'; {hint}")
        if is_dataclass(hints[key]) and isinstance(value, Mapping):
            check_keys(hints[key], value, f"{where} [{key}]")  # type: ignore[arg-type]
