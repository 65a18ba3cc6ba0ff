"""Symbols of the elements by atomic number; 0 is the ghost "X"."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["COVALENT_RADII", "SYMBOLS", "formula", "symbols_of"]

SYMBOLS: tuple[str, ...] = tuple(
    """X
    H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
    Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu
    Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr
    Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og""".split()
)


COVALENT_RADII: tuple[float, ...] = (
    0.20, 0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41, 1.21, 1.11, 1.07, 1.05, 1.02, 1.06,
    2.03, 1.76, 1.70, 1.60, 1.53, 1.39, 1.39, 1.32, 1.26, 1.24, 1.32, 1.22, 1.22, 1.20, 1.19, 1.20, 1.20, 1.16,
    2.20, 1.95, 1.90, 1.75, 1.64, 1.54, 1.47, 1.46, 1.42, 1.39, 1.45, 1.44, 1.42, 1.39, 1.39, 1.38, 1.39, 1.40,
    2.44, 2.15, 2.07, 2.04, 2.03, 2.01, 1.99, 1.98, 1.98, 1.96, 1.94, 1.92, 1.92, 1.89, 1.90, 1.87, 1.87, 1.75, 1.70,
    1.62, 1.51, 1.44, 1.41, 1.36, 1.36, 1.32, 1.45, 1.46, 1.48, 1.40, 1.50, 1.50, 2.60, 2.21, 2.15, 2.06, 2.00, 1.96,
    1.90, 1.87, 1.80, 1.69,
)  # fmt: skip
"""Covalent radii by atomic number up to curium, Å (Cordero et al. 2008, doi:10.1039/b801115j; X as in ASE)."""


def symbols_of(numbers: Iterable[int]) -> tuple[str, ...]:
    """Distinct symbols in order of atomic number."""
    return tuple(SYMBOLS[z] for z in sorted(set(int(n) for n in numbers)))


def formula(numbers: Iterable[int]) -> str:
    """Chemical formula in Hill's order, such as "C2H6O"."""
    counts: dict[str, int] = {}
    for number in numbers:
        counts[SYMBOLS[number]] = counts.get(SYMBOLS[number], 0) + 1
    first = [symbol for symbol in ("C", "H") if "C" in counts and symbol in counts]
    order = first + sorted(set(counts) - set(first))
    return "".join(symbol + (str(counts[symbol]) if counts[symbol] > 1 else "") for symbol in order)
