"""Checkpoints of the published ViSNet programs as Ergodica potentials.

Reads PyG's state dicts and AI2BMD's Lightning checkpoints without torch (`ergodica.potentials.torchfile`) and
translates their weights (`ergodica.potentials.upstream`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.potentials.potential import EnergyScale, Info, Potential
from ergodica.potentials.upstream import Translated, translate_visnet

__all__ = ["import_checkpoint"]

WRAPPERS = ("state_dict", "model_state_dict", "model", "ema_state_dict")
"""Keys under which training programs keep the weights."""


def import_checkpoint(path: str | Path, kwargs: Mapping[str, Any] | None = None, name: str | None = None) -> Potential:
    """Convert a checkpoint of PyG's or AI2BMD's ViSNet.

    Args:
        path: a file written by torch: a bare state dict, a checkpoint that wraps one, or a Lightning `.ckpt`.
        kwargs: arguments of PyG's ViSNet constructor; a Lightning checkpoint carries its own.
        name: name on the card; the file's own by default.

    Returns:
        the potential, parameters in the precision of the file.

    Raises:
        InputError: the file is damaged, asks to run code, or holds no ViSNet that fits the arguments.
    """
    from ergodica.potentials.torchfile import read_torch

    state, hyper = _parts(read_torch(path), path)
    if hyper is not None and kwargs:
        raise InputError(f"'{path}' carries its own hyper-parameters: leave --kwargs away.")
    try:
        model = translate_visnet(state, kwargs, hyper)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (TypeError, ValueError) as error:  # a width of "many", a cutoff of None
        raise InputError(f"{path}: the constructor arguments do not describe a ViSNet ({error}).") from error
    scale = EnergyScale(model.scale, model.shift, _by_symbol(model.reference), model.reduce)  # type: ignore[arg-type]
    potential = Potential(model.config, model.params, scale)
    return replace(potential, info=_card(potential, model, Path(path), name, hyper is not None))


def _parts(content: Any, path: str | Path) -> tuple[dict[str, np.ndarray], Mapping[str, Any] | None]:
    """State dict and hyper-parameters, however deep the file keeps them."""
    if not isinstance(content, Mapping):
        raise InputError(
            f"'{path}' holds a {type(content).__name__}, not a state dict: save model.state_dict() instead."
        )
    hyper = content.get("hyper_parameters")
    for wrapper in WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    state = {str(key): value for key, value in content.items() if isinstance(value, np.ndarray)}
    if not state:
        raise InputError(f"'{path}' holds no tensors by name: is it an optimiser's state, or another kind of file?")
    return state, hyper if isinstance(hyper, Mapping) and hyper else None


def _by_symbol(reference: np.ndarray) -> dict[str, float]:
    """Reference energies of real elements, eV; number 0 is padding upstream."""
    pairs = zip(SYMBOLS[1:], np.asarray(reference, float)[1:], strict=False)
    return {symbol: float(value) for symbol, value in pairs if value != 0.0}


def _card(potential: Potential, model: Translated, path: Path, name: str | None, lightning: bool) -> Info:
    origin = "AI2BMD Lightning checkpoint" if lightning else "PyG state dict"
    limit = (
        f"at most {model.max_neighbors} neighbours of an atom, itself included" if model.max_neighbors else "neighbours"
    )
    notes = [
        f"Imported from {path.name} ({origin}, {potential.n_parameters} parameters).",
        f"The published program keeps {limit}, chosen in no defined order; here none is dropped, so that numbers agree "
        "where no atom has more." if model.max_neighbors else "",
        "Units are those of the training labels; eV and Å are assumed.",
        "The network is not smooth at the cut-off, as published.",
    ]  # fmt: skip
    return Info(
        name=name or path.stem,
        elements=tuple(potential.energy_scale.reference),
        licence="that of the imported checkpoint",
        reproduce=f"ergodica models import {path.name}",
        notes=" ".join(note for note in notes if note),
    )
