"""Checkpoints of the published programs as Ergodica potentials.

Reads MatterSim's M3GNet, AI2BMD's Geoformer and ViSNet and PyG's ViSNet without torch
(`ergodica.potentials.torchfile`) and translates their weights (`ergodica.potentials.upstream`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.potentials.m3gnet import M3GNetConfig
from ergodica.potentials.potential import EnergyScale, Info, Potential
from ergodica.potentials.upstream import (
    Translated,
    is_geoformer,
    is_m3gnet,
    translate_geoformer,
    translate_m3gnet,
    translate_visnet,
)

__all__ = ["import_checkpoint"]

WRAPPERS = ("state_dict", "model_state_dict", "model", "ema_state_dict")
"""Keys under which training programs keep the weights."""


def import_checkpoint(path: str | Path, kwargs: Mapping[str, Any] | None = None, name: str | None = None) -> Potential:
    """Convert a checkpoint of MatterSim's M3GNet, AI2BMD's Geoformer or ViSNet, or PyG's ViSNet.

    Args:
        path: a file written by torch: a bare state dict, a checkpoint that wraps one, or a Lightning `.ckpt`.
        kwargs: arguments of the published constructor, for a bare state dict, which does not carry them.
        name: name on the card; the file's own by default.

    Returns:
        the potential, parameters in the precision of the file.

    Raises:
        InputError: the file is damaged, asks to run code, or holds no known network that fits the arguments.
    """
    from ergodica.potentials.torchfile import read_torch

    content = read_torch(path)
    state, hyper = _parts(content, path)
    if (hyper is not None or is_m3gnet(state)) and kwargs:
        raise InputError(f"'{path}' carries its own hyper-parameters: leave --kwargs away.")
    try:
        model, program = _translated(state, content, kwargs, hyper)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (TypeError, ValueError) as error:  # a width of "many", a cutoff of None
        raise InputError(f"{path}: the constructor arguments do not describe the network ({error}).") from error
    scale = EnergyScale(model.scale, model.shift, _by_symbol(model.reference), model.reduce)  # type: ignore[arg-type]
    potential = Potential(model.config, model.params, scale)
    origin = f"{program} Lightning checkpoint" if hyper else f"{program} checkpoint"
    return replace(potential, info=_card(potential, origin, _notes(model), Path(path), name))


def _translated(
    state: dict[str, np.ndarray], content: Any, kwargs: Mapping[str, Any] | None, hyper: Mapping[str, Any] | None
) -> tuple[Translated, str]:
    """The network in our terms, and whose it was."""
    if is_m3gnet(state):
        return translate_m3gnet(state, _arguments(content)), "MatterSim"
    if is_geoformer(state):
        return translate_geoformer(state, kwargs, hyper), "AI2BMD Geoformer"
    return translate_visnet(state, kwargs, hyper), "AI2BMD ViSNet" if hyper else "PyG ViSNet"


def _arguments(content: Any) -> Mapping[str, Any] | None:
    """What a MatterSim checkpoint says its network was made with."""
    found = content.get("model_args")
    return found if isinstance(found, Mapping) else None


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


def _notes(model: Translated) -> list[str]:
    """What a user should know of numbers from the published form."""
    if isinstance(model.config, M3GNetConfig):
        return ["Energies are eV, as in the published program; its constants of single precision are kept."]
    notes = [
        "Units are those of the training labels; eV and Å are assumed.",
        "The network is not smooth at the cut-off, as published.",
    ]
    if not model.max_neighbors:
        return notes
    return [
        f"The published program keeps at most {model.max_neighbors} neighbours of an atom, itself included, chosen in "
        "no defined order; here none is dropped, so that numbers agree where no atom has more.",
        *notes,
    ]


def _card(potential: Potential, origin: str, notes: Sequence[str], path: Path, name: str | None) -> Info:
    imported = f"Imported from {path.name} ({origin}, {potential.n_parameters} parameters)."
    return Info(
        name=name or path.stem,
        elements=tuple(potential.energy_scale.reference),
        licence="that of the imported checkpoint",
        reproduce=f"ergodica models import {path.name}",
        notes=" ".join([imported, *notes]),
    )
