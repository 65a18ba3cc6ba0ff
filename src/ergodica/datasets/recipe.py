"""What `ergodica generate` makes: frozen dataclasses that are the API, the TOML file and the record in one."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ergodica.config import from_dict
from ergodica.datasets.chemistry import ELEMENTS
from ergodica.errors import InputError

__all__ = ["KINDS", "PrototypeOptions", "Recipe", "StructureOptions", "VariantOptions", "WalkOptions", "read_recipe"]

KINDS = ("strained", "compressed", "expanded", "rattled", "rattled-compressed", "vacancy", "slab")
"""What may be done to a structure."""


def _check(holds: bool, sentence: str) -> None:
    if not holds:
        raise InputError(sentence)


@dataclass(frozen=True)
class PrototypeOptions:
    """Crystals of known structure types.

    Attributes:
        names: types to use; empty for all.
        elemental: whether every element is put into every elemental type.
        ionic: compounds of ions with balanced charges to draw.
        metallic: compounds of neutral atoms to draw.
        alloys: random alloys to draw.
    """

    names: tuple[str, ...] = ()
    elemental: bool = True
    ionic: int = 500
    metallic: int = 300
    alloys: int = 200

    def __post_init__(self) -> None:
        _check(min(self.ionic, self.metallic, self.alloys) >= 0, "[prototypes] numbers must not be negative.")


@dataclass(frozen=True)
class StructureOptions:
    """The user's own structures.

    Attributes:
        files: what to read, each optionally with a selection.
        substitutions: copies of each with other elements of the same groups.
    """

    files: tuple[str, ...] = ()
    substitutions: int = 2

    def __post_init__(self) -> None:
        _check(self.substitutions >= 0, f"[structures] substitutions={self.substitutions} must not be negative.")


@dataclass(frozen=True)
class VariantOptions:
    """What is done to each structure.

    Attributes:
        number: variants of each structure, the structure itself not counted.
        weights: how often each of `KINDS` is drawn.
        strain: largest component of a strain.
        expansion: largest increase of the volume, as a share.
        pressure: range of nominal pressures, drawn evenly on a logarithmic scale, GPa.
        rattle: range of displacements in units of the shortest distance, drawn evenly on a logarithmic scale.
        min_distance: closest approach of two atoms in units of the sum of their covalent radii.
        max_atoms: atoms of the supercells that are rattled, cut or moved.
    """

    number: int = 3
    weights: Mapping[str, float] = field(
        default_factory=lambda: {
            "strained": 1.0, "compressed": 1.0, "expanded": 0.5, "rattled": 2.0, "rattled-compressed": 2.0,
            "vacancy": 0.5, "slab": 0.5,
        }
    )  # fmt: skip
    strain: float = 0.1
    expansion: float = 0.3
    pressure: tuple[float, float] = (2.0, 1000.0)
    rattle: tuple[float, float] = (0.01, 0.15)
    min_distance: float = 0.55
    max_atoms: int = 24

    def __post_init__(self) -> None:
        _check(self.number >= 0, f"[variants] number={self.number} must not be negative.")
        _check(self.max_atoms >= 1, f"[variants] max_atoms={self.max_atoms} must be at least 1.")
        _check(0 <= self.strain < 0.5, f"[variants] strain={self.strain} must be at least 0 and less than 0.5.")
        _check(self.expansion >= 0, f"[variants] expansion={self.expansion} must not be negative.")
        _check(0 <= self.min_distance <= 0.9, f"[variants] min_distance={self.min_distance} must be 0 to 0.9.")
        for name in ("pressure", "rattle"):
            low, high = getattr(self, name)
            _check(0 < low <= high, f"[variants] {name}=[{low}, {high}] must be positive, the smaller first.")
        for kind, weight in self.weights.items():
            _check(kind in KINDS, f"[variants] weights: '{kind}' is none of {', '.join(KINDS)}.")
            _check(weight >= 0, f"[variants] weights: that of '{kind}' is negative.")
        _check(sum(self.weights.values()) > 0 or self.number == 0, "[variants] weights must not all be 0.")


@dataclass(frozen=True)
class WalkOptions:
    """Molecular dynamics from the generated structures.

    Attributes:
        teacher: calculator that drives it, as `ergodica label --teacher` names them; empty for no dynamics.
        kwargs: its keyword arguments.
        share: share of the structures that are moved.
        temperatures: K, one of them drawn for each run.
        pressures: nominal pressures of the cells, one of them drawn for each run, GPa.
        timestep: fs.
        frames: frames kept of each run.
        every: steps between them.
        ensemble: "langevin", "csvr" or "nve".
    """

    teacher: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    share: float = 0.2
    temperatures: tuple[float, ...] = (300.0, 1000.0, 3000.0)
    pressures: tuple[float, ...] = (0.0, 20.0, 200.0)
    timestep: float = 1.0
    frames: int = 3
    every: int = 50
    ensemble: Literal["nve", "langevin", "csvr"] = "langevin"

    def __post_init__(self) -> None:
        _check(0 <= self.share <= 1, f"[walks] share={self.share} must be 0 to 1.")
        _check(bool(self.temperatures) and min(self.temperatures) > 0, "[walks] temperatures must be positive.")
        _check(bool(self.pressures) and min(self.pressures) >= 0, "[walks] pressures must not be negative.")
        _check(self.timestep > 0 and self.frames >= 1 and self.every >= 1, "[walks] lengths must be positive.")


@dataclass(frozen=True)
class Recipe:
    """Everything that defines a set of generated structures.

    Attributes:
        elements: symbols to use; empty for the 89 from hydrogen to plutonium that are commonly computed.
        prototypes: crystals of known types.
        structures: the user's own.
        variants: what is done to them.
        walks: molecular dynamics.
        limit: starting structures to use, in the shuffled order; 0 for all.
        seed: of everything random.
    """

    elements: tuple[str, ...] = ()
    prototypes: PrototypeOptions = field(default_factory=PrototypeOptions)
    structures: StructureOptions = field(default_factory=StructureOptions)
    variants: VariantOptions = field(default_factory=VariantOptions)
    walks: WalkOptions = field(default_factory=WalkOptions)
    limit: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for symbol in self.elements:
            _check(
                symbol in ELEMENTS,
                f"'{symbol}' is no element that structures are made of here: choose among H to Pu, "
                "without Po, At, Rn, Fr and Ra.",
            )
        _check(self.limit >= 0, f"limit={self.limit} must not be negative.")

    @property
    def palette(self) -> tuple[str, ...]:
        """The symbols to draw from."""
        return self.elements or ELEMENTS


def read_recipe(path: str | Path) -> Recipe:
    """Read a TOML file.

    Raises:
        InputError: missing file, bad TOML, unknown key (with a suggestion), wrong type or value.
    """
    path = Path(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"There is no recipe '{path}'.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"'{path}' is not valid TOML: {error}.") from error
    return from_dict(Recipe, table, str(path))
