"""Sets that share no composition: a test on relatives of the training structures flatters a model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from math import gcd

import numpy as np
from jaxtyping import Int

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.system import System

__all__ = ["groups", "partition", "reduced_composition"]


def reduced_composition(system: System) -> str:
    """Elements with their smallest whole numbers, by atomic number: "O2Ti", whatever the size of the cell."""
    numbers, counts = np.unique(system.numbers, return_counts=True)
    divisor = reduce(gcd, counts.tolist())
    parts = zip(numbers, counts // divisor, strict=True)
    return "".join(f"{SYMBOLS[z]}{n if n > 1 else ''}" for z, n in parts)


def _chemical_system(system: System) -> str:
    return "-".join(SYMBOLS[z] for z in np.unique(system.numbers))


def partition(
    systems: Sequence[System], by: str, fractions: Sequence[float], seed: int = 0
) -> list[Int[np.ndarray, " M"]]:
    """Indices of the sets, ascending; no group is in two of them.

    Groups come in an order drawn at random; each goes where most is missing, so that sizes are met as closely as the
    groups allow.

    Args:
        systems: structures.
        by: what makes a group: "composition" (reduced), "elements", "structure" (each its own), or an entry of `info`.
        fractions: sizes of the sets as shares.
        seed: of the order.

    Raises:
        InputError: bad fractions, a structure without that entry, or fewer groups than sets.
    """
    shares = np.asarray(fractions, float)
    if len(shares) < 2 or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise InputError(f"fractions {' '.join(map(str, fractions))} must be two or more, positive, and add up to 1.")
    found = groups(systems, by)
    if len(found) < len(shares):
        raise InputError(f"There are {len(found)} groups by {by}, too few for {len(shares)} sets.")
    order = np.random.default_rng(seed).permutation(list(found))
    missing = shares * len(systems)
    sets: list[list[int]] = [[] for _ in shares]
    # a set that is empty takes the next group when no more are left than there are such sets
    for place, name in enumerate(order):
        empty = [k for k, members in enumerate(sets) if not members]
        fills = empty if len(order) - place <= len(empty) else range(len(sets))
        target = max(fills, key=lambda k: missing[k])
        sets[target] += found[str(name)]
        missing[target] -= len(found[str(name)])
    return [np.sort(np.array(members, int)) for members in sets]


def groups(systems: Sequence[System], by: str) -> dict[str, list[int]]:
    """Indices of the members of each group, groups in alphabetical order; see `partition`."""
    found: dict[str, list[int]] = {}
    for index, system in enumerate(systems):
        found.setdefault(_group(system, by, index), []).append(index)
    return dict(sorted(found.items()))


def _group(system: System, by: str, index: int) -> str:
    if by == "structure":
        return f"{index:09d}"
    if by == "composition":
        return reduced_composition(system)
    if by == "elements":
        return _chemical_system(system)
    if by not in system.info:
        raise InputError(
            f"{system.name} has no '{by}': split by composition, elements, structure, or by one of "
            f"{', '.join(system.info) or 'nothing else it holds'}."
        )
    return str(system.info[by])
