"""Every temperature of a ladder counts for every other: the multistate Bennett acceptance ratio (MBAR).

Shirts and Chodera 2008 (doi:10.1063/1.2978177), for states of one energy at several temperatures.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize
from scipy.special import logsumexp

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.walks.statistics import error_of_mean
from ergodica.units import KB

__all__ = ["Multistate", "Thermal", "mbar", "thinned"]


@dataclass(frozen=True)
class Thermal:
    """Averages at several temperatures, with standard errors from what independent ladders disagree about.

    Attributes:
        temperatures: K [T].
        energy: mean potential energy, eV [T].
        energy_error: eV [T].
        heat_capacity: of the potential energy, eV/K [T].
        heat_capacity_error: eV/K [T].
    """

    temperatures: Float[np.ndarray, " T"]
    energy: Float[np.ndarray, " T"]
    energy_error: Float[np.ndarray, " T"]
    heat_capacity: Float[np.ndarray, " T"]
    heat_capacity_error: Float[np.ndarray, " T"]


@dataclass(frozen=True)
class Multistate:
    """What was met at all temperatures, and how the temperatures compare.

    Attributes:
        temperatures: of the rungs, K [K].
        energies: of what was met, eV [S, K, W].
        free_energies: -ln Z of the rungs, that of the first taken as 0 [K].
    """

    temperatures: Float[np.ndarray, " K"]
    energies: Float[np.ndarray, "S K W"]
    free_energies: Float[np.ndarray, " K"]

    def log_weights(self, temperature: float) -> Float[np.ndarray, "S K W"]:
        """ln of what each state counts at a temperature (K); the weights sum to 1.

        Raises:
            InputError: the ladder does not reach to that temperature.
        """
        low, high = self.temperatures.min(), self.temperatures.max()
        if not low * (1 - EDGE) <= temperature <= high * (1 + EDGE):
            raise InputError(f"The ladder goes from {low:g} to {high:g} K: nothing is known of {temperature:g} K.")
        found = -self.energies / (KB * temperature) - self._log_mixture
        return found - logsumexp(found)

    def thermal(self, temperatures: Float[np.ndarray, " T"]) -> Thermal:
        """Energy and heat capacity at any temperatures that the ladder spans.

        Raises:
            InputError: it does not reach to one of them.
        """
        rows = [self._thermal(float(one)) for one in temperatures]
        return Thermal(np.asarray(temperatures, float), *np.array(rows).T)

    def _thermal(self, temperature: float) -> tuple[float, float, float, float]:
        weights = np.exp(self.log_weights(temperature))
        mean = float((weights * self.energies).sum())
        spread = (self.energies - mean) ** 2 / (KB * temperature**2)
        error, spread_error = _error(self.energies, weights), _error(spread, weights)
        return mean, error, float((weights * spread).sum()), spread_error

    @cached_property
    def _log_mixture(self) -> Float[np.ndarray, "S K W"]:
        """ln of the density of all that was met together, per exp(-E/kT) of the first rung over its Z."""
        count = self.energies.size / len(self.temperatures)
        return _log_mixture(self.energies, self.temperatures, self.free_energies, count)


EDGE = 1e-6


def mbar(energies: Float[np.ndarray, "S K W"], temperatures: Float[np.ndarray, " K"]) -> Multistate:
    """Free energies of the rungs of a ladder, by Newton's method on a convex function (their equation C8).

    Args:
        energies: of what W ladders met at K temperatures, eV.
        temperatures: K.

    Raises:
        WorkFailed: an energy is no number, or the temperatures have nothing in common.
    """
    if not np.isfinite(energies).all():
        raise WorkFailed("The energies of the ladders are not all numbers: no free energies can be had of them.")
    levels = np.moveaxis(np.asarray(energies, float), 1, 0).reshape(len(temperatures), -1)  # [K, N]
    beta, count = 1 / (KB * np.asarray(temperatures, float)), levels.shape[1]
    middle = 0.5 * (levels[1:].mean(axis=1) + levels[:-1].mean(axis=1))
    guess = np.cumsum(np.diff(beta) * middle)  # d(-ln Z)/dβ is the mean energy

    def value(free: np.ndarray) -> tuple[float, np.ndarray]:
        total = _log_mixture(levels, temperatures, np.append(0.0, free), count)
        share = _shares(levels, beta, free, count, total)
        return float(total.mean() - count * free.sum() / levels.size), (share.sum(axis=(1, 2)) - count) / levels.size

    def curvature(free: np.ndarray) -> np.ndarray:
        total = _log_mixture(levels, temperatures, np.append(0.0, free), count)
        share = _shares(levels, beta, free, count, total).reshape(len(free), -1)
        return np.asarray((np.diag(share.sum(axis=1)) - share @ share.T) / levels.size)

    if not len(guess):
        return Multistate(temperatures, energies, np.zeros(1))
    found = minimize(value, guess, jac=True, hess=curvature, method="trust-exact", options={"gtol": TOLERANCE})
    information = np.linalg.eigvalsh(curvature(found.x))[0] * levels.size  # inverse variance, in (kT)^-2
    if not np.isfinite(found.x).all() or np.abs(found.jac).max() > LOOSE or information < LEAST:
        raise WorkFailed("Neighbouring temperatures of the ladder have no energies in common: take more of them.")
    return Multistate(temperatures, energies, np.append(0.0, found.x))


TOLERANCE, LOOSE, LEAST = 1e-10, 1e-6, 1.0
"""Slopes at which to stop and beyond which nothing was found; free energies must be known to 1 kT."""


def _log_mixture(
    energies: Float[np.ndarray, "..."],
    temperatures: Float[np.ndarray, " K"],
    free: Float[np.ndarray, " K"],
    count: float,
) -> Float[np.ndarray, "..."]:
    """ln Σ_k N exp(f_k - E/kT_k)."""
    total = np.full(np.shape(energies), -np.inf)
    for level, temperature in zip(free, temperatures, strict=True):
        np.logaddexp(total, level - energies / (KB * temperature), out=total)
    return np.asarray(total + np.log(count))


def _shares(
    levels: Float[np.ndarray, "K N"],
    beta: Float[np.ndarray, " K"],
    free: Float[np.ndarray, " J"],
    count: float,
    total: Float[np.ndarray, "K N"],
) -> Float[np.ndarray, "J K N"]:
    """How likely each state was met at each rung but the first."""
    return np.asarray(np.exp(np.log(count) + free[:, None, None] - beta[1:, None, None] * levels - total))


def thinned(log_weights: Float[np.ndarray, "..."], seed: int = 0) -> Bool[np.ndarray, "..."]:
    """Choose states so that all that are chosen count alike: each with a chance in proportion to its weight."""
    chance = np.exp(log_weights - log_weights.max())
    return np.asarray(np.random.default_rng(seed).uniform(size=chance.shape) < chance)


def _error(values: Float[np.ndarray, "S K W"], weights: Float[np.ndarray, "S K W"]) -> float:
    walker = np.broadcast_to(np.arange(values.shape[-1]), values.shape).ravel()
    return error_of_mean(values.ravel(), weights.ravel(), walker)
