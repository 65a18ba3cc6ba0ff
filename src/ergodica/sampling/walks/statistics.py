"""What independent ladders disagree about: how many samples count, and the error of a mean."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["FOLDED", "MIXED", "error_of_log_ratio", "error_of_mean", "judged"]

MIXED = 1.05
"""R̂ below which ladders are taken to agree."""
FOLDED = 0.01
"""Share of folded steps below which what they leave out is of no consequence."""


def judged(angles: Float[np.ndarray, "S W T"], energies: Float[np.ndarray, "S W"]) -> tuple[float, float]:
    """Independent samples of W ladders, and R̂: of the worst of all cosines and sines of angles and the energy."""
    series = np.concatenate([np.cos(angles), np.sin(angles), energies[..., None]], axis=-1)  # [S, W, F]
    count, walkers = series.shape[:2]
    between = series.mean(axis=0).var(axis=0, ddof=1)
    within = series.var(axis=0, ddof=1).mean(axis=0)
    total = (count - 1) / count * within + between
    moving = total > 1e-6 * max(float(total.max()), 1e-12)
    effective = walkers * total[moving] / between[moving]
    mixing = np.sqrt(total[moving] / within[moving])
    return float(effective.min()), float(mixing.max())


def error_of_mean(
    values: Float[np.ndarray, " N"], weights: Float[np.ndarray, " N"], walker: Int[np.ndarray, " N"]
) -> float:
    """Of a weighted mean: the jackknife over independent ladders."""
    ladders = walker.max() + 1
    mass = np.bincount(walker, weights, ladders)
    part = np.bincount(walker, weights * values, ladders)
    without = (part.sum() - part) / (mass.sum() - mass)
    return float(np.sqrt((ladders - 1) / ladders * np.sum((without - without.mean()) ** 2)))


def error_of_log_ratio(
    one: Bool[np.ndarray, " N"],
    other: Bool[np.ndarray, " N"],
    weights: Float[np.ndarray, " N"],
    walker: Int[np.ndarray, " N"],
) -> float:
    """Of the logarithm of one share over another, jackknife over independent ladders; infinite if one holds a share."""
    ladders = walker.max() + 1
    parts = np.stack([np.bincount(walker, weights * member, ladders) for member in (one, other)])
    without = parts.sum(axis=1, keepdims=True) - parts
    if (without <= 0).any():
        return float("inf")
    logs = np.log(without[0] / without[1])
    return float(np.sqrt((ladders - 1) / ladders * np.sum((logs - logs.mean()) ** 2)))
