"""Statistics of ensembles: what two of them tell of their temperatures and pressures, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

__all__ = ["jackknife", "slopes"]


def slopes(
    first: Float[np.ndarray, "R S K"], second: Float[np.ndarray, "R S K"]
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Slopes of ln(p₂/p₁) along K observables, and their standard errors.

    Two canonical ensembles have p₂/p₁ ∝ exp(-(β₂ - β₁) U), whatever the density of states; at constant pressure
    exp(-(β₂ - β₁) U - (β₂P₂ - β₁P₁) V). Maximum likelihood: logistic regression of which of the two a sample is from
    (Shirts 2013, doi:10.1021/ct300688p, equation 8). Errors by the jackknife over replicas, which are independent
    however slowly each of them forgets.

    Args:
        first: observables of S samples of each of R replicas.
        second: the same of the other ensemble.
    """
    both = np.stack([first, second])
    return jackknife(lambda kept: _logistic(both[0][kept], both[1][kept]), len(first))


def jackknife(
    estimate: Callable[[np.ndarray], Float[np.ndarray, " K"]], replicas: int
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """What is estimated from all replicas, and its standard error.

    Args:
        estimate: from a mask of replicas.
        replicas: how many there are.
    """
    without = np.array([estimate(np.arange(replicas) != left) for left in range(replicas)])
    error = np.sqrt((replicas - 1) * without.var(axis=0))
    return np.asarray(estimate(np.ones(replicas, bool))), error


def _logistic(first: Float[np.ndarray, "R S K"], second: Float[np.ndarray, "R S K"]) -> Float[np.ndarray, " K"]:
    """Newton's method for a concave likelihood."""
    count = first.shape[-1]
    x = np.concatenate([first.reshape(-1, count), second.reshape(-1, count)])
    which = np.repeat([0.0, 1.0], [len(x) - second[..., 0].size, second[..., 0].size])
    middle, width = x.mean(axis=0), x.std(axis=0)
    design = np.column_stack([np.ones(len(x)), (x - middle) / width])
    weights = np.zeros(count + 1)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-design @ weights))
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design
        change = np.linalg.solve(curvature, design.T @ (which - chance))
        weights += change
        if np.abs(change).max() < 1e-10:
            return weights[1:] / width
    raise AssertionError("the two ensembles do not overlap")
