"""How much noise the diffusion adds: x_σ = x + σ n, from data (σ small) to the prior (σ large)."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError

__all__ = ["Noise", "score_target"]


@dataclass(frozen=True)
class Noise:
    """The levels of noise between data and prior (Karras et al. 2022, arXiv:2206.00364, eq. 5).

    Attributes:
        smallest: where the reverse process ends, in the unit of the data; well below the narrowest width of the target.
        largest: where it starts; the prior is a Gaussian of this width, so it must be many times the target's.
        rho: how much denser the levels are at small noise; 7 suits pictures, and narrow widths of bonds want more.
    """

    smallest: float = 0.02
    largest: float = 80.0
    rho: float = 15.0

    def __post_init__(self) -> None:
        if not 0 < self.smallest < self.largest or self.rho < 1:
            raise InputError("noise: 0 < smallest < largest and rho ≥ 1 are needed.")

    def levels(self, steps: int) -> Float[Array, " N"]:
        """`steps` + 1 levels, from the largest down to the smallest."""
        part = jnp.linspace(0.0, 1.0, steps + 1)
        top, bottom = self.largest ** (1 / self.rho), self.smallest ** (1 / self.rho)
        return (top + part * (bottom - top)) ** self.rho

    def spread(self, rng: np.random.Generator, count: int) -> Float[np.ndarray, " N"]:
        """Random levels in random order, evenly spread in their logarithm: every draw has some of all kinds."""
        place = (rng.permutation(count) + rng.uniform(size=count)) / count
        low, high = np.log([self.smallest, self.largest])
        return np.exp(low + place * (high - low)).astype(np.float32)


def score_target(
    forces: Float[Array, "..."], noise: Float[Array, "..."], sigma: Float[Array, "..."], clean: float
) -> Float[Array, "..."]:
    """What a score is to be like, by clean states and the noise that was added to them.

    Of two unbiased targets, -noise/σ (denoising) and the force of the clean state (De Bortoli et al. 2024,
    arXiv:2402.08667), the one is noisy where σ is small, the other where it is large; a mixture takes of each what
    it is good for.

    Args:
        forces: of the clean states over kT.
        noise: of unit width.
        sigma: width of the noise.
        clean: the width at which both say as much.
    """
    share = clean**2 / (sigma**2 + clean**2)
    return share * forces - (1 - share) * noise / sigma
