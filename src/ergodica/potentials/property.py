"""A network that answers with a property of the structure instead of its energy: an adapter on a trunk.

Each atom contributes what the trunk's readout makes of it, and the property is the sum of the contributions (a heat of
formation) or their mean (a modulus, a gap), plus a contribution of each element (MatBench, Dunn et al. 2020,
doi:10.1038/s41524-020-00406-3, shows what such models are for).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ergodica.errors import InputError
from ergodica.potentials.architecture import ModelConfig, Wrapped
from ergodica.potentials.ensemble import EnsembleConfig
from ergodica.potentials.heads import HEADS

__all__ = ["PropertyConfig"]


@dataclass(frozen=True)
class PropertyConfig(Wrapped):
    """A network and what its output means.

    Attributes:
        trunk: the network, one whose readout gives a number an atom.
        name: of the property, as training structures have it in their info.
        unit: of the property, for people.
        average: whether the property is the mean of the atoms' contributions, not their sum.
    """

    trunk: ModelConfig
    name: str
    unit: str = ""
    average: bool = True

    def __post_init__(self) -> None:
        if self.name in HEADS or not self.name:
            raise InputError(f"A property can't be called '{self.name}': choose another name.")
        if self.trunk.head != "energy" or isinstance(self.trunk, EnsembleConfig):
            raise InputError("A property is predicted by a single network whose readout gives a number an atom.")

    @property
    def inner(self) -> ModelConfig:
        """The trunk."""
        return self.trunk

    @property
    def head(self) -> str:
        """The property."""
        return self.name

    @property
    def in_ev(self) -> bool:
        """The output is in no unit until training chooses one."""
        return False

    def build(self, recompute: bool = True) -> Any:
        """The module of the trunk."""
        return self.trunk.build(recompute)
