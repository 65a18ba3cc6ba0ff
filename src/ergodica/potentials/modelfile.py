"""Model files: a potential with its architecture, scale of energies, card and calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax

from ergodica.checkpoint import load_tree, named_leaves, save_tree
from ergodica.config import from_dict
from ergodica.errors import InputError
from ergodica.potentials.classical import CLASSICAL
from ergodica.potentials.ensemble import Calibration, EnsembleConfig
from ergodica.potentials.potential import CONFIGS, EnergyScale, Info, ModelConfig, Potential
from ergodica.potentials.property import PropertyConfig
from ergodica.potentials.sum import SumConfig

__all__ = ["load_model", "save_model"]

MODEL_FORMAT = "ergodica-model"
VERSION = 1
WRAPPERS: dict[str, tuple[type, str]] = {"ensemble": (EnsembleConfig, "member"), "property": (PropertyConfig, "trunk")}
"""Configurations around another one, and the field that holds it."""
KINDS: dict[str, type] = CONFIGS | {name: kind for name, (kind, _, _) in CLASSICAL.items()}
"""Configurations that stand alone."""


def save_model(path: str | Path, potential: Potential) -> None:
    """Write a potential as one model file."""
    kind, config = _config_header(potential.config)
    header = {
        "format": MODEL_FORMAT,
        "version": VERSION,
        "kind": kind,
        "config": config,
        "energy_scale": asdict(potential.energy_scale),
        "info": asdict(potential.info),
    }
    if potential.calibration is not None:
        header["calibration"] = asdict(potential.calibration)
    save_tree(path, potential.params, header)


def _config_header(config: ModelConfig) -> tuple[str, dict[str, Any]]:
    """Name of the architecture and its options; those of a configuration around another hold that one's."""
    options = asdict(config)  # type: ignore[call-overload]
    for name, (wrapper, field) in WRAPPERS.items():
        if isinstance(config, wrapper):
            kind, inner = _config_header(getattr(config, field))
            return name, {"kind": kind, **options, field: inner}
    if isinstance(config, SumConfig):
        parts = [{"kind": kind, "config": inner} for kind, inner in map(_config_header, config.parts)]
        return "sum", {"model": parts[0], "terms": parts[1:]}
    return next(name for name, cls in KINDS.items() if isinstance(config, cls)), options


def _read_config(kind: Any, options: Mapping[str, Any], path: str | Path) -> ModelConfig:
    """The architecture that `_config_header` described."""
    if kind in WRAPPERS:
        wrapper, field = WRAPPERS[kind]
        rest = {key: value for key, value in options.items() if key not in ("kind", field)}
        inner = _read_config(options.get("kind"), options.get(field, {}), path)
        return from_dict(wrapper, {**rest, field: inner}, f"{path}: config")
    if kind == "sum":
        model, *terms = [
            _read_config(part.get("kind"), part.get("config", {}), path)
            for part in (options.get("model", {}), *options.get("terms", ()))
        ]
        return from_dict(SumConfig, {"model": model, "terms": terms}, f"{path}: config")
    if kind not in KINDS:
        raise InputError(f"'{path}' holds a '{kind}', which this version does not know.")
    return from_dict(KINDS[kind], options, f"{path}: config")


def load_model(path: str | Path) -> Potential:
    """Read a potential.

    Raises:
        InputError: the file is missing, truncated, of another kind, or from a newer version.
    """
    params, header = load_tree(path)
    if header.get("format") != MODEL_FORMAT:
        raise InputError(f"'{path}' holds '{header.get('format')}', not a model.")
    if header.get("version", 0) > VERSION:
        raise InputError(
            f"'{path}' was written by a newer Ergodica (format {header['version']}, this one reads up to {VERSION}): "
            "upgrade with 'pip install -U ergodica'."
        )
    calibration = header.get("calibration")
    potential = Potential(
        config=_read_config(header.get("kind"), header["config"], path),
        params=params,
        energy_scale=from_dict(EnergyScale, header["energy_scale"], f"{path}: energy_scale"),
        info=from_dict(Info, header["info"], f"{path}: info"),
        calibration=calibration and from_dict(Calibration, calibration, f"{path}: calibration"),
    )
    _check_params(potential, path)
    return potential


def _check_params(potential: Potential, path: str | Path) -> None:
    """The parameters must be those of the architecture, name by name and shape by shape."""
    wanted = jax.eval_shape(potential.config.build().init, jax.random.key(0), *Potential.smallest_input())
    shapes = {name: leaf.shape for name, leaf in named_leaves(wanted).items()}
    found = {name: leaf.shape for name, leaf in named_leaves(potential.params).items()}
    for name in sorted(set(shapes) | set(found)):
        if shapes.get(name) != found.get(name):
            raise InputError(
                f"'{path}' is inconsistent: parameter '{name}' has shape {found.get(name)}, its configuration asks for "
                f"{shapes.get(name)}."
            )
