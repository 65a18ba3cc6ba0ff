"""Crystal structure types: a table of space groups and Wyckoff positions, and crystals made from it.

Parameters are those of the compounds the types are named for. Letters stand for the species: A, B, ... in the order of
the list of species given to `build`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from ergodica.datasets.chemistry import DENSE_VOLUME, IONS
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["PROTOTYPES", "Prototype", "build", "contact_scale", "counts"]

Kind = Literal["element", "ionic", "metallic"]


@dataclass(frozen=True)
class Prototype:
    """One structure type.

    Attributes:
        name: "fcc", "perovskite", ...
        kind: an element; a compound of ions; or a compound whose atoms are neutral.
        group: number of the space group.
        sites: letter and fractional coordinates of each orbit.
        ratios: b/a and c/a.
        angles: alpha, beta, gamma, degrees.
        setting: 1 or 2, the origin of the space group, as ASE counts them.
        anions: letters of the anions of an ionic type.
        looseness: volume in units of the close-packed one, for elements and neutral compounds.
    """

    name: str
    kind: Kind
    group: int
    sites: tuple[tuple[str, tuple[float, float, float]], ...]
    ratios: tuple[float, float]
    angles: tuple[float, float, float]
    setting: int
    anions: str
    looseness: float


# name, space group[:setting], c/a or "b/a,c/a", looseness, orbits; a fraction 1/3 or 2/3 is written so
_ELEMENTS = """
fcc            225    1      1.0   A 0 0 0
bcc            229    1      1.0   A 0 0 0
sc             221    1      1.1   A 0 0 0
diamond        227    1      1.5   A 0 0 0
hcp            194    1.62   1.0   A 1/3 2/3 1/4
dhcp           194    3.24   1.0   A 0 0 0; A 1/3 2/3 3/4
beta-tin       141    0.546  1.15  A 0 0 0
A15            223    1      1.0   A 0 0 0; A 1/4 0 1/2
omega          191    0.62   1.0   A 0 0 0; A 1/3 2/3 1/2
alpha-arsenic  166    2.8    1.15  A 0 0 0.227
alpha-uranium  63     2.057,1.736  1.02  A 0 0.1025 1/4
graphite       194    2.5    1.6   A 0 0 1/4; A 1/3 2/3 1/4
dimers         64     0.64,1.35    1.4   A 0 0.117 0.149
"""
_IONIC = """
rocksalt       225    1      B   A 0 0 0; B 1/2 1/2 1/2
cscl           221    1      B   A 0 0 0; B 1/2 1/2 1/2
zincblende     216    1      B   A 0 0 0; B 1/4 1/4 1/4
wurtzite       186    1.62   B   A 1/3 2/3 0; B 1/3 2/3 0.375
nias           194    1.55   B   A 0 0 0; B 1/3 2/3 1/4
fluorite       225    1      B   A 0 0 0; B 1/4 1/4 1/4
antifluorite   225    1      B   A 1/4 1/4 1/4; B 0 0 0
rutile         136    0.65   B   A 0 0 0; B 0.305 0.305 0
anatase        141    2.51   B   A 0 0 0; B 0 0 0.208
cdi2           164    1.6    B   A 0 0 0; B 1/3 2/3 1/4
mos2           194    3.9    B   A 1/3 2/3 1/4; B 1/3 2/3 0.621
cristobalite   227:2  1      B   A 1/8 1/8 1/8; B 0 0 0
cuprite        224    1      B   A 1/4 1/4 1/4; B 0 0 0
corundum       167    2.73   B   A 0 0 0.352; B 0.306 0 1/4
la2o3          164    1.556  B   A 1/3 2/3 0.245; B 1/3 2/3 0.645; B 0 0 0
reo3           221    1      B   A 0 0 0; B 1/2 0 0
li3n           191    1.06   B   A 0 0 1/2; A 1/3 2/3 0; B 0 0 0
perovskite     221    1      C   A 1/2 1/2 1/2; B 0 0 0; C 1/2 0 0
post-perovskite 63    3.29,2.48 C A 0 0.253 1/4; B 0 0 0; C 0 0.928 1/4; C 0 0.636 0.437
spinel         227:2  1      C   A 1/8 1/8 1/8; B 1/2 1/2 1/2; C 0.263 0.263 0.263
delafossite    166    5.9    C   A 0 0 0; B 0 0 1/2; C 0 0 0.11
nafeo2         166    5.3    C   A 0 0 1/2; B 0 0 0; C 0 0 0.24
chalcopyrite   122    1.98   C   A 0 0 0; B 0 0 1/2; C 0.25 1/4 1/8
ilmenite       148    2.77   C   A 0 0 0.355; B 0 0 0.147; C 0.317 0.021 0.245
k2nif4         139    3.2    C   A 0 0 0.353; B 0 0 0; C 0 1/2 0; C 0 0 0.155
scheelite      88     2.17   C   A 0 0 1/2; B 0 0 0; C 0.2413 0.1511 0.0861
pbfcl          129:2  1.77   BC  A 1/4 1/4 0.205; B 3/4 1/4 0; C 1/4 1/4 0.65
k2ptcl6        225    1      C   A 1/4 1/4 1/4; B 0 0 0; C 0.24 0 0
pyrochlore     227:2  1      C   A 1/2 1/2 1/2; B 0 0 0; C 0.33 1/8 1/8; C 3/8 3/8 3/8
elpasolite     225    1      D   A 1/4 1/4 1/4; B 0 0 0; C 1/2 1/2 1/2; D 0.24 0 0
"""
_METALLIC = """
b2             221    1      1.0   A 0 0 0; B 1/2 1/2 1/2
b1             225    1      1.05  A 0 0 0; B 1/2 1/2 1/2
b3             216    1      1.4   A 0 0 0; B 1/4 1/4 1/4
b20            198    1      1.0   A 0.137 0.137 0.137; B 0.842 0.842 0.842
l1_0           123    1.38   1.0   A 0 0 0; B 1/2 1/2 1/2
l1_2           221    1      1.0   A 0 0 0; B 0 1/2 1/2
d0_3           225    1      1.0   A 0 0 0; B 1/2 1/2 1/2; B 1/4 1/4 1/4
d0_19          194    0.8    1.0   A 1/3 2/3 1/4; B 0.8333333 0.6666667 1/4
d0_22          139    2.1    1.0   A 0 0 0; B 0 0 1/2; B 0 1/2 1/4
a15            223    1      1.0   A 0 0 0; B 1/4 0 1/2
c11_b          139    2.8    1.0   A 0 0 0; B 0 0 0.333
c14            194    1.633  1.0   A 1/3 2/3 0.062; B 0 0 0; B 0.83 0.66 1/4
c15            227:2  1      1.0   A 1/8 1/8 1/8; B 1/2 1/2 1/2
c32            191    1.08   1.0   A 0 0 0; B 1/3 2/3 1/2
cacu5          191    0.8    1.0   A 0 0 0; B 1/3 2/3 0; B 1/2 0 1/2
half-heusler   216    1      1.2   A 0 0 0; B 1/4 1/4 1/4; C 1/2 1/2 1/2
heusler        225    1      1.0   A 1/4 1/4 1/4; B 0 0 0; C 1/2 1/2 1/2
antiperovskite 221    1      1.1   A 1/2 0 0; B 1/2 1/2 1/2; C 0 0 0
thcr2si2       139    2.5    1.0   A 0 0 0; B 0 1/2 1/4; C 0 0 0.37
"""


def _number(text: str) -> float:
    top, slash, bottom = text.partition("/")
    return float(top) / float(bottom) if slash else float(top)


def _prototype(line: str, kind: Kind) -> Prototype:
    name, group, ratio, word, rest = line.split(maxsplit=4)
    number, _, setting = group.partition(":")
    ratios = tuple(float(r) for r in ratio.split(","))
    sites = []
    for orbit in rest.split(";"):
        letter, *place = orbit.split()
        x, y, z = (_number(value) for value in place)
        sites.append((letter, (x, y, z)))
    return Prototype(
        name=name,
        kind=kind,
        group=int(number),
        sites=tuple(sites),
        ratios=(ratios[0], ratios[1]) if len(ratios) == 2 else (1.0, ratios[0]),
        angles=(90.0, 90.0, 120.0 if 143 <= int(number) <= 194 else 90.0),
        setting=int(setting or 1),
        anions=word if kind == "ionic" else "",
        looseness=1.0 if kind == "ionic" else float(word),
    )


def _table() -> dict[str, Prototype]:
    kinds: list[tuple[str, Kind]] = [(_ELEMENTS, "element"), (_IONIC, "ionic"), (_METALLIC, "metallic")]
    found = [_prototype(line, kind) for text, kind in kinds for line in text.strip().splitlines()]
    return {prototype.name: prototype for prototype in found}


PROTOTYPES: dict[str, Prototype] = _table()
"""Structure types by name."""


@cache
def _cell(prototype: Prototype) -> Atoms:
    """The primitive cell with a = 1 Å; the atomic number is the place of the letter, from 1."""
    from ase.spacegroup import crystal

    letters = sorted({letter for letter, _ in prototype.sites})
    numbers = [1 + letters.index(letter) for letter, _ in prototype.sites]
    b, c = prototype.ratios
    # large while the orbits are made: ASE merges atoms by a distance in Å
    cell = [10.0, 10.0 * b, 10.0 * c, *prototype.angles]
    atoms = crystal(
        numbers,
        [place for _, place in prototype.sites],
        spacegroup=prototype.group,
        setting=prototype.setting,
        cellpar=cell,
        primitive_cell=True,
    )
    atoms.set_cell(atoms.cell * 0.1, scale_atoms=True)
    atoms.info.clear()
    atoms.arrays = {key: atoms.arrays[key] for key in ("numbers", "positions")}
    return atoms


@cache
def counts(prototype: Prototype) -> tuple[int, ...]:
    """Atoms of each letter in the primitive cell, in the letters' order."""
    found = Counter(int(number) for number in _cell(prototype).numbers)
    return tuple(found[number] for number in sorted(found))


