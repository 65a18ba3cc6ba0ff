"""Ergodica: atomistic machine learning in JAX.

Structures → graph → model → energy → derivatives → dynamics, minimiser or sampler → ensemble → report.
The names below are imported when first used, so that `import ergodica` neither loads JAX nor touches a device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ergodica.calculators import Calculator as Calculator
    from ergodica.dft.run import minimize_density as minimize_density
    from ergodica.dynamics.md import simulate as simulate
    from ergodica.dynamics.neb import neb as neb
    from ergodica.dynamics.relax import relax as relax
    from ergodica.potentials import load as load
    from ergodica.potentials.potential import Potential as Potential
    from ergodica.prediction import predict as predict
    from ergodica.properties.elastic import elastic as elastic
    from ergodica.properties.eos import eos as eos
    from ergodica.properties.phonons import phonons as phonons
    from ergodica.system import Batch as Batch
    from ergodica.system import System as System
    from ergodica.training import finetune as finetune
    from ergodica.training import train as train

__all__ = [
    "Batch",
    "Calculator",
    "Potential",
    "System",
    "__version__",
    "elastic",
    "eos",
    "finetune",
    "load",
    "minimize_density",
    "neb",
    "phonons",
    "predict",
    "relax",
    "simulate",
    "train",
]

__version__ = "0.1.0"

_HOMES = {
    "Batch": "ergodica.system",
    "Calculator": "ergodica.calculators",
    "Potential": "ergodica.potentials.potential",
    "System": "ergodica.system",
    "elastic": "ergodica.properties.elastic",
    "eos": "ergodica.properties.eos",
    "finetune": "ergodica.training",
    "load": "ergodica.potentials",
    "minimize_density": "ergodica.dft.run",
    "neb": "ergodica.dynamics.neb",
    "phonons": "ergodica.properties.phonons",
    "predict": "ergodica.prediction",
    "relax": "ergodica.dynamics.relax",
    "simulate": "ergodica.dynamics.md",
    "train": "ergodica.training",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'ergodica' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Public names, imported or not."""
    return sorted({*globals(), *_HOMES})
