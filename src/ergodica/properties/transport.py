"""Mean square displacement and diffusion."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, Int

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.properties.frames import Frames, unwrapped
from ergodica.properties.statistics import Estimate, autocorrelation, blocks_of

__all__ = ["CM2_PER_S", "Diffusion", "LagSums", "Spread", "diffusion", "mean_square_displacement"]

CM2_PER_S = 0.1
"""One Å²/fs, cm²/s."""
FIT = (0.2, 0.6)
"""Lags that are fitted, as parts of a block: long enough to diffuse, short enough to have many pairs."""
CAGE = 500.0
"""fs; at shorter lags atoms still rattle in the cage of their neighbours, so the fit starts later where it can."""


def mean_square_displacement(positions: Float[np.ndarray, "T N 3"], lags: int | None = None) -> Float[np.ndarray, " L"]:
    """<|x(t + k) - x(t)|²> over atoms and all times t, by Fourier transform.

    Kneller et al., Comput. Phys. Commun. 91, 191 (1995): the squares by cumulative sums, the products as an
    autocorrelation.

    Args:
        positions: unwrapped, Å.
        lags: how many, from 0 on; all of them by default.

    Returns:
        Å², one number a lag.
    """
    n, atoms = positions.shape[:2]
    lags = n if lags is None else min(lags, n)
    flat = (positions - positions.mean(axis=0)).reshape(n, -1)
    squares = np.concatenate([[0.0], np.cumsum(np.einsum("tk,tk->t", flat, flat))])
    k = np.arange(lags)
    both = (squares[n - k] + squares[n] - squares[k]) / (n - k)
    return np.maximum(both - 2 * autocorrelation(flat, lags), 0.0) / atoms


@dataclass(frozen=True)
class LagSums:
    """Displacements at lags up to a window, from frames added piece by piece: what a run keeps is bounded.

    Attributes:
        window: number of lags, from 0 on.
        history: the last `window` - 1 frames [H, N, 3], Å.
        sums: of squared displacements over times and atoms [L], Å².
        counts: pairs of frames at each lag [L].
    """

    window: int
    history: Float[np.ndarray, "H N 3"] = field(default_factory=lambda: np.zeros((0, 0, 3)))
    sums: Float[np.ndarray, " L"] = field(default_factory=lambda: np.zeros(0))
    counts: Int[np.ndarray, " L"] = field(default_factory=lambda: np.zeros(0, int))

    def add(self, positions: Float[np.ndarray, "C N 3"]) -> LagSums:
        """The sums with these frames, unwrapped, added."""
        old = len(self.history)
        known = np.concatenate([self.history, positions]) if old else np.asarray(positions, float)
        sums, counts = np.zeros(self.window), np.zeros(self.window, int)
        for lag in range(self.window):
            late = known[max(old, lag) :]
            early = known[max(old, lag) - lag : len(known) - lag]
            sums[lag] = np.square(late - early).sum() if len(late) else 0.0
            counts[lag] = len(late)
        if len(self.sums):
            sums, counts = sums + self.sums, counts + self.counts
        kept = known[len(known) - min(self.window - 1, len(known)) :]
        return replace(self, history=kept, sums=sums, counts=counts)

    def result(self) -> Float[np.ndarray, " L"]:
        """Mean square displacement, Å²; NaN at lags no pair of frames has."""
        atoms = max(self.history.shape[1], 1)
        return np.where(self.counts > 0, self.sums / np.maximum(self.counts, 1) / atoms, np.nan)


@dataclass(frozen=True)
class Spread:
    """How the atoms of one element spread.

    Attributes:
        msd: mean square displacement [L], Å².
        coefficient: of self-diffusion, Å²/fs, with the error from blocks; None where the run is too short.
        offset: of the fitted line, Å².
        exponent: d ln(msd) / d ln(t) where the line was fitted; 1 where atoms diffuse, 0 where they stay.
    """

    msd: Float[np.ndarray, " L"]
    coefficient: Estimate | None
    offset: float
    exponent: float

    @property
    def diffusive(self) -> bool:
        """Whether the displacement grows as that of a random walk does."""
        return self.coefficient is not None and 0.8 < self.exponent < 1.2


@dataclass(frozen=True)
class Diffusion:
    """Displacements and diffusion coefficients.

    Attributes:
        lags: fs [L].
        elements: by symbol.
        fit: first and last lag of the fit, fs.
        largest_step: of an atom between frames, as a part of the cell.
    """

    lags: Float[np.ndarray, " L"]
    elements: dict[str, Spread]
    fit: tuple[float, float]
    largest_step: float


def diffusion(frames: Frames, blocks: int = 4, remove_drift: bool = True) -> Diffusion:
    """Self-diffusion of every element in three dimensions, from Einstein's relation msd = 6 D t + c.

    The line is fitted to the displacement of the whole run, between `FIT` of the length of a block and not before
    `CAGE`, with weights 1/t².
    The error is that of the mean over blocks, each fitted alone at the same lags. In a periodic box of edge L a liquid
    diffuses more slowly, by 2.837 k T / (6 π η L) with its viscosity η (Yeh and Hummer, J. Phys. Chem. B 108, 15873
    (2004)); that is left to the user.

    Args:
        frames: with times.
        blocks: pieces the run is cut into.
        remove_drift: subtract the motion of the centre of mass, unless atoms are held, which don't count either.

    Raises:
        InputError: the frames have no times, or there are fewer than two.
    """
    if frames.interval is None:
        raise InputError(f"{frames.name} does not say at which times its frames stand: diffusion needs them.")
    # held atoms are at rest whatever the others do, and one atom is its own centre
    free = bool(frames.mobile.all()) and frames.n_atoms > 1
    positions, largest = unwrapped(frames, remove_drift and free)
    length = len(frames) // blocks
    last = int(FIT[1] * length)
    first = max(int(FIT[0] * length), min(round(CAGE / frames.interval), last // 2), 1)
    lags = frames.interval * np.arange(len(frames) // 2 + 1)
    elements = {}
    for symbol in frames.symbols:
        own = positions[:, frames.mobile & (frames.numbers == SYMBOLS.index(symbol))]
        if not own.shape[1]:
            continue
        msd = mean_square_displacement(own, len(lags))
        elements[symbol] = Spread(msd, None, float("nan"), float("nan"))
        if last - first < 2:
            continue
        window = slice(first, last + 1)
        slope, offset = _line(lags[window], msd[window])
        pieces = [mean_square_displacement(own[k * length : (k + 1) * length], last + 1) for k in range(blocks)]
        error = blocks_of(np.array([_line(lags[window], piece[window])[0] for piece in pieces])).error
        known = bool((msd[window] > 0).all())
        exponent = float(np.polyfit(np.log(lags[window]), np.log(msd[window]), 1)[0]) if known else 0.0
        elements[symbol] = Spread(msd, Estimate(slope / 6, error / 6, blocks), offset, exponent)
    return Diffusion(lags, elements, (float(lags[first]), float(lags[last])), largest)


def _line(times: Float[np.ndarray, " W"], values: Float[np.ndarray, " W"]) -> tuple[float, float]:
    """Slope and offset, each value's spread taken to grow with its time."""
    slope, offset = np.polyfit(times, values, 1, w=1 / times)
    return float(slope), float(offset)
