"""Which elements go where: charge-balanced compounds, neutral compounds, random alloys, and substitution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ergodica.datasets.chemistry import DENSE_VOLUME, IONS, group_of, partners
from ergodica.datasets.prototypes import PROTOTYPES, Prototype, build, counts

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["alloy", "ionic", "metallic", "substituted"]

TRIES = 200
"""Draws before a composition is given up: some types have no balance within a few elements."""

NOBLE, GASES = 18, ("H", "N", "O", "F", "Cl")
"""Not drawn for alloys and seldom found in neutral compounds."""


def ionic(prototype: Prototype, elements: Sequence[str], rng: np.random.Generator) -> Atoms | None:
    """A compound of ions whose common charges add up to nothing; None when none was found.

    Args:
        prototype: an ionic type.
        elements: symbols to draw from.
        rng: source of randomness.
    """
    letters = sorted({letter for letter, _ in prototype.sites})
    number = counts(prototype)
    anions = [(s, q) for s in elements for q in IONS.get(s, {}) if q < 0]
    cations = [(s, q) for s in elements for q in IONS.get(s, {}) if q > 0]
    for _ in range(TRIES):
        drawn: list[tuple[str, int]] = []
        for letter in reversed(letters[1:]):  # anions come last in the table
            pool = anions if letter in prototype.anions else cations
            if not pool:
                return None
            drawn.insert(0, pool[rng.integers(len(pool))])
        missing = -sum(n * q for n, (_, q) in zip(number[1:], drawn, strict=True))
        taken = {symbol for symbol, _ in drawn}
        fitting = [(s, q) for s, q in cations if q * number[0] == missing and s not in taken]
        if fitting and len(taken) == len(drawn):
            drawn.insert(0, fitting[rng.integers(len(fitting))])
            return build(prototype, [s for s, _ in drawn], [q for _, q in drawn])
    return None


def metallic(prototype: Prototype, elements: Sequence[str], rng: np.random.Generator) -> Atoms | None:
    """A compound of neutral atoms, at most one of its elements a gas; None when there are too few elements."""
    number = len(counts(prototype))
    pool = [symbol for symbol in elements if group_of(symbol) != NOBLE]
    for _ in range(TRIES):
        if len(pool) < number:
            return None
        drawn = [str(s) for s in rng.choice(pool, number, replace=False)]
        if sum(symbol in GASES for symbol in drawn) <= 1:
            return build(prototype, drawn)
    return None


def alloy(elements: Sequence[str], rng: np.random.Generator, max_atoms: int) -> Atoms | None:
    """Two to five metals at random on the sites of an fcc, bcc or hcp supercell; None when there are too few."""
    pool = [symbol for symbol in elements if group_of(symbol) != NOBLE and symbol not in GASES]
    if len(pool) < 2:
        return None
    chosen = [str(s) for s in rng.choice(pool, min(int(rng.integers(2, 6)), len(pool)), replace=False)]
    lattice = build(PROTOTYPES[str(rng.choice(["fcc", "bcc", "hcp"]))], [chosen[0]])
    size = max(max_atoms // len(lattice), 2)
    side = max(int(size ** (1 / 3)), 1)
    atoms = lattice * (side, side, max(size // side**2, 1))
    places = [chosen[k % len(chosen)] if k < len(chosen) else str(rng.choice(chosen)) for k in range(len(atoms))]
    return _renamed(atoms, [places[k] for k in rng.permutation(len(atoms))])


def substituted(atoms: Atoms, elements: Sequence[str], rng: np.random.Generator) -> Atoms | None:
    """The same structure with other elements of the same groups, its volume adapted; None where nothing fits.

    Args:
        atoms: the structure; it is left as it is.
        elements: symbols to draw from.
        rng: source of randomness.
    """
    old = list(atoms.symbols)
    present = sorted(set(old))
    chosen: dict[str, str] = {}
    for symbol in present:
        pool = [s for s in (symbol, *partners(symbol)) if s in elements and s not in chosen.values()]
        if not pool:
            return None
        chosen[symbol] = pool[rng.integers(len(pool))]
    if all(new == symbol for symbol, new in chosen.items()) or not all(s in DENSE_VOLUME for s in present):
        return None
    return _renamed(atoms, [chosen[symbol] for symbol in old])


def _renamed(atoms: Atoms, symbols: Sequence[str]) -> Atoms:
    """A copy with other elements; lengths follow the cube root of the sum of the atoms' volumes."""
    new = atoms.copy()
    before = sum(DENSE_VOLUME[symbol] for symbol in atoms.symbols)
    new.symbols = list(symbols)
    scale = (sum(DENSE_VOLUME[symbol] for symbol in symbols) / before) ** (1 / 3)
    if new.pbc.any():
        new.set_cell(new.cell * scale, scale_atoms=True)
    else:
        new.positions *= scale
    return new
