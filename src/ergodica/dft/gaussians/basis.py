"""The density basis: uncontracted Gaussians on the atoms, ρ(r) = Σ_μ p_μ ω_μ(r).

A function is ω(r) = n S_lm(r - A) exp(-α |r - A|²) with the solid harmonics of `solid_harmonics` and ∫ω² = 1. Order
and signs are libcint's: atom by atom, within an atom by angular momentum and falling exponent, p as x, y, z and higher
ones as m = -l ... l. So coefficients can be exchanged with PySCF as they are. The exponents are those of M-OFDFT (Zhang
et al., Nat. Comput. Sci. 4, 210 (2024), doi:10.1038/s43588-024-00605-8), frozen in `data/density_basis.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import gamma
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError

__all__ = ["DensityBasis", "Shells", "exponents_of_elements", "normalization", "radial_moment"]

EXPONENTS = Path(__file__).parents[1] / "data" / "density_basis.json"


@dataclass(frozen=True)
class Shells:
    """The shells of a molecule, K of them.

    Attributes:
        atoms: the atom each stands on [K].
        degrees: angular momenta l [K].
        exponents: α, 1/Bohr² [K].
        norms: n, so that each function is normalised [K].
    """

    atoms: Int[np.ndarray, " K"]
    degrees: Int[np.ndarray, " K"]
    exponents: Float[np.ndarray, " K"]
    norms: Float[np.ndarray, " K"]


@dataclass(frozen=True)
class DensityBasis:
    """The basis of a molecule. It knows elements but no positions, so conformers share it (and compiled programs).

    Attributes:
        numbers: atomic numbers in the order of the atoms.

    Raises:
        InputError: an element has no basis.
    """

    numbers: tuple[int, ...]

    def __post_init__(self) -> None:
        known = exponents_of_elements()
        for number in self.numbers:
            if not 0 <= number < len(SYMBOLS) or SYMBOLS[number] not in known:
                name = SYMBOLS[number] if 0 <= number < len(SYMBOLS) else f"atomic number {number}"
                raise InputError(f"There is no density basis for {name}: it covers {', '.join(known)}.")

    @classmethod
    def of(cls, numbers: Sequence[int] | Int[np.ndarray, " N"]) -> DensityBasis:
        """Of atomic numbers in any form."""
        return cls(tuple(int(number) for number in numbers))

    @cached_property
    def shells(self) -> Shells:
        """The shells in libcint's order."""
        known = exponents_of_elements()
        rows = [
            (atom, degree, exponent)
            for atom, number in enumerate(self.numbers)
            for degree, exponents in enumerate(known[SYMBOLS[number]])
            for exponent in exponents
        ]
        atoms, degrees, exponents = (np.array(column) for column in zip(*rows, strict=True))
        return Shells(atoms, degrees, exponents, normalization(degrees, exponents))

    @cached_property
    def shell(self) -> Int[np.ndarray, " F"]:
        """The shell of each function."""
        return np.repeat(np.arange(len(self.shells.atoms)), 2 * self.shells.degrees + 1)

    @cached_property
    def atom(self) -> Int[np.ndarray, " F"]:
        """The atom of each function."""
        return self.shells.atoms[self.shell]

    @cached_property
    def harmonic(self) -> Int[np.ndarray, " F"]:
        """The harmonic of each function: l² plus its place among the 2l + 1 of its degree."""
        degrees = self.shells.degrees
        return np.concatenate([np.arange(degree**2, (degree + 1) ** 2) for degree in degrees])

    @property
    def size(self) -> int:
        """Number of functions, F."""
        return len(self.shell)

    @cached_property
    def highest(self) -> int:
        """Highest angular momentum."""
        return int(self.shells.degrees.max())

    @property
    def electrons(self) -> int:
        """Of the neutral molecule."""
        return sum(self.numbers)


def normalization(degrees: Int[np.ndarray, " K"], exponents: Float[np.ndarray, " K"]) -> Float[np.ndarray, " K"]:
    """n with n² ∫ r^(2l+2) exp(-2αr²) dr = 1, for harmonics that are orthonormal on the unit sphere."""
    return 1 / np.sqrt(radial_moment(2 * exponents, 2 * degrees))


def radial_moment(exponents: Float[np.ndarray, " K"], power: Int[np.ndarray, " K"] | int) -> Float[np.ndarray, " K"]:
    """∫ r^(2 + power) exp(-αr²) dr."""
    half = (np.broadcast_to(power, exponents.shape) + 3) / 2
    return np.array([gamma(value) for value in half]) / (2 * exponents**half)


@lru_cache(maxsize=1)
def exponents_of_elements() -> dict[str, list[list[float]]]:
    """Exponents by element and angular momentum, 1/Bohr², the largest first."""
    return json.loads(EXPONENTS.read_text(encoding="utf-8"))["elements"]
