"""A model with classical terms added to its energy: dispersion, a repulsive core, point charges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Array, Float, Int

from ergodica.errors import InputError
from ergodica.potentials.architecture import ModelConfig, Wrapped
from ergodica.potentials.heads import AtomOutput
from ergodica.system import Neighbors

__all__ = ["Sum", "SumConfig"]


@dataclass(frozen=True)
class SumConfig(Wrapped):
    """A model in eV, and terms without parameters.

    The list of neighbours reaches as far as the farthest part; `potential.derivatives` cuts it down for the others.

    Attributes:
        model: the model, its output in eV.
        terms: what is added, each a classical potential.
    """

    model: ModelConfig
    terms: tuple[ModelConfig, ...]

    def __post_init__(self) -> None:
        if self.model.head != "energy":
            raise InputError("Terms can be added to energies only.")
        if len({type(term) for term in self.terms}) < len(self.terms):
            raise InputError("The model has such a term already: a second one would count its energy twice.")

    @property
    def inner(self) -> ModelConfig:
        """The model."""
        return self.model

    @property
    def parts(self) -> tuple[ModelConfig, ...]:
        """The model and the terms."""
        return (self.model, *self.terms)

    @property
    def cutoff(self) -> float:
        """The longest of all, Å."""
        return max(part.cutoff for part in self.parts)

    @property
    def in_ev(self) -> bool:
        """The output is in eV, as the terms are."""
        return True

    @property
    def max_z(self) -> int:
        """Elements that all of them know."""
        return min(part.max_z for part in self.parts)

    def build(self, recompute: bool = True) -> Sum:
        """What makes parameters and gives the sum, with the two methods of a flax module."""
        return Sum(self.model.build(recompute), tuple(term.build() for term in self.terms))


@dataclass(frozen=True)
class Sum:
    """Model and terms as one network."""

    model: Any
    terms: tuple[Any, ...]

    def init(self, key: Array, *inputs: Any) -> Any:
        """Random parameters of the model; the terms have none."""
        return self.model.init(key, *inputs)

    def apply(
        self, params: Any, numbers: Int[Array, " A"], vectors: Float[Array, "A K 3"], neighbors: Neighbors
    ) -> AtomOutput:
        """Atomic energies, eV."""
        found = self.model.apply(params, numbers, vectors, neighbors)
        more = [term.apply({}, numbers, vectors, neighbors).scalar for term in self.terms]
        return AtomOutput(found.scalar + sum(more), found.vector)
