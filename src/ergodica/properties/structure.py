"""Radial distribution functions and coordination numbers of periodic systems."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float, Int

from ergodica.errors import InputError
from ergodica.neighbors import find_pairs
from ergodica.properties.frames import Frames
from ergodica.system import System

__all__ = ["PairDistribution", "RadialCounts", "RadialDistribution", "radial_distribution"]


@dataclass(frozen=True)
class PairDistribution:
    """Atoms of one element round those of another.

    Attributes:
        g: the distribution [R], 1 where nothing is ordered.
        neighbors: how many of the second element are within the outer edge of each bin round one of the first [R].
        first_peak: where the first maximum is, Å; None without one.
        first_minimum: where the minimum behind it is, Å; None without one.
        coordination: neighbours up to there.
    """

    g: Float[np.ndarray, " R"]
    neighbors: Float[np.ndarray, " R"]
    first_peak: float | None
    first_minimum: float | None
    coordination: float | None


@dataclass(frozen=True)
class RadialDistribution:
    """g(r) of all atoms and of every pair of elements.

    Attributes:
        r: middles of the bins, Å [R].
        total: of all atoms, whatever their elements.
        pairs: by names such as "H-O"; `neighbors` counts atoms of the second round one of the first.
        n_frames: frames that were averaged.
    """

    r: Float[np.ndarray, " R"]
    total: PairDistribution
    pairs: dict[str, PairDistribution]
    n_frames: int


@dataclass(frozen=True)
class RadialCounts:
    """Counts of pairs by distance, to which frames are added one by one or many at a time: g(r) on the fly.

    Attributes:
        r_max: largest distance, Å; more than half the cell is right, too, since every image is counted.
        bins: number of bins.
        numbers: atomic numbers [N] of the frames added.
        counts: ordered pairs by elements and distance [S, S, R].
        densities: sum over frames of 1/V, Å⁻³.
        n_frames: frames added.
    """

    r_max: float = 8.0
    bins: int = 160
    numbers: Int[np.ndarray, " N"] = field(default_factory=lambda: np.zeros(0, int))
    counts: Float[np.ndarray, "S S R"] = field(default_factory=lambda: np.zeros((0, 0, 0)))
    densities: float = 0.0
    n_frames: int = 0

    def add(self, frames: Frames) -> RadialCounts:
        """The counts with these frames added.

        Raises:
            InputError: the frames are not periodic in three directions, or of another system.
        """
        if not frames.pbc.all():
            raise InputError(f"{frames.name} is not periodic in three directions: g(r) needs a density, and so a cell.")
        if self.n_frames and not np.array_equal(self.numbers, frames.numbers):
            raise InputError(f"{frames.name} holds other atoms than the frames before.")
        kinds, kind = np.unique(frames.numbers, return_inverse=True)
        shape = (len(kinds), len(kinds), self.bins)
        counts = np.zeros(int(np.prod(shape)))
        for positions, cell in zip(frames.positions, frames.cells, strict=True):
            i, j, distances = find_pairs(System(frames.numbers, positions, cell, frames.pbc), self.r_max)
            place = (distances * (self.bins / self.r_max)).astype(int)
            inside = place < self.bins
            row = (kind[i] * len(kinds) + kind[j]) * self.bins + place
            counts += np.bincount(row[inside], minlength=counts.size)
        return replace(
            self,
            numbers=frames.numbers,
            counts=counts.reshape(shape) + (self.counts if self.n_frames else 0.0),
            densities=self.densities + float((1 / frames.volumes).sum()),
            n_frames=self.n_frames + len(frames),
        )

    def result(self) -> RadialDistribution:
        """The distribution so far.

        Counts are divided by those of points spread evenly, N_a N_b / V times the volume of the shell, with V the
        harmonic mean over frames. Atoms that do not feel each other therefore give 1 between elements and 1 - 1/N
        within one, as in every closed box.

        Raises:
            InputError: no frame was added.
        """
        from ergodica.elements import symbols_of

        if not self.n_frames:
            raise InputError("No frame was added: there is no g(r).")
        edges = np.linspace(0, self.r_max, self.bins + 1)
        shells = 4 / 3 * np.pi * np.diff(edges**3)
        _, amounts = np.unique(self.numbers, return_counts=True)
        names = symbols_of(self.numbers)

        def pair(counts: Float[np.ndarray, " R"], centres: int, others: int) -> PairDistribution:
            expected = centres * others * self.densities * shells
            return _pair(edges, counts / expected, np.cumsum(counts) / (centres * self.n_frames))

        pairs = {
            f"{names[a]}-{names[b]}": pair(self.counts[a, b], int(amounts[a]), int(amounts[b]))
            for a, b in combinations_with_replacement(range(len(names)), 2)
        }
        n = int(amounts.sum())
        total = pair(self.counts.sum(axis=(0, 1)), n, n)
        return RadialDistribution((edges[1:] + edges[:-1]) / 2, total, pairs, self.n_frames)


def radial_distribution(frames: Frames, r_max: float = 8.0, bins: int = 160) -> RadialDistribution:
    """g(r) of a trajectory; see `RadialCounts`."""
    return RadialCounts(r_max, bins).add(frames).result()


def _pair(
    edges: Float[np.ndarray, " R1"], g: Float[np.ndarray, " R"], neighbors: Float[np.ndarray, " R"]
) -> PairDistribution:
    """The distribution with its first shell: the first peak of some height and the lowest place before the second."""
    from scipy.ndimage import gaussian_filter1d
    from scipy.signal import find_peaks

    width = edges[1] - edges[0]
    smooth = gaussian_filter1d(g, 0.05 / width, mode="constant")
    peaks, _ = find_peaks(smooth, prominence=max(0.1 * float(smooth.max(initial=0.0)), 0.05))
    if len(peaks) < 2:
        where = float((edges[peaks[0]] + edges[peaks[0] + 1]) / 2) if len(peaks) else None
        return PairDistribution(g, neighbors, where, None, None)
    between = smooth[peaks[0] : peaks[1]]
    lowest = np.flatnonzero(between <= between.min() + 1e-9)
    valley = int(peaks[0] + lowest[len(lowest) // 2])  # the middle of a wide gap
    middle = (edges[1:] + edges[:-1]) / 2
    return PairDistribution(g, neighbors, float(middle[peaks[0]]), float(middle[valley]), float(neighbors[valley]))
