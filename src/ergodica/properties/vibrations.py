"""Velocity autocorrelation and the vibrational density of states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.properties.frames import Frames
from ergodica.properties.statistics import autocorrelation

__all__ = ["LAG", "Vibrations", "vibrations"]

LAG = 4000.0
"""Longest lag of the autocorrelation, fs: lines come out 0.25 THz (8 cm⁻¹) wide at half their height."""
FINE = 8
"""Points of the spectrum for each independent one."""


@dataclass(frozen=True)
class Vibrations:
    """Autocorrelation of velocities and its spectrum.

    Attributes:
        lags: fs [L].
        correlation: Σ m <v(0)·v(t)> / Σ m <v²> [L].
        frequencies: THz [F], up to what the spacing of the frames can tell apart.
        total: density of states [F], 1/THz; its integral over the frequencies is the number of degrees of freedom,
            3N - 3 (3N where the centre of mass moves).
        elements: what the atoms of each element add to it [F].
        freedom: that number.
    """

    lags: Float[np.ndarray, " L"]
    correlation: Float[np.ndarray, " L"]
    frequencies: Float[np.ndarray, " F"]
    total: Float[np.ndarray, " F"]
    elements: dict[str, Float[np.ndarray, " F"]]
    freedom: int


def vibrations(frames: Frames, longest_lag: float = LAG) -> Vibrations:
    """Density of vibrational states from the velocities of a trajectory.

    The spectrum of the mass-weighted autocorrelation under a Hann window (Dickey and Paskin, Phys. Rev. 188, 1407
    (1969)); harmonic motion at equal energy in all modes gives the harmonic density of states.

    Args:
        frames: with velocities and times.
        longest_lag: where the window ends, fs, at most half the run: longer is sharper, and noisier.

    Raises:
        InputError: no velocities, no times, or fewer than 8 frames.
    """
    interval = frames.interval
    if frames.velocities is None or interval is None:
        raise InputError(f"{frames.name} lacks velocities or times: the density of states needs both.")
    if len(frames) < 8:
        raise InputError(f"{frames.name} has {len(frames)} frames: the density of states needs at least 8.")
    weighted = np.sqrt(frames.masses)[:, None] * frames.velocities
    if frames.freedom < 3 * frames.mobile.sum():  # what is left of the centre's motion is rounding
        drift = np.einsum("i,tix->tx", np.sqrt(frames.masses), weighted) / frames.masses.sum()
        weighted = weighted - np.sqrt(frames.masses)[:, None] * drift[:, None]
    n = min(len(frames) // 2, max(round(longest_lag / interval), 1)) + 1
    parts = {
        symbol: autocorrelation(weighted[:, frames.numbers == SYMBOLS.index(symbol)].reshape(len(frames), -1), n)
        for symbol in frames.symbols
    }
    whole = np.sum(list(parts.values()), axis=0)
    if not whole[0] > 0:
        raise InputError(f"{frames.name}: all velocities are zero.")
    frequencies = np.fft.rfftfreq(2 * FINE * n, interval) * 1e3
    scale = frames.freedom / whole[0]
    spectra = {symbol: scale * _spectrum(part, interval) for symbol, part in parts.items()}
    return Vibrations(
        lags=interval * np.arange(n),
        correlation=whole / whole[0],
        frequencies=frequencies,
        total=np.sum(list(spectra.values()), axis=0),
        elements=spectra,
        freedom=frames.freedom,
    )


def _spectrum(correlation: Float[np.ndarray, " L"], interval: float) -> Float[np.ndarray, " F"]:
    """Cosine transform under a Hann window, 1/THz, with integral `correlation[0]` from 0 to the highest frequency."""
    n = len(correlation)
    faded = correlation * (0.5 + 0.5 * np.cos(np.pi * np.arange(n) / n))
    size = 2 * FINE * n
    even = np.zeros(size)  # the correlation of negative times is that of positive ones
    even[:n] = faded
    even[-n + 1 :] = faded[:0:-1]
    return 2e-3 * interval * np.fft.rfft(even).real
