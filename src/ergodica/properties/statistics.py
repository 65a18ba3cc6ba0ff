"""Means and slopes of correlated series, with their statistical errors."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, isfinite, log10

import numpy as np
from jaxtyping import Float

__all__ = ["Estimate", "autocorrelation", "autocorrelation_time", "blocks_of", "mean_of", "slope_of", "with_error"]

WINDOW = 5.0
"""The sum over the autocorrelation ends at so many autocorrelation times (Sokal)."""


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error, in the units of what it came from.

    Attributes:
        value: the number.
        error: its standard error; NaN where too little is known.
        independent: how many independent samples the series is worth.
    """

    value: float
    error: float
    independent: float = float("nan")


def autocorrelation(values: Float[np.ndarray, "T K"], lags: int | None = None) -> Float[np.ndarray, " L"]:
    """Sum over columns of <v(t) v(t + k)>, averaged over all times t, by Fourier transform (Wiener-Khinchin).

    Args:
        values: one row a time.
        lags: how many, from 0 on; all of them by default.

    Returns:
        one number a lag k = 0 ... `lags` - 1, each divided by its own number of pairs, T - k.
    """
    n = len(values)
    size = 1 << (2 * n - 1).bit_length()  # twice the length, so that the ends do not meet
    power = np.zeros(size // 2 + 1)
    for start in range(0, values.shape[1], 64):  # few columns at a time: the transform needs four times their memory
        transformed = np.fft.rfft(values[:, start : start + 64], size, axis=0)
        power += (transformed.real**2 + transformed.imag**2).sum(axis=1)
    counts = n - np.arange(n if lags is None else min(lags, n))
    return np.fft.irfft(power, size)[: len(counts)] / counts


def autocorrelation_time(values: Float[np.ndarray, " T"]) -> float:
    """Integrated autocorrelation time 1/2 + Σ ρ(k), in steps of the series; 1/2 for white noise.

    The sum ends at the first lag beyond `WINDOW` times itself; what the unknown mean takes away is given back (Wolff,
    Comput. Phys. Commun. 156, 143 (2004), eqs 49 and 52).

    Args:
        values: the series.
    """
    fluctuation = np.asarray(values, float) - np.mean(values)
    n = len(fluctuation)
    lags = autocorrelation(fluctuation[:, None]) * (1 - np.arange(n) / n)  # divided by T: less noise at long lags
    if not lags[0] > 1e-30 * max(float(np.mean(np.square(values))), 1e-300):
        return 0.5  # a constant
    times = 0.5 + np.cumsum(lags[1:] / lags[0])
    beyond = np.flatnonzero(np.arange(1, n) >= WINDOW * times)
    last = int(beyond[0]) if beyond.size else n - 2
    return float(max(times[last], 0.0) * (1 + (2 * last + 3) / n))


def mean_of(values: Float[np.ndarray, " T"]) -> Estimate:
    """Mean of a correlated series with its standard error, σ √(2τ/T)."""
    values = np.asarray(values, float)
    n = len(values)
    if n < 4:
        return Estimate(float(values.mean()), float("nan"), float(n))
    independent = min(n / max(2 * autocorrelation_time(values), 1e-12), float(n))
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(max(independent, 1.0))), independent)


def slope_of(times: Float[np.ndarray, " T"], values: Float[np.ndarray, " T"]) -> Estimate:
    """Slope of a straight line through a series whose residuals may be correlated.

    Args:
        times: evenly spaced.
        values: the series.
    """
    n = len(values)
    if n < 3:
        return Estimate(float("nan"), float("nan"), float(n))
    centred = times - times.mean()
    slope = float(centred @ values / (centred @ centred))
    rest = values - values.mean() - slope * centred
    correlated = max(2 * autocorrelation_time(rest), 1.0) if n > 3 else 1.0
    spread = float(rest @ rest) / (n - 2)
    return Estimate(slope, float(np.sqrt(correlated * spread / (centred @ centred))), n / correlated)


def blocks_of(values: Float[np.ndarray, " B"]) -> Estimate:
    """Mean of independent blocks with its standard error."""
    n = len(values)
    error = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return Estimate(float(np.mean(values)), error, float(n))


def with_error(value: float, error: float) -> str:
    """Both in words, with the digits that the error leaves: "2.51 ± 0.12", "(7.54 ± 0.68)e-5"."""
    if not isfinite(error) or error <= 0:
        return f"{value:.6g}"
    digits = 1 - floor(log10(error))
    if abs(value) < 1e-3 and value:
        power = floor(log10(abs(value)))
        shown = max(digits + power, 0)
        return f"({value / 10.0**power:.{shown}f} ± {error / 10.0**power:.{shown}f})e{power}"
    return f"{value:.{max(digits, 0)}f} ± {error:.{max(digits, 0)}f}"
