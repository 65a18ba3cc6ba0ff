"""Where a band begins: the ends of a path made comparable, the straight line between them, and the IDPP path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dynamics.band import Ends, Reply, descend, start_walk
from ergodica.dynamics.descent import MOVING, Goal
from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.neighbors import find_edges
from ergodica.prediction import scope
from ergodica.superposition import superposed
from ergodica.system import System

__all__ = ["check_path", "idpp", "straight", "unwrapped"]

SAME = 1e-4
"""Å: cells and held atoms that differ by less are the same."""
NEAR = 5.0
"""Å: distances that the IDPP path looks at."""
SOFT = 0.01
"""Å²: keeps the IDPP weights finite where the straight path leads one atom through another."""
IDPP_GOAL = Goal(np.float64(0.01), np.int32(400))  # type: ignore[arg-type]
"""Å⁻³ and steps: a start need not be exact."""


def check_path(systems: Sequence[System]) -> None:
    """Raise `InputError` unless the structures are one set of atoms, in one order, in one cell."""
    first = systems[0]
    for other in systems[1:]:
        pair = f"{first.name} and {other.name}"
        if len(first) != len(other):
            raise InputError(f"{pair} have {len(first)} and {len(other)} atoms: a path needs the same atoms.")
        _check_order(first, other, pair)
        if not np.array_equal(first.pbc, other.pbc) or np.abs(first.cell - other.cell)[first.pbc].max(initial=0) > SAME:
            raise InputError(f"{pair} have different cells: a path is found in a fixed cell; give both the same one.")
        if not np.array_equal(first.fixed, other.fixed):
            raise InputError(f"{pair} hold different atoms fixed: hold the same in both.")
        if first.charge != other.charge:
            raise InputError(f"{pair} have different charges, {first.charge:g} and {other.charge:g} e.")


def _check_order(first: System, other: System, pair: str) -> None:
    wrong = np.flatnonzero(first.numbers != other.numbers)
    if not len(wrong):
        return
    if np.array_equal(np.sort(first.numbers), np.sort(other.numbers)):
        one, two = SYMBOLS[first.numbers[wrong[0]]], SYMBOLS[other.numbers[wrong[0]]]
        raise InputError(
            f"{pair} have the same atoms in another order: atom {wrong[0]} is {one} in the one and {two} in the other; "
            "sort them alike."
        )
    raise InputError(f"{pair} hold different elements: a path needs the same atoms.")


def unwrapped(systems: Sequence[System]) -> list[System]:
    """The structures with every atom at the periodic image that is nearest to where it was in the one before.

    Free molecules are laid onto the one before: turning and moving as a whole is no part of a path.

    Raises:
        InputError: two successive structures are the same, or a held atom is in two places.
    """
    from ase.geometry import find_mic

    found = [systems[0]]
    for one in systems[1:]:
        before = found[-1]
        if len(one) > 1 and not (before.pbc.any() or before.fixed.any()):
            place = superposed(one.positions, before.positions)[0]
        else:
            place = one.positions
        move, lengths = find_mic(place - before.positions, before.cell, before.pbc)
        if lengths.max() < SAME:
            raise InputError(f"{before.name} and {one.name} are the same structure: there is no path between them.")
        held = np.flatnonzero(before.fixed & (lengths > SAME))
        if len(held):
            raise InputError(
                f"Atom {held[0]} is fixed, but {before.name} and {one.name} have it {lengths[held[0]]:.2g} Å apart."
            )
        move[before.fixed] = 0.0
        found.append(replace(one, positions=before.positions + move, cell=before.cell))
    return found


def straight(first: System, last: System, images: int) -> Float[np.ndarray, "M N 3"]:
    """Positions of so many images between two unwrapped ends, in equal steps along a straight line, Å."""
    part = np.linspace(0.0, 1.0, images + 2)[1:-1, None, None]
    return (1 - part) * first.positions + part * last.positions


def idpp(first: System, last: System, images: int) -> Float[np.ndarray, "M N 3"]:
    """Positions of so many images on the path of the image dependent pair potential, Å.

    Distances between atoms change from the first to the last as evenly as can be, near ones first: a path without
    atoms that come too close (Smidstrup, Pedersen, Stokbro & Jónsson, J. Chem. Phys. 140, 214106 (2014),
    doi:10.1063/1.4878664). It is a band itself, on the surface Σ (d° - d)²/d⁴ over pairs within a few Å.
    """
    one, two, offset = _pairs(first, last)
    ends = [_distances(system.positions[None], one, two, offset)[0] for system in (first, last)]
    part = np.linspace(0.0, 1.0, images + 2)[:, None]
    wanted = (1 - part) * ends[0] + part * ends[1]
    x = straight(first, last, images)
    with scope("float64"):
        held = Ends(
            first=jnp.asarray(first.positions),
            last=jnp.asarray(last.positions),
            energies=jnp.zeros(2),
            free=jnp.asarray(~first.fixed, float),
            spring=jnp.asarray(1.0),
            climb=jnp.asarray(False),
        )
        walk = start_walk(x, (), np.float64)
        while int(walk.status) == MOVING:
            walk = _idpp_block(one, two, offset, wanted[1:-1], held, walk, IDPP_GOAL)
        return np.asarray(walk.last)


def _pairs(first: System, last: System) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms i, j and the translation of j, Å, of all pairs that may be near somewhere between the ends."""
    reach = NEAR + np.linalg.norm(last.positions - first.positions, axis=1).max()
    rows = []
    for system in (first, last):
        edges = find_edges(system, reach)
        once = edges.receivers < edges.senders
        rows.append(np.column_stack([edges.receivers, edges.senders, edges.shifts])[once])
    pairs = np.unique(np.concatenate(rows), axis=0)
    return pairs[:, 0], pairs[:, 1], pairs[:, 2:] @ first.cell


def _distances(x: Any, one: Any, two: Any, offset: Any) -> Any:
    return jnp.sqrt(jnp.sum((x[:, two] + offset - x[:, one]) ** 2, axis=-1) + SOFT)


@jax.jit
def _idpp_block(
    one: Array, two: Array, offset: Array, wanted: Float[Array, "M E"], ends: Ends, walk: Any, goal: Goal
) -> Any:
    def energy(x: Float[Array, "M N 3"]) -> tuple[Array, Array]:
        distance = _distances(x, one, two, offset)
        each = jnp.sum((wanted - distance) ** 2 / distance**4, axis=1)
        return jnp.sum(each), each

    def field(x: Float[Array, "M N 3"]) -> Reply:
        slope, each = jax.grad(energy, has_aux=True)(x)
        return Reply(each, -slope, ())

    return descend(field, lambda _: jnp.asarray(False), ends, walk, goal)
