"""What every network has to say of itself."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from ergodica.elements import SYMBOLS

__all__ = ["Classical", "ModelConfig", "Wrapped"]


class ModelConfig(Protocol):
    """What a network's configuration must offer; a frozen, hashable dataclass."""

    @property
    def cutoff(self) -> float:
        """Radius of interaction, Å."""

    @property
    def loops(self) -> bool:
        """Whether the graph needs an edge from each atom to itself."""

    @property
    def head(self) -> str:
        """What is predicted; "energy" for a potential."""

    @property
    def in_ev(self) -> bool:
        """Whether the output is in eV, as with a repulsive core; else training chooses its unit."""

    @property
    def radial(self) -> bool:
        """Whether energies depend on nothing but the lengths of the edges, which makes forces cheaper."""

    @property
    def max_z(self) -> int:
        """Size of the element tables: atomic numbers below it are known."""

    @property
    def last_layer(self) -> str:
        """Beginning of the names of the parameters in which the energy is linear."""

    def build(self, recompute: bool = True) -> Any:
        """The flax module: (numbers, vectors, neighbors) → AtomOutput.

        With `recompute` it may compute again in a backward pass what is cheap; training, which differentiates twice,
        does better without.
        """


class Classical:
    """What a classical potential says of itself: a function of the distances of atoms, in eV, with nothing to train."""

    head: ClassVar[str] = "energy"
    loops: ClassVar[bool] = False
    in_ev: ClassVar[bool] = True
    radial: ClassVar[bool] = True
    last_layer: ClassVar[str] = ""
    max_z: ClassVar[int] = len(SYMBOLS)


class Wrapped:
    """What a configuration around another one says of itself: what that one says."""

    @property
    def inner(self) -> ModelConfig:
        """The one inside."""
        raise NotImplementedError

    @property
    def cutoff(self) -> float:
        """Radius of interaction, Å."""
        return self.inner.cutoff

    @property
    def loops(self) -> bool:
        """Whether the graph needs an edge from each atom to itself."""
        return self.inner.loops

    @property
    def head(self) -> str:
        """What is predicted."""
        return self.inner.head

    @property
    def in_ev(self) -> bool:
        """Whether the output is in eV."""
        return self.inner.in_ev

    @property
    def radial(self) -> bool:
        """Whether energies depend on the lengths of the edges alone."""
        return self.inner.radial

    @property
    def max_z(self) -> int:
        """Size of the element tables."""
        return self.inner.max_z

    @property
    def last_layer(self) -> str:
        """Beginning of the names of the parameters in which the output is linear."""
        return self.inner.last_layer
