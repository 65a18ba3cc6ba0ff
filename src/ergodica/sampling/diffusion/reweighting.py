"""From samples of a model to averages of the target: importance weights, and how far they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import expit, logsumexp

from ergodica.errors import InputError, WorkFailed

__all__ = ["LEAST", "Reweighted", "bennett", "check_count", "pareto_shape", "reweight"]

LEAST, ALIKE = 25, 1e-3
"""Weights that can be judged, and relative spread below which they are all alike."""
RELIABLE = 0.7
"""Shape k̂ above which averages are not reported (Vehtari et al. 2024, arXiv:1507.02646)."""


@dataclass(frozen=True)
class Reweighted:
    """Weights of samples.

    Attributes:
        weights: summing to 1 [N].
        effective: number of equally weighted samples that average as well (Kish), 1 to N.
        pareto_k: shape k̂ of the tail of the weights; averages converge below 0.7.
        log_mean: logarithm of the mean of exp(log-weights): minus the free energy in units of kT, if the log-weights
            are -E/kT - log q.
        log_mean_error: its standard error.
    """

    weights: Float[np.ndarray, " N"]
    effective: float
    pareto_k: float
    log_mean: float
    log_mean_error: float

    @property
    def reliable(self) -> bool:
        """Whether averages may be reported."""
        return self.pareto_k <= RELIABLE

    def average(self, values: Float[np.ndarray, "N ..."]) -> Float[np.ndarray, "..."]:
        """The mean of the target.

        Raises:
            WorkFailed: the weights are degenerate.
        """
        if not self.reliable:
            raise WorkFailed(
                f"No average is given: the weights are degenerate (Pareto k̂ {self.pareto_k:.2f} > {RELIABLE}, "
                f"{self.effective:.0f} of {len(self.weights)} samples count). Train longer, or draw more samples."
            )
        return np.tensordot(self.weights, np.asarray(values), axes=1)


def check_count(count: int) -> None:
    """Raise `InputError` for fewer samples than weights can be judged by."""
    if count < LEAST:
        raise InputError(f"At least {LEAST} samples are needed to judge their weights, not {count}.")


def reweight(log_weights: Float[np.ndarray, " N"]) -> Reweighted:
    """Normalise and judge weights.

    Args:
        log_weights: log p(x) - log q(x) of samples of q, up to a constant; -inf where p has no density.

    Raises:
        InputError: there are fewer than 25, they are NaN or +inf, or all are -inf.
    """
    log_weights = np.asarray(log_weights, np.float64)
    check_count(len(log_weights) if log_weights.ndim == 1 else 0)
    if np.isnan(log_weights).any() or (log_weights == np.inf).any() or not np.isfinite(log_weights).any():
        raise InputError("The log-weights are not finite: the energies or densities of the samples are broken.")
    total = logsumexp(log_weights)
    weights = np.exp(log_weights - total)
    count = len(weights)
    spread = np.sqrt(max(float(np.sum(weights**2)) - 1 / count, 0.0))  # relative error of the mean
    return Reweighted(weights, float(1 / np.sum(weights**2)), pareto_shape(weights), total - np.log(count), spread)


def bennett(forward: Float[np.ndarray, " N"], backward: Float[np.ndarray, " M"]) -> tuple[float, float]:
    """ln Z and its standard error by Bennett's acceptance ratio (1976, doi:10.1016/0021-9991(76)90078-4).

    Args:
        forward: ln of unnormalised target over density, at samples of the density.
        backward: the same at samples of the target.

    Raises:
        InputError: a sample is missing on one side.
    """
    if not len(forward) or not len(backward):
        raise InputError("Bennett's ratio needs samples of both sides.")
    ratio = np.log(len(backward) / len(forward))

    def excess(level: float) -> float:
        return float(expit(forward - level + ratio).sum() - expit(-(backward - level + ratio)).sum())

    both = np.concatenate([forward, backward])
    level = brentq(excess, both[np.isfinite(both)].min() - 50, both.max() + 50)
    ahead, behind = expit(forward - level + ratio), expit(-(backward - level + ratio))
    relative = [np.var(part) / np.mean(part) ** 2 / len(part) for part in (ahead, behind)]
    return level, float(np.sqrt(sum(relative)))


def pareto_shape(weights: Float[np.ndarray, " N"]) -> float:
    """Shape k̂ of the generalised Pareto distribution of the largest weights.

    Fitted as Zhang and Stephens 2009 (doi:10.1198/tech.2009.08017) do, with the weak prior of Vehtari et al. 2024
    (appendix C), to the largest min(N/5, 3√N) weights.
    """
    count = len(weights)
    tail_size = int(np.ceil(min(0.2 * count, 3 * np.sqrt(count))))
    ordered = np.sort(np.asarray(weights, np.float64))
    tail = ordered[-tail_size:] - ordered[-tail_size - 1]
    if tail[-1] <= ALIKE * ordered[-1]:  # what rounding leaves of equal weights is no tail
        return -np.inf
    tail = np.maximum(tail, 1e-300)
    grid = np.arange(1, 30 + int(np.sqrt(tail_size)) + 1)
    quartile = tail[int(tail_size / 4 + 0.5) - 1]
    theta = 1 / tail[-1] + (1 - np.sqrt(len(grid) / (grid - 0.5))) / (3 * quartile)
    shape = np.log1p(-theta[:, None] * tail).mean(axis=1)
    likelihood = tail_size * (np.log(-theta / shape) - shape - 1)
    share = np.exp(likelihood - logsumexp(likelihood))
    found = np.log1p(-np.sum(theta * share) * tail).mean()
    return float((tail_size * found + 10 * 0.5) / (tail_size + 10))
