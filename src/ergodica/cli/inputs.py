"""Structures named on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cyclopts import Parameter

from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.system import System

__all__ = ["OWN_NAMES", "STDIN", "Item", "LabelKeys", "formula", "parse_kwargs", "read_items"]

STDIN = "<stdin>"
"""Stands for "-", which the parser would take for an option."""


@dataclass(frozen=True)
class Item:
    """One structure and where it came from.

    Attributes:
        file: the name as given on the command line.
        index: which frame of that file, from 0.
        system: the structure.
    """

    file: str
    index: int
    system: System

    @property
    def head(self) -> dict[str, object]:
        """The fields with which every JSON record of a structure begins."""
        return {"file": self.file, "index": self.index, "formula": formula(self.system)}


@Parameter(name="*")
@dataclass(frozen=True)
class LabelKeys:
    """Where labels stand in the files, when not under ASE's own names."""

    energy_key: str = ""
    """Name of the energies in the files, such as REF_energy, where it is not ASE's own."""

    forces_key: str = ""
    """The same of the forces."""

    stress_key: str = ""
    """The same of the stresses."""

    @property
    def given(self) -> dict[str, str]:
        """As `read_structures` takes them."""
        return {name: key for name, key in asdict(self).items() if key}


OWN_NAMES = LabelKeys()
"""ASE's own names."""


def read_items(files: Sequence[str], **keys: Any) -> list[Item]:
    """All structures of all files, in order.

    Args:
        files: paths; `STDIN` is standard input (extxyz).
        keys: where labels stand, as for `read_structures` ("energy_key", ...).

    Raises:
        InputError: no file given, or a file is missing, damaged or without those labels.
    """
    from ergodica.files import read_structures

    if not files:
        raise InputError("Give at least one structure file (or - for extxyz from stdin).")
    names = ["-" if file == STDIN else file for file in files]
    return [Item(name, i, one) for name in names for i, one in enumerate(read_structures(name, **keys))]


def formula(system: System) -> str:
    """Chemical formula in Hill's order, such as "C2H6O"."""
    from ergodica import elements

    return elements.formula(system.numbers)


def parse_kwargs(kwargs: str | None, option: str = "--kwargs") -> dict[str, Any] | None:
    """Keyword arguments given as JSON on the command line, by `option`.

    Raises:
        InputError: it is no JSON object.
    """
    if kwargs is None:
        return None
    try:
        table = json.loads(kwargs)
    except json.JSONDecodeError as error:
        raise InputError(f"{option} is not JSON ({error}): write it as '{{\"hidden_channels\": 128}}'.") from error
    if not isinstance(table, dict):
        raise InputError(f"{option} must be a JSON object, such as '{{\"hidden_channels\": 128}}'.")
    return table
