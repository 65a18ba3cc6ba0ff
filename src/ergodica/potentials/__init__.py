"""Potentials: networks, heads, and the values that carry their weights; classical ones in the same form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ergodica.potentials.additions import add, with_core, with_dispersion
from ergodica.potentials.combine import combine
from ergodica.potentials.ensemble import EnsembleConfig
from ergodica.potentials.geoformer import GeoformerConfig
from ergodica.potentials.graphormer import GraphormerConfig
from ergodica.potentials.m3gnet import M3GNetConfig
from ergodica.potentials.potential import EnergyScale, Info, Potential
from ergodica.potentials.visnet import ViSNetConfig

__all__ = [
    "EnergyScale",
    "EnsembleConfig",
    "GeoformerConfig",
    "GraphormerConfig",
    "Info",
    "M3GNetConfig",
    "Potential",
    "ViSNetConfig",
    "add",
    "combine",
    "load",
    "shipped",
    "with_core",
    "with_dispersion",
]


def shipped() -> dict[str, Path]:
    """Model files that come with the package, by name."""
    folder = Path(__file__).parent.parent / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def load(name_or_path: str | Path, **parameters: Any) -> Potential:
    """A potential by the name of a shipped model, "coulomb", "d3", "emt", "lj" or "zbl", or the path of a model file.

    Args:
        name_or_path: the model.
        parameters: of a classical potential: `load("lj", epsilon=0.0031, sigma=2.74)`.

    Raises:
        InputError: there is no such model, the file is damaged, or a parameter is unknown.
    """
    from ergodica.errors import InputError
    from ergodica.potentials.classical import CLASSICAL, classical
    from ergodica.potentials.modelfile import load_model

    if str(name_or_path) in CLASSICAL:
        return classical(str(name_or_path), **parameters)
    if parameters:
        raise InputError(f"Only {', '.join(CLASSICAL)} take parameters; '{name_or_path}' does not.")
    models = shipped()
    if str(name_or_path) in models:
        return load_model(models[str(name_or_path)])
    path = Path(name_or_path)
    if path.suffix or path.exists():
        return load_model(path)
    known = ", ".join([*models, *CLASSICAL])
    raise InputError(f"There is no model '{name_or_path}': give the path of a model file or one of: {known}.")
