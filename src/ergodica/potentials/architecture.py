"""What every network has to say of itself."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["ModelConfig"]


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
