"""Ensembles: several parameter sets of one architecture as one potential, whose spread says how far to trust it.

A deep ensemble (Lakshminarayanan et al. 2017, arXiv:1612.01474) has members trained from their own random parameters.
Where only the last layer varies, the members share all that goes before it: samples of its posterior (see
`ergodica.training.laplace`). The potential is the mean of the members, so its forces are the gradient of its energy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.potentials.architecture import ModelConfig, Wrapped
from ergodica.potentials.heads import AtomOutput
from ergodica.system import Neighbors

__all__ = ["Calibration", "Ensemble", "EnsembleConfig", "Spread", "over_members", "varying"]

AT_ONCE = 4
"""Members whose backward passes run together where they share layers: more save little time and take more memory."""


@dataclass(frozen=True)
class Calibration:
    """Factors that turn the spread into bounds of the error, found on labelled structures by conformal prediction.

    A share `level` of the true values lies within factor times spread of the prediction, for structures like those of
    the calibration. None stands for what had no labels.

    Attributes:
        level: the share.
        energy: of the total energy.
        forces: of the force on an atom, in length.
        stress: of the stress, in Frobenius norm.
        structures: how many structures the factors come from.
        data: which.
    """

    level: float
    energy: float | None = None
    forces: float | None = None
    stress: float | None = None
    structures: int = 0
    data: str = "unknown"


@dataclass(frozen=True)
class EnsembleConfig(Wrapped):
    """Members of one architecture, their parameters stacked along a leading axis.

    Attributes:
        member: architecture of a member.
        members: how many there are.
        varied: beginning of the names of the parameters that differ from member to member; the others are kept once.
            Empty for all.
        scales: factor on each member's output; empty for 1. Models trained apart have energy scales of their own.
        offsets: what an atom of an element adds to each member's output, as (symbol, one number a member).
    """

    member: ModelConfig
    members: int
    varied: str = ""
    scales: tuple[float, ...] = ()
    offsets: tuple[tuple[str, tuple[float, ...]], ...] = ()

    def __post_init__(self) -> None:
        if self.members < 2:
            raise InputError(f"members={self.members}: an ensemble has at least 2.")
        if self.member.head != "energy" or isinstance(self.member, EnsembleConfig):
            raise InputError("Members of an ensemble are single models that predict energies.")
        for given in filter(len, (self.scales, *(numbers for _, numbers in self.offsets))):
            if len(given) != self.members:
                raise InputError(f"An ensemble of {self.members} members can't have {len(given)} scales or offsets.")

    @property
    def inner(self) -> ModelConfig:
        """The architecture of a member."""
        return self.member

    def build(self, recompute: bool = True) -> Ensemble:
        """What makes parameters and gives the mean of the members, with the two methods of a flax module."""
        return Ensemble(self, self.member.build(recompute))

    def factors(self, dtype: Any) -> Float[Array, " M"]:
        """The scales."""
        return jnp.asarray(self.scales or (1.0,) * self.members, dtype)

    def table(self, dtype: Any) -> Float[Array, "M Z"]:
        """The offsets by member and atomic number; zero for padding."""
        table = np.zeros((self.members, self.max_z))
        for symbol, numbers in self.offsets:
            table[:, SYMBOLS.index(symbol)] = numbers
        return jnp.asarray(table, dtype)


@dataclass(frozen=True)
class Ensemble:
    """The members as one network."""

    config: EnsembleConfig
    member: Any

    def init(self, key: Array, *inputs: Any) -> Any:
        """Random parameters, each member with its own."""
        keys = jax.random.split(key, self.config.members)
        many = jax.vmap(lambda one: self.member.init(one, *inputs))(keys)
        return jax.tree.map(lambda leaf, varies: leaf if varies else leaf[0], many, varying(self.config, many))

    def apply(
        self, params: Any, numbers: Int[Array, " A"], vectors: Float[Array, "A K 3"], neighbors: Neighbors
    ) -> AtomOutput:
        """Mean over the members of what each says of every atom."""
        found = over_members(
            self.config,
            lambda one, _: self.member.apply(one, numbers, vectors, neighbors),
            params,
            at_once=self.config.members,  # the last layer alone: little work, and one backward pass behind it
        )
        dtype = found.scalar.dtype
        scalar = self.config.factors(dtype)[:, None] * found.scalar + self.config.table(dtype)[:, numbers]
        return AtomOutput(scalar.mean(axis=0), found.vector.mean(axis=0))


class Spread(NamedTuple):
    """Root mean square deviation of the members from their mean, in units of the output.

    Attributes:
        energy: of the total energy [B].
        forces: of the force on an atom, a vector [A].
        virial: of the virial, in Frobenius norm [B].
    """

    energy: Float[Array, " B"]
    forces: Float[Array, " A"]
    virial: Float[Array, " B"]


def varying(config: EnsembleConfig, params: Any) -> Any:
    """Tree of whether a parameter has a leading member axis; the members share the others."""

    def varies(keys: Any, _: Any) -> bool:
        name = jax.tree_util.keystr(keys, simple=True, separator="/").removeprefix("params/")
        return name.startswith(config.varied)

    return jax.tree_util.tree_map_with_path(varies, params)


def over_members(
    config: EnsembleConfig, function: Callable[[Any, Array], Any], params: Any, at_once: int = AT_ONCE
) -> Any:
    """`function` of each member's parameters and number, the results stacked along a leading axis.

    Members of their own go one after the other: on a CPU that is no slower than all at once, and takes the memory of
    one. Members that share their first layers go together, so that those are computed once for all of them.

    Args:
        config: of the ensemble.
        function: (parameters of a member, its number) → arrays.
        params: of the ensemble.
        at_once: members that go together where they share layers; the memory grows with it.
    """
    number = jnp.arange(config.members)
    if not config.varied:
        return jax.lax.map(lambda one: function(*one), (params, number))
    leaves, structure = jax.tree.flatten(params)
    own = jax.tree.leaves(varying(config, params))

    def one(given: tuple[list[Any], Array]) -> Any:
        several = iter(given[0])
        filled = [next(several) if varies else leaf for leaf, varies in zip(leaves, own, strict=True)]
        return function(jax.tree.unflatten(structure, filled), given[1])

    stacked = [leaf for leaf, varies in zip(leaves, own, strict=True) if varies], number
    return jax.vmap(one)(stacked) if at_once >= config.members else jax.lax.map(one, stacked, batch_size=at_once)
