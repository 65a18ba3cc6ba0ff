"""One structure laid onto another."""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float

__all__ = ["superposed"]


def superposed(
    moved: Float[np.ndarray, "N 3"], onto: Float[np.ndarray, "N 3"]
) -> tuple[Float[np.ndarray, "N 3"], float]:
    """A structure turned and shifted onto another, and what is left between them, Å (Kabsch 1976)."""
    from scipy.spatial.transform import Rotation

    centre, target = moved.mean(axis=0), onto.mean(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a line of atoms any turn about it is as good
        turn, off = Rotation.align_vectors(onto - target, moved - centre)
    return turn.apply(moved - centre) + target, float(off / np.sqrt(len(onto)))
