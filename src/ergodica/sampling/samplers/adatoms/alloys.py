"""Surfaces to learn from: fcc(111) slabs of metals and their random alloys, relaxed by effective-medium theory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from ase import Atoms
from ase.build import fcc111
from ase.constraints import FixAtoms
from ase.data import atomic_numbers, reference_states
from jaxtyping import Float

from ergodica.errors import InputError

__all__ = ["AlloyOptions", "alloys"]


@dataclass(frozen=True)
class AlloyOptions:
    """Which slabs.

    Attributes:
        metals: elements.
        held_out: pairs of elements such as "CuPd" that no slab may hold together.
        count: slabs; every eighth is of one metal, of the others half hold two and half three.
        size: of the cell, in units of the primitive surface cell, and layers.
        relax: relax the upper two layers.
        seed: of the compositions and places.
    """

    metals: tuple[str, ...] = ("Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au")
    held_out: tuple[str, ...] = ()
    count: int = 400
    size: tuple[int, int, int] = (3, 3, 4)
    relax: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        known = {one + other for one in self.metals for other in self.metals}
        strange = [pair for pair in self.held_out if pair not in known]
        if strange:
            raise InputError(f"held_out: {strange[0]} is no pair of {' '.join(self.metals)}.")
        if self.count < 1 or min(self.size) < 1 or len(self.metals) < 3:
            raise InputError("Slabs need a positive count and size, and at least three metals.")


def alloys(options: AlloyOptions) -> list[Atoms]:
    """Slabs without anything upon them."""
    rng = np.random.default_rng(options.seed)
    apart = {frozenset((one, other)) for one, other in map(_split, options.held_out)}

    def mixes(size: int) -> list[tuple[str, ...]]:
        found = combinations(options.metals, size)
        return [mix for mix in found if not any(frozenset(pair) in apart for pair in combinations(mix, 2))]

    choices = {size: mixes(size) for size in (1, 2, 3)}
    slabs = []
    for number in range(options.count):
        size = 1 if number % 8 == 0 else 2 + number % 2
        possible = choices[size] or choices[2] or choices[1]
        metals = possible[rng.integers(len(possible))]
        slabs.append(random_slab(metals, rng.dirichlet(np.ones(len(metals))), options.size, rng))
    return relaxed(slabs) if options.relax else slabs


def random_slab(
    metals: Sequence[str], shares: Float[np.ndarray, " M"], size: tuple[int, int, int], rng: np.random.Generator
) -> Atoms:
    """Metals in given shares at random places; the lattice constant is their weighted mean."""
    constants = np.array([reference_states[atomic_numbers[metal]]["a"] for metal in metals])  # type: ignore[index]
    slab = fcc111(metals[0], size, a=float(shares @ constants), vacuum=8.0)
    slab.symbols = rng.choice(metals, size=len(slab), p=shares)
    return slab


def relaxed(slabs: Sequence[Atoms], fmax: float = 0.05) -> list[Atoms]:
    """The slabs with their upper two layers at rest; those that find none are left out.

    Args:
        slabs: of ASE, their layers tagged from the top as `ase.build` does.
        fmax: largest force left, eV/Å.
    """
    from ergodica.dynamics.relax import relax
    from ergodica.potentials.classical import classical
    from ergodica.system import System

    held = []
    for slab in slabs:
        fixed = slab.copy()
        fixed.set_constraint(FixAtoms(mask=slab.get_tags() > 2))
        held.append(replace(System.from_ase(fixed), name=slab.get_chemical_formula()))
    found = relax(classical("emt"), held, fmax=fmax, steps=200)
    done = []
    for slab, one in zip(slabs, found, strict=True):
        if one.converged:
            done.append(slab.copy())
            done[-1].positions[:] = one.system.positions
    return done


def _split(pair: str) -> tuple[str, str]:
    """The two symbols of "CuPd"."""
    second = max(place for place, letter in enumerate(pair) if letter.isupper())
    return pair[:second], pair[second:]
