"""`ergodica ensemble`: models trained apart joined to one that knows its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from ergodica.cli.common import DEFAULTS, Common
from ergodica.cli.output import emit
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.potentials.potential import Potential

__all__ = ["ensemble"]


def ensemble(*models: str, name: str | None = None, common: Common = DEFAULTS) -> None:
    """Join models of one architecture to an ensemble, whose spread is its uncertainty.

    Parameters
    ----------
    models
        Names of shipped models, or paths of model files; -o is the file to write.
    name
        Name on the card; that of the file by default.
    """
    if common.output is None:
        raise InputError("Say where to write the model, for example -o ensemble.safetensors.")
    output = common.claim(common.output)
    from ergodica.potentials import load
    from ergodica.potentials.combine import combine
    from ergodica.potentials.modelfile import save_model

    members = [load(model) for model in models]
    _check_different(models, members)
    potential = combine(members, name or output.stem)
    save_model(output, potential)
    record = {
        "path": str(output),
        "name": potential.info.name,
        "members": len(members),
        "elements": potential.info.elements,
        "n_parameters": potential.n_parameters,
    }
    emit(common, record, ("", potential.info.name), [(key.replace("_", " "), value) for key, value in record.items()])


def _check_different(names: Sequence[str], members: Sequence[Potential]) -> None:
    """Two copies of one model agree in everything, and their spread says nothing."""
    import jax
    import numpy as np

    for (one, first), (two, second) in combinations(zip(names, members, strict=True), 2):
        if first.config == second.config and all(
            np.array_equal(a, b)
            for a, b in zip(jax.tree.leaves(first.params), jax.tree.leaves(second.params), strict=True)
        ):
            raise InputError(f"'{one}' and '{two}' are the same model: train members with different seeds.")