def build(prototype: Prototype, species: Sequence[str], charges: Sequence[int] = ()) -> Atoms:
    """A crystal of this type, its volume guessed from the sizes of its atoms or ions.

    Args:
        prototype: the type.
        species: symbols of A, B, ...
        charges: of A, B, ... for an ionic type.

    Raises:
        InputError: the number of species is not that of the letters.
    """
    if len(species) != len(counts(prototype)):
        raise InputError(f"'{prototype.name}' has {len(counts(prototype))} species, not {len(species)}.")
    atoms = _cell(prototype).copy()
    places = atoms.numbers - 1
    atoms.symbols = [species[place] for place in places]
    if charges:
        scale = contact_scale(atoms, [IONS[species[p]][charges[p]] for p in places], [charges[p] for p in places])
    else:
        volume = prototype.looseness * sum(DENSE_VOLUME[symbol] for symbol in atoms.symbols)
        scale = (volume / atoms.get_volume()) ** (1 / 3)
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    return atoms


def contact_scale(atoms: Atoms, radii: Sequence[float], charges: Sequence[int]) -> float:
    """Factor on all lengths that brings cations and anions into touch.

    The factor is the mean over the cations' kinds of (r₊ + r₋) / d, with the shortest distance d to an anion, radii
    adapted from six neighbours to n by (n/6)^(1/8); it leaves no bond shorter than 0.9 (r₊ + r₋).

    Args:
        atoms: the crystal in any length unit.
        radii: of each ion in six-fold coordination, Å.
        charges: of each ion.
    """
    cell = atoms.cell.array
    steps = np.stack(np.meshgrid(*3 * [[-1, 0, 1]], indexing="ij"), -1).reshape(-1, 3) @ cell
    vectors = atoms.positions[None, :, None] - atoms.positions[:, None, None] + steps
    distances = np.linalg.norm(vectors, axis=-1)  # [atom, other, image]
    charge, radius = np.asarray(charges), np.asarray(radii)
    ratios: Mapping[tuple[int, int], float] = {
        (int(atoms.numbers[i]), int(charge[i])): _bond(radius[i] + radius[charge < 0], distances[i, charge < 0])
        for i in np.flatnonzero(charge > 0)
    }
    values = list(ratios.values())
    return max(math.fsum(values) / len(values), 0.9 * max(values))


def _bond(contacts: np.ndarray, distances: np.ndarray) -> float:
    """Contact over distance for the anion that is nearest in units of the contact."""
    shares = distances / contacts[:, None]
    neighbours = np.count_nonzero(shares < 1.2 * shares.min())
    return float((neighbours / 6) ** (1 / 8) / shares.min())
