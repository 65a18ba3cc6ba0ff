"""Models trained apart become the members of one ensemble, and come out of it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.potentials.ensemble import EnsembleConfig, varying
from ergodica.potentials.potential import EnergyScale, Info, Potential

__all__ = ["combine", "member"]


def combine(potentials: Sequence[Potential], name: str = "ensemble") -> Potential:
    """One potential that is the mean of several of one architecture.

    Energy scales may differ, as they do when the models saw other training structures.

    Raises:
        InputError: fewer than two models, or models of other architecture, level of theory or kind of energy scale.
    """
    if len(potentials) < 2:
        raise InputError("An ensemble needs at least two models.")
    first = potentials[0]
    for other in potentials[1:]:
        _check_pair(first, other)
    scales = [p.energy_scale for p in potentials]
    scale, reference = _mean_scale(scales), _mean_reference(scales)
    offsets = {
        symbol: tuple((one.reference.get(symbol, 0.0) - energy) / scale for one in scales)
        for symbol, energy in reference.items()
    }
    config = EnsembleConfig(
        first.config,
        len(potentials),
        scales=tuple(one.scale / scale for one in scales) if any(one.scale != scale for one in scales) else (),
        offsets=tuple((symbol, numbers) for symbol, numbers in offsets.items() if any(numbers)),
    )
    params = jax.tree.map(lambda *leaves: np.stack(leaves), *(p.params for p in potentials))
    energy_scale = replace(scales[0], scale=scale, reference=reference)
    return Potential(config, params, energy_scale, _card([p.info for p in potentials], name))


def member(potential: Potential, index: int) -> Potential:
    """One member of an ensemble as a potential of its own."""
    config, scale = potential.config, potential.energy_scale
    if not isinstance(config, EnsembleConfig):
        raise InputError(f"Model '{potential.info.name}' is no ensemble.")
    pick = varying(config, potential.params)
    params = jax.tree.map(lambda leaf, varies: leaf[index] if varies else leaf, potential.params, pick)
    reference = dict(scale.reference)
    for symbol, numbers in config.offsets:
        reference[symbol] = reference.get(symbol, 0.0) + scale.scale * numbers[index]
    factor = config.scales[index] if config.scales else 1.0
    own = replace(scale, scale=scale.scale * factor, reference=reference)
    return Potential(config.member, params, own, replace(potential.info, name=f"{potential.info.name}[{index}]"))


def _check_pair(first: Potential, other: Potential) -> None:
    """Raise `InputError` when two models can't be members of one ensemble."""
    one, two = first.info.name, other.info.name
    if isinstance(first.config, EnsembleConfig) or isinstance(other.config, EnsembleConfig):
        raise InputError("Members of an ensemble are single models: give those, not an ensemble.")
    if first.config != other.config:
        raise InputError(f"Models '{one}' and '{two}' differ in their architecture: train them with one [model] table.")
    if first.energy_scale.reduce != other.energy_scale.reduce or first.energy_scale.shift != other.energy_scale.shift:
        raise InputError(f"Models '{one}' and '{two}' differ in how atomic energies become a total one.")
    levels = {first.info.level_of_theory, other.info.level_of_theory} - {"unknown"}
    if len(levels) > 1:
        raise InputError(f"Models '{one}' and '{two}' are of two levels of theory, {' and '.join(sorted(levels))}.")


def _mean_scale(scales: Sequence[EnergyScale]) -> float:
    numbers = [one.scale for one in scales]
    return numbers[0] if len(set(numbers)) == 1 else float(np.mean(numbers))


def _mean_reference(scales: Sequence[EnergyScale]) -> dict[str, float]:
    tables = [one.reference for one in scales]
    symbols = sorted({symbol for table in tables for symbol in table}, key=SYMBOLS.index)
    columns = {symbol: [table.get(symbol, 0.0) for table in tables] for symbol in symbols}
    return {s: column[0] if len(set(column)) == 1 else float(np.mean(column)) for s, column in columns.items()}


def _card(cards: Sequence[Info], name: str) -> Info:
    """The card of the ensemble: what its members have in common."""
    known = [set(card.elements) for card in cards if card.elements]
    shared = set.intersection(*known) if known else set()
    if known and not shared:
        raise InputError("The models have no element in common.")

    def joined(key: str) -> str:
        return "; ".join(dict.fromkeys(getattr(card, key) for card in cards))

    levels = [card.level_of_theory for card in cards if card.level_of_theory != "unknown"]
    return Info(
        name=name,
        elements=tuple(sorted(shared, key=SYMBOLS.index)),
        level_of_theory=levels[0] if levels else "unknown",
        notes=f"Mean of {', '.join(card.name for card in cards)}.",
        training_data=joined("training_data"),
        split=joined("split"),
        licence=joined("licence"),
    )
