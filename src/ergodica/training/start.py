"""Where a training run starts: random parameters with a fitted energy scale, or a model to fine-tune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.potentials.ensemble import EnsembleConfig
from ergodica.potentials.potential import EnergyScale, ModelConfig, Potential
from ergodica.system import System
from ergodica.training.data import fit_reference, force_scale
from ergodica.training.options import TrainConfig
from ergodica.training.property import property_potential

__all__ = ["members_of", "refitted", "starting_potential", "trainable_mask"]


def starting_potential(config: TrainConfig, systems: Sequence[System]) -> Potential:
    """The potential at step 0; energies and forces of the training structures set its scale and reference.

    Raises:
        InputError: there is nothing to train on, or the start model lacks an element.
    """
    if not systems:
        raise InputError("There are no training structures: set [data] train.")
    if config.learn.key:
        return property_potential(config, systems)
    if config.start.model:
        return _warm_start(config, systems)
    _check_head(config.model.head)
    labelled = [s for s in systems if s.labels.energy is not None]
    reference = fit_reference(labelled, [s.labels.energy for s in labelled if s.labels.energy is not None])
    scale = EnergyScale(scale=1.0 if config.model.in_ev else force_scale(systems), reference=reference)
    return Potential.create(config.model, config.run.seed, energy_scale=scale)


def _warm_start(config: TrainConfig, systems: Sequence[System]) -> Potential:
    """A trained model whose reference energies are refitted to what its interactions leave unexplained.

    Reference energies belong to a level of theory; refitting them is what lets a model move to another one with few
    data. Elements the old table knows and the new data lacks keep their shift relative to it.
    """
    from ergodica.potentials import load

    potential = replace(load(config.start.model), calibration=None)  # other parameters will have another spread
    if isinstance(potential.config, EnsembleConfig) and potential.config.varied:
        raise InputError(
            f"Model '{config.start.model}' is a single model with a posterior: fine-tune the model it was made from, "
            "then calibrate again."
        )
    _check_head(potential.config.head)
    if potential.energy_scale.reduce != "sum":
        raise InputError(f"Model '{config.start.model}' averages its output over the atoms and can't be fine-tuned.")
    single = not isinstance(config.model, EnsembleConfig)
    if config.model != potential.config and not (single and config.model == type(config.model)()):
        raise InputError("[model] can't be changed when fine-tuning: leave the table out.")
    return refitted(potential, systems)


def refitted(potential: Potential, systems: Sequence[System]) -> Potential:
    """The potential with reference energies that suit structures of perhaps another level of theory."""
    from ergodica.prediction import Prediction, predict

    labelled = [s for s in systems if s.labels.energy is not None]
    if not labelled:
        return potential
    energies = np.array([s.labels.energy for s in labelled], float)
    predictions = predict(potential, labelled)
    residual = energies - np.array([p.energy for p in predictions if isinstance(p, Prediction)])
    change = fit_reference(labelled, residual.tolist())
    old = potential.energy_scale.reference
    reference = {s: old.get(s, 0.0) + change.get(s, 0.0) for s in SYMBOLS if s in old or s in change}
    return replace(potential, energy_scale=replace(potential.energy_scale, reference=reference))


def members_of(config: ModelConfig) -> int:
    """Number of members that are trained side by side; 0 for a single model."""
    return config.members if isinstance(config, EnsembleConfig) else 0


def _check_head(head: str) -> None:
    if head != "energy":
        raise InputError(f"Only models that predict an energy can be trained, this one predicts '{head}'.")


def trainable_mask(params: Any, freeze: Sequence[str]) -> Any:
    """Factors 0 (frozen) or 1 for every parameter.

    Args:
        params: parameter tree.
        freeze: beginnings of parameter names ("embedding", "layer_0/node_proj").

    Raises:
        InputError: a name fits no parameter.
    """
    used = set()

    def factor(keys: Any, _: Any) -> float:
        name = jax.tree_util.keystr(keys, simple=True, separator="/").removeprefix("params/")
        hits = [prefix for prefix in freeze if name.startswith(prefix)]
        used.update(hits)
        return 0.0 if hits else 1.0

    mask = jax.tree_util.tree_map_with_path(factor, params)
    missing = [prefix for prefix in freeze if prefix not in used]
    if missing:
        raise InputError(f"[start] freeze '{missing[0]}' fits no parameter of the model.")
    return mask
