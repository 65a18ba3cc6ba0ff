"""Optional dependencies: imported where needed, with one sentence when they are missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ergodica.errors import InputError

__all__ = ["require"]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: dotted name, such as "phonopy" or "rdkit.Chem".
        extra: Ergodica's extra that brings it, such as "phonons".

    Raises:
        InputError: the package is not installed; the message has the command that installs it.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise  # installed, but something it needs itself is not: its own message is the better one
        raise InputError(f"This needs {package}: pip install 'ergodica[{extra}]'") from error
