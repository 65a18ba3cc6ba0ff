"""What is known of the elements before any model: sizes, stiffness, common charges, neighbours in the periodic table.

The numbers only place the first guess of a structure. The volumes that end up in a data set are spread around it, and a
teacher gives the energies, so ten per cent do not matter.
"""

from __future__ import annotations

from functools import cache

from ergodica.elements import SYMBOLS

__all__ = ["DENSE_VOLUME", "ELEMENTS", "IONS", "STIFFNESS", "group_of", "partners"]

_SOLIDS = """
H 3 10 He 17.8 1 Li 20.2 14 Be 7.9 123 B 5.9 237 C 7.3 208 N 7.3 54 O 7.8 51 F 10.2 34 Ne 24 1 Na 37.1 8 Mg 23 36
Al 16.5 78 Si 14.4 95 P 14.5 68 S 15.8 60 Cl 21.3 19 Ar 52 1 K 73.7 4 Ca 42.2 17 Sc 24.7 55 Ti 17.4 112 V 13.9 182
Cr 11.8 180 Mn 10.9 180 Fe 10.9 180 Co 10.5 215 Ni 10.9 200 Cu 12 141 Zn 15.3 75 Ga 19 50 Ge 19.5 70 As 19.2 68
Se 20.3 47 Br 26.5 22 Kr 66 1 Rb 91 3 Sr 54.9 11 Y 32.7 41 Zr 23.3 94 Nb 18.8 170 Mo 16 260 Tc 14.5 300 Ru 13.8 312
Rh 14 257 Pd 15.3 170 Ag 17.9 91 Cd 22.8 44 In 27.5 36 Sn 27.8 50 Sb 27.5 50 Te 28 44 I 35 18 Xe 87 1 Cs 117 2
Ba 63.6 9 La 37 27 Ce 27 28 Pr 34.8 29 Nd 34 32 Pm 33.3 33 Sm 33 38 Eu 47 14 Gd 32.8 38 Tb 32 39 Dy 31.6 40 Ho 31.1 40
Er 30.6 44 Tm 30 45 Yb 39.5 16 Lu 29 47 Hf 22.4 108 Ta 18.9 195 W 16.5 305 Re 15 365 Os 14.4 400 Ir 14.5 347
Pt 15.7 250 Au 18 140 Hg 29 20 Tl 31 27 Pb 32 40 Bi 32 43 Ac 45.5 25 Th 32.2 58 Pa 25.4 100 U 21.8 113 Np 19.3 118
Pu 18.2 80
"""
_FIELDS = _SOLIDS.split()

DENSE_VOLUME: dict[str, float] = {s: float(v) for s, v in zip(_FIELDS[::3], _FIELDS[1::3], strict=True)}
"""Volume of an atom in a close-packed crystal without pressure, Å³; rounded, for PBE.

That of the metals follows their densities; those of carbon, silicon and other elements that never pack so are what
density functional theory gives for the hypothetical crystal.
"""

STIFFNESS: dict[str, float] = {s: float(v) for s, v in zip(_FIELDS[::3], _FIELDS[2::3], strict=True)}
"""Bulk modulus, GPa, rounded (C. Kittel, Introduction to Solid State Physics, table of bulk moduli, and estimates)."""

ELEMENTS: tuple[str, ...] = tuple(DENSE_VOLUME)
"""Hydrogen to plutonium, less Po, At, Rn, Fr and Ra, of which hardly a calculation exists: 89 elements."""

_RADII = """
H -1 1.40; Li 1 .76; Be 2 .45; B 3 .27; C 4 .16 -4 1.55; N 5 .13 -3 1.46; O -2 1.40; F -1 1.33; Na 1 1.02; Mg 2 .72
Al 3 .535; Si 4 .40; P 5 .38 -3 1.85; S 6 .29 -2 1.84; Cl -1 1.81; K 1 1.38; Ca 2 1.00; Sc 3 .745
Ti 4 .605 3 .67 2 .86; V 5 .54 4 .58 3 .64 2 .79
Cr 3 .615 2 .80 6 .44; Mn 2 .83 3 .645 4 .53; Fe 2 .78 3 .645; Co 2 .745 3 .61; Ni 2 .69 3 .60
Cu 2 .73 1 .77; Zn 2 .74; Ga 3 .62; Ge 4 .53 2 .73; As 3 .58 5 .46 -3 1.92; Se 4 .50 -2 1.98; Br -1 1.96; Rb 1 1.52
Sr 2 1.18; Y 3 .90; Zr 4 .72; Nb 5 .64 4 .68 3 .72; Mo 4 .65 6 .59 3 .69; Tc 4 .645 7 .56; Ru 4 .62 3 .68
Rh 3 .665 4 .60; Pd 2 .86 4 .615; Ag 1 1.15; Cd 2 .95; In 3 .80; Sn 4 .69 2 1.10
Sb 3 .76 5 .60 -3 2.10; Te 4 .97 -2 2.21
I 5 .95 -1 2.20; Cs 1 1.67; Ba 2 1.35; La 3 1.032; Ce 3 1.01 4 .87; Pr 3 .99; Nd 3 .983; Pm 3 .97; Sm 3 .958
Eu 2 1.17 3 .947; Gd 3 .938; Tb 3 .923; Dy 3 .912; Ho 3 .901; Er 3 .89; Tm 3 .88; Yb 3 .868 2 1.02; Lu 3 .861
Hf 4 .71; Ta 5 .64; W 6 .60 4 .66; Re 4 .63 7 .53; Os 4 .63; Ir 4 .625 3 .68; Pt 4 .625 2 .80; Au 1 1.37 3 .85
Hg 2 1.02; Tl 1 1.50 3 .885; Pb 2 1.19 4 .775; Bi 3 1.03; Ac 3 1.12; Th 4 .94; Pa 5 .78 4 .90; U 4 .89 6 .73
Np 4 .87 5 .75; Pu 4 .86 3 1.00
"""


def _ions() -> dict[str, dict[int, float]]:
    table = {}
    for entry in _RADII.replace("\n", ";").split(";"):
        if words := entry.split():
            table[words[0]] = {int(q): float(r) for q, r in zip(words[1::2], words[2::2], strict=True)}
    return table


IONS: dict[str, dict[int, float]] = _ions()
"""Common charges of an element and the radius it then has in six-fold coordination, Å.

R. D. Shannon, Acta Cryst. A 32, 751 (1976), doi:10.1107/S0567739476001551, high spin. He has none for H⁻, C⁴⁻, P³⁻,
As³⁻ and Sb³⁻, nor six-fold Sn²⁺: those are such that hydrides, carbides and III-V compounds get their bond lengths.
"""


@cache
def group_of(symbol: str) -> int:
    """Group of the periodic table, 1 to 18; lanthanides 19 and actinides 20 are families of their own."""
    z = SYMBOLS.index(symbol)
    if 57 <= z <= 71 or 89 <= z <= 103:
        return 19 if z < 80 else 20
    start = max(noble for noble in (0, 2, 10, 18, 36, 54, 86) if noble < z)
    place = z - start
    if start == 0:
        return 1 if z == 1 else 18
    if start in (2, 10):
        return place if place <= 2 else place + 10
    return place - 14 if start >= 54 and place > 17 else place


def partners(symbol: str) -> tuple[str, ...]:
    """Elements that take its place without a change of character: those of its group, itself left out."""
    mine = group_of(symbol)
    return tuple(other for other in ELEMENTS if other != symbol and group_of(other) == mine)
