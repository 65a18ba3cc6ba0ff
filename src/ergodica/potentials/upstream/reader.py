"""What the translations of all published programs share: a state dict read name by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ergodica.errors import InputError

__all__ = ["Reader", "State", "Translated", "joined"]

State = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Translated:
    """A checkpoint in our terms.

    Attributes:
        config: the architecture, in parity mode.
        params: parameter tree of the flax module.
        scale: factor on the per-atom output.
        shift: added once per structure.
        reference: per-element energies by atomic number [max_z].
        reduce: "sum" or "mean" over atoms.
        max_neighbors: truncation of the published program, loop included (it defines no order, so we never truncate).
    """

    config: Any
    params: dict[str, Any]
    scale: float
    shift: float
    reference: np.ndarray
    reduce: str
    max_neighbors: int | None


class Reader:
    """Takes tensors out of a state dict one by one and insists that none is missing or left over."""

    def __init__(self, state: State) -> None:
        self._left = dict(state)

    def take(self, name: str) -> np.ndarray:
        """A tensor that must be there."""
        if name not in self._left:
            raise InputError(f"The checkpoint has no '{name}': do the constructor arguments fit it (see --kwargs)?")
        return self._left.pop(name)

    def optional(self, name: str) -> np.ndarray | None:
        """A tensor that may be there."""
        return self._left.pop(name, None)

    def dense(self, name: str, bias: bool = True) -> dict[str, np.ndarray]:
        """Parameters of an upstream Linear layer, whose weight is [out, in]."""
        layer = {"kernel": np.ascontiguousarray(self.take(f"{name}.weight").T)}
        return layer | {"bias": self.take(f"{name}.bias")} if bias else layer

    def pieces(self, name: str, count: int, bias: bool = True) -> list[dict[str, np.ndarray]]:
        """A Linear layer cut into `count` layers of equal output."""
        whole = self.dense(name, bias)
        cut = {key: np.split(value, count, axis=-1) for key, value in whole.items()}
        return [{key: np.ascontiguousarray(value[i]) for key, value in cut.items()} for i in range(count)]

    def norm(self, name: str) -> dict[str, np.ndarray]:
        """Parameters of a layer norm."""
        return {"scale": self.take(f"{name}.weight"), "bias": self.take(f"{name}.bias")}

    def finish(self) -> None:
        """Raise `InputError` if a tensor was left over."""
        if self._left:
            raise InputError(
                f"The checkpoint has '{next(iter(self._left))}', which the given architecture has no use for: "
                "check the constructor arguments (--kwargs)."
            )


def joined(layers: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Layers on one input as `Projections` keeps them: kernel [in, pieces, out], bias [pieces, out]."""
    axes = {"kernel": 1, "bias": 0}
    return {key: np.stack([layer[key] for layer in layers], axis=axes[key]) for key in layers[0]}
