"""Learning a property of structures from the trunk of a potential, with everything else as for energies.

A property that is a mean over atoms is learnt as the "energy" N·p, whose error an atom is the error of p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Float

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.potentials.m3gnet import M3GNetConfig
from ergodica.potentials.potential import EnergyScale, Potential
from ergodica.potentials.property import PropertyConfig
from ergodica.potentials.sum import SumConfig
from ergodica.system import Labels, System
from ergodica.training.options import PropertyOptions

if TYPE_CHECKING:
    from ergodica.potentials.architecture import ModelConfig
    from ergodica.training.options import TrainConfig

__all__ = ["property_potential", "values_of", "with_property"]


def values_of(systems: Sequence[System], name: str) -> Float[np.ndarray, " S"]:
    """A property of each structure, from its info.

    Raises:
        InputError: a structure lacks it, or it is not a finite number.
    """
    found = []
    for system in systems:
        if name not in system.info:
            raise InputError(f"{system.name} has no '{name}'; it holds {', '.join(system.info) or 'no other data'}.")
        try:
            found.append(float(system.info[name]))
        except (TypeError, ValueError) as error:
            raise InputError(f"{system.name}: '{name}' is {system.info[name]!r}, not a number.") from error
        if not np.isfinite(found[-1]):
            raise InputError(f"{system.name}: '{name}' is {found[-1]}; leave the structure out.")
    return np.array(found)


def with_property(systems: Sequence[System], options: PropertyOptions) -> list[System]:
    """The structures with the property in the place of their energy, and no other label.

    Raises:
        InputError: see `values_of`.
    """
    values = values_of(systems, options.key)
    factors = [len(system) if options.average else 1 for system in systems]
    return [s.with_labels(Labels(energy=n * value)) for s, n, value in zip(systems, factors, values, strict=True)]


def property_potential(config: TrainConfig, systems: Sequence[System]) -> Potential:
    """The model at step 0: the trunk of the start model, or random parameters, and a new last layer.

    Args:
        config: of the run.
        systems: from `with_property`.

    Raises:
        InputError: the start model predicts something else.
    """
    from ergodica.potentials import load

    options = config.learn
    start = load(config.start.model) if config.start.model else None
    trunk = start.config if start else config.model
    if isinstance(trunk, PropertyConfig):
        if (trunk.name, trunk.average) != (options.key, options.average):
            raise InputError(f"Model '{config.start.model}' predicts '{trunk.name}': it can't become '{options.key}'.")
        assert start is not None
        return start
    trunk = _bare(trunk)
    wrapped = PropertyConfig(trunk, options.key, options.unit, options.average)
    each = np.array([s.labels.energy / len(s) for s in systems if s.labels.energy is not None])
    table = dict.fromkeys(SYMBOLS[1:], float(each.mean()))
    fresh = Potential.create(wrapped, config.run.seed, energy_scale=EnergyScale(float(each.std()) or 1.0, 0.0, table))
    if start is None:
        return fresh
    return replace(fresh, params=_with_new_layer(start.params, fresh.params, trunk.last_layer), info=start.info)


def _bare(trunk: ModelConfig) -> ModelConfig:
    """The network without terms in eV, which are no part of a property."""
    if isinstance(trunk, SumConfig):
        trunk = trunk.model
    return replace(trunk, core=False) if isinstance(trunk, M3GNetConfig) else trunk


def _with_new_layer(params: object, fresh: object, layer: str) -> object:
    """The parameters, those of the last layer replaced by fresh ones."""

    def choose(keys: tuple[object, ...], old: object, new: object) -> object:
        name = jax.tree_util.keystr(keys, simple=True, separator="/").removeprefix("params/")
        return new if name.startswith(layer) else old

    return jax.tree_util.tree_map_with_path(choose, params, fresh)
