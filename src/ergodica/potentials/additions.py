"""Classical terms added to any potential: the sum is a potential like any other, in one file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.potentials.architecture import Classical
from ergodica.potentials.classical import ZBLConfig, classical
from ergodica.potentials.ensemble import EnsembleConfig, varying
from ergodica.potentials.potential import Info, ModelConfig, Potential
from ergodica.potentials.sum import SumConfig

__all__ = ["add", "with_core", "with_dispersion"]

CORE = 0.7
"""Where a core ends that is added to a model which knows bonds, in sums of covalent radii: nearer than N2's 0.77."""

ALONE = "Errors are those of the model before terms were added."


def add(potential: Potential, *terms: Potential) -> Potential:
    """A potential whose energy is that of a model and of classical terms.

    The energy scale of the model goes into its last layer, in which its energy is linear, so that all is in eV. The
    members of an ensemble get the terms one by one; their spread stays what it is.

    Args:
        potential: the model: a network, an ensemble, a classical potential, or a sum.
        terms: classical potentials, such as `load("d3", functional="pbe")`.

    Raises:
        InputError: a term is no classical potential or there already, the model predicts no energies or averages them,
            or no element is left that all know.
    """
    for term in terms:
        if not isinstance(term.config, Classical):
            raise InputError(f"'{term.info.name}' is no classical potential: only those can be added.")
    potential.require_energies()
    if potential.energy_scale.reduce == "mean":
        raise InputError(f"Model '{potential.info.name}' averages over atoms: terms that grow with them don't fit.")
    potential = _in_ev(potential)
    configs = tuple(term.config for term in terms)
    return replace(
        potential, config=_joined(potential.config, configs), info=_card(potential.info, [one.info for one in terms])
    )


def with_dispersion(potential: Potential, functional: str = "pbe", **options: Any) -> Potential:
    """A potential with D3(BJ) dispersion.

    Args:
        potential: one whose training data had no dispersion.
        functional: the density functional of these data (see `dispersion.FUNCTIONALS`).
        options: further fields of `D3Config`, such as `cutoff` in Å.
    """
    return add(potential, classical("d3", functional=functional, **options))


def with_core(potential: Potential, reach: float = CORE) -> Potential:
    """A potential with the repulsion of the screened nuclei (ZBL) at distances that no training set holds.

    Args:
        potential: the model.
        reach: where the core has faded away, in sums of covalent radii; the standard leaves all bonds as they are.
    """
    return add(potential, classical("zbl", reach=reach))


def _joined(config: ModelConfig, terms: tuple[ModelConfig, ...]) -> ModelConfig:
    if isinstance(config, EnsembleConfig):
        return replace(config, member=_joined(config.member, terms))
    if isinstance(config, SumConfig):
        return replace(config, terms=config.terms + terms)
    if any(type(config) is type(term) for term in terms) or (getattr(config, "core", False) and _has_core(terms)):
        raise InputError("The model has such a term already: a second one would count its energy twice.")
    return SumConfig(config, terms)


def _has_core(terms: tuple[ModelConfig, ...]) -> bool:
    return any(isinstance(term, ZBLConfig) for term in terms)


def _in_ev(potential: Potential) -> Potential:
    """The same potential with an energy scale of 1."""
    config, scale = potential.config, potential.energy_scale
    many = isinstance(config, EnsembleConfig)
    scales = config.scales if isinstance(config, EnsembleConfig) else ()
    if scale.scale == 1 and not scales:
        return potential
    if config.in_ev:
        raise InputError(f"Model '{potential.info.name}' has a core in eV but an energy scale of {scale.scale}.")
    factors = scale.scale * np.array(scales or 1.0)
    stacked = varying(config, potential.params) if isinstance(config, EnsembleConfig) else None

    def scaled(keys: Any, leaf: Any, own: bool) -> Any:
        name = jax.tree_util.keystr(keys, simple=True, separator="/").removeprefix("params/")
        if not name.startswith(config.last_layer):
            return leaf
        leaf = np.asarray(leaf)
        factor = factors.reshape(-1, *[1] * (leaf.ndim - 1)) if own and factors.ndim else factors
        return (leaf * factor).astype(leaf.dtype)

    stacked = jax.tree.map(lambda _: many, potential.params) if stacked is None else stacked
    params = jax.tree_util.tree_map_with_path(scaled, potential.params, stacked)
    if isinstance(config, EnsembleConfig):
        offsets = tuple((symbol, tuple(scale.scale * one for one in values)) for symbol, values in config.offsets)
        config = replace(config, scales=(), offsets=offsets)
    return replace(potential, config=config, params=params, energy_scale=replace(scale, scale=1.0))


def _card(card: Info, terms: list[Info]) -> Info:
    """The card of the sum."""
    elements = set(card.elements)
    for term in terms:
        elements = elements & set(term.elements) if elements and term.elements else elements or set(term.elements)
        if not elements and (card.elements or term.elements):
            raise InputError(f"'{card.name}' and '{term.name}' have no element in common.")
    added = ", ".join(term.level_of_theory for term in terms)
    return replace(
        card,
        name="+".join([card.name, *(term.name for term in terms)]),
        elements=tuple(sorted(elements, key=SYMBOLS.index)),
        level_of_theory=f"{card.level_of_theory} + {added}",
        notes=card.notes if ALONE in card.notes else f"{card.notes} {ALONE}".strip(),
    )
