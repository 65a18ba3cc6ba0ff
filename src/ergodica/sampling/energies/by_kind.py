"""Energies that samplers carry in their files: by kind, to arrays and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.sampling.energies.amber import AmberField, Solvent
from ergodica.sampling.energies.go import GoField
from ergodica.sampling.energies.terms import Terms

__all__ = ["Energy", "energy_from_tree", "energy_kind"]


class Energy(Protocol):
    """A pytree that is called with positions."""

    def __call__(self, positions: Float[Array, "*B N 3"]) -> Float[Array, "*B"]:
        """Energies, eV, of positions in Å."""
        ...


def energy_kind(energy: Energy) -> str:
    """The name of its kind."""
    return next(name for name, (kind, _) in KINDS.items() if isinstance(energy, kind))


def energy_from_tree(kind: str, tree: dict[str, Any]) -> Energy:
    """The energy whose arrays these are.

    Raises:
        InputError: there is no such kind, or arrays are missing.
    """
    if kind not in KINDS:
        raise InputError(f"Energies of kind '{kind}' are none that this version knows: upgrade Ergodica.")
    try:
        return KINDS[kind][1](tree)
    except TypeError as error:
        raise InputError(f"The sampler's energy is incomplete ({error}): fetch the file again.") from error


def _amber(tree: dict[str, Any]) -> AmberField:
    bonds, angles, torsions = (Terms(**tree[name]) for name in ("bonds", "angles", "torsions"))
    solvent = Solvent(**tree["solvent"]) if "solvent" in tree else None
    return AmberField(bonds, angles, torsions, tree["charges"], tree["depths"], tree["sizes"], solvent)


def _go(tree: dict[str, Any]) -> GoField:
    parts: dict[str, Any] = {name: Terms(**part) if isinstance(part, dict) else part for name, part in tree.items()}
    return GoField(**parts)


KINDS: dict[str, tuple[type, Callable[[dict[str, Any]], Energy]]] = {
    "amber": (AmberField, _amber),
    "go": (GoField, _go),
}
"""Class, and how it is made of arrays."""
