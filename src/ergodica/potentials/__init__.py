"""Machine-learned potentials: networks, heads, and the values that carry their weights."""

from __future__ import annotations

from pathlib import Path

from ergodica.potentials.combine import combine
from ergodica.potentials.ensemble import EnsembleConfig
from ergodica.potentials.geoformer import GeoformerConfig
from ergodica.potentials.m3gnet import M3GNetConfig
from ergodica.potentials.potential import EnergyScale, Info, Potential
from ergodica.potentials.visnet import ViSNetConfig

__all__ = [
    "EnergyScale",
    "EnsembleConfig",
    "GeoformerConfig",
    "Info",
    "M3GNetConfig",
    "Potential",
    "ViSNetConfig",
    "combine",
    "load",
    "shipped",
]


def shipped() -> dict[str, Path]:
    """Model files that come with the package, by name."""
    folder = Path(__file__).parent.parent / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def load(name_or_path: str | Path) -> Potential:
    """A potential by the name of a shipped model or the path of a model file.

    Raises:
        InputError: there is no such model, or the file is damaged.
    """
    from ergodica.checkpoint import load_model
    from ergodica.errors import InputError

    models = shipped()
    if str(name_or_path) in models:
        return load_model(models[str(name_or_path)])
    path = Path(name_or_path)
    if path.suffix or path.exists():
        return load_model(path)
    known = ", ".join(models) or "none"
    raise InputError(f"There is no model '{name_or_path}': give the path of a model file or one of: {known}.")
