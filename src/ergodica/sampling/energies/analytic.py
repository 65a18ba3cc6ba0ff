"""Analytic targets: energies in units of kT whose ensembles are known, or cheap to draw by other means.

Every target is a function of samples [B, *shape]; `shape` is that of one sample. Papers disagree by factors of two on
the particle systems, so each docstring gives the sum that is meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.sampling.spaces import Cylinder

__all__ = ["ANALYTIC", "PARTICLES", "DoubleWells", "GaussianMixture", "Landmarks", "ManyWells"]
__all__ += ["LennardJonesCluster", "MuellerBrown", "Particles", "Target"]


class Target(Protocol):
    """An energy in units of kT."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""

    def __call__(self, x: Float[Array, "B ..."]) -> Float[Array, " B"]:
        """Energies of samples, kT."""


class Particles(Target, Protocol):
    """Alike particles, a pair energy, and a spring that ties each to the centre of all."""

    def __hash__(self) -> int:
        """Targets are constants of compiled programs."""

    @property
    def size(self) -> float:
        """A length beyond which pairs are hardly found."""

    @property
    def spring(self) -> float:
        """Of the tether, kT."""

    def pair(self, distance: Float[Array, "..."]) -> Float[Array, "..."]:
        """Energy of a pair, kT."""


@dataclass(frozen=True)
class GaussianMixture:
    """Isotropic Gaussians, with the density, denoiser and samples of the mixture at any level of added noise.

    Attributes:
        weights: of the components, summing to 1.
        means: of the components, each of the dimension of the space.
        widths: standard deviations.
    """

    weights: tuple[float, ...]
    means: tuple[tuple[float, ...], ...]
    widths: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimension."""
        return (len(self.means[0]),)

    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, " B"]:
        """Minus the log-density."""
        return -self.log_density(x)

    def log_density(self, x: Float[Array, "B D"], level: Float[Array, ""] | float = 0.0) -> Float[Array, " B"]:
        """Of the mixture with noise of a level added."""
        return jax.nn.logsumexp(self._parts(x, level), axis=1)

    def denoised(self, x: Float[Array, "B D"], level: Float[Array, ""] | float) -> Float[Array, "B D"]:
        """The exact denoiser."""
        means, variance = jnp.asarray(self.means), jnp.asarray(self.widths) ** 2
        share = jax.nn.softmax(self._parts(x, level), axis=1)
        shrink = (variance / (variance + level**2))[None, :, None]
        return jnp.sum(share[..., None] * (means + shrink * (x[:, None] - means)), axis=1)

    def draw(self, key: Array, count: int) -> Float[Array, "B D"]:
        """Independent samples."""
        which, where = jax.random.split(key)
        component = jax.random.choice(which, len(self.weights), (count,), p=jnp.asarray(self.weights))
        normal = jax.random.normal(where, (count, *self.shape))
        return jnp.asarray(self.means)[component] + jnp.asarray(self.widths)[component, None] * normal

    def _parts(self, x: Float[Array, "B D"], level: Float[Array, ""] | float) -> Float[Array, "B C"]:
        variance = jnp.asarray(self.widths) ** 2 + level**2
        square = jnp.sum((x[:, None] - jnp.asarray(self.means)) ** 2, axis=-1)
        size = 0.5 * self.shape[0] * jnp.log(2 * jnp.pi * variance)
        return jnp.log(jnp.asarray(self.weights)) - 0.5 * square / variance - size


@dataclass(frozen=True)
class MuellerBrown:
    """Three minima and two saddles in the plane (Müller and Brown 1979, doi:10.1007/BF00547608), over `temperature`."""

    temperature: float = 20.0
    shape: tuple[int, ...] = (2,)

    def __call__(self, x: Float[Array, "B 2"]) -> Float[Array, " B"]:
        """Σ A exp(a (x-x0)² + b (x-x0)(y-y0) + c (y-y0)²) / temperature."""
        height = jnp.array([-200.0, -100.0, -170.0, 15.0])
        a, b, c = jnp.array([[-1.0, -1.0, -6.5, 0.7], [0.0, 0.0, 11.0, 0.6], [-10.0, -10.0, -6.5, 0.7]])
        dx = x[:, :1] - jnp.array([1.0, 0.0, -0.5, -1.0])
        dy = x[:, 1:] - jnp.array([0.0, 0.5, 1.5, 1.0])
        return jnp.sum(height * jnp.exp(a * dx**2 + b * dx * dy + c * dy**2), axis=1) / self.temperature


@dataclass(frozen=True)
class ManyWells:
    """Independent pairs of a double well with one side deeper and a unit Gaussian: 2ⁿ modes in 2n dimensions.

    E = Σ [x⁴ - 6 x² - x/2 + y²/2] over pairs (x, y), as Midgley et al. 2023 (arXiv:2208.01893) have it.
    """

    pairs: int = 3

    @property
    def shape(self) -> tuple[int, ...]:
        """The dimension."""
        return (2 * self.pairs,)

    def __call__(self, x: Float[Array, "B D"]) -> Float[Array, " B"]:
        """Energies, kT."""
        well, spring = x[:, : self.pairs], x[:, self.pairs :]
        return jnp.sum(well**4 - 6 * well**2 - 0.5 * well, axis=1) + 0.5 * jnp.sum(spring**2, axis=1)


def _distances(x: Float[Array, "B N D"]) -> Float[Array, "B P"]:
    """Of all pairs of particles, each pair once."""
    one, other = np.triu_indices(x.shape[1], 1)
    return jnp.sqrt(jnp.sum((x[:, one] - x[:, other]) ** 2, axis=-1))


@dataclass(frozen=True)
class DoubleWells:
    """Particles with a double well in every distance: DW4 (Köhler, Klein and Noé 2020, arXiv:2006.02425).

    E = Σ_{i<j} [a (d-d0) + b (d-d0)² + c (d-d0)⁴], each pair once, as their ½ Σ_{ij} at temperature 1.
    """

    shape: tuple[int, ...] = (4, 2)
    linear: float = 0.0
    quadratic: float = -4.0
    quartic: float = 0.9
    distance: float = 4.0
    spring: ClassVar[float] = 0.0
    size: ClassVar[float] = 7.0

    def pair(self, distance: Float[Array, "..."]) -> Float[Array, "..."]:
        """Energy of a pair, kT."""
        off = distance - self.distance
        return self.linear * off + self.quadratic * off**2 + self.quartic * off**4

    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, " B"]:
        """Energies, kT."""
        return jnp.sum(self.pair(_distances(x)), axis=1)


@dataclass(frozen=True)
class LennardJonesCluster:
    """Lennard-Jones particles held together (Köhler, Klein and Noé 2020).

    E = ε Σ_{i<j} [(r_m/d)¹² - 2 (r_m/d)⁶] + ½ k Σ_i |x_i - x̄|², each pair once. The program of iDEM, which says it
    does as equivariant flow matching does, sums ordered pairs for LJ13 and LJ55, which is ε = 2: droplets. At ε = 1
    they evaporate.

    Attributes:
        shape: particles and dimensions.
        depth: ε, kT.
        minimum: r_m, where a pair is at rest.
        spring: k of the tether to the centre, kT.
    """

    shape: tuple[int, ...] = (13, 3)
    depth: float = 1.0
    minimum: float = 1.0
    spring: float = 1.0
    size: ClassVar[float] = 2.5

    def pair(self, distance: Float[Array, "..."]) -> Float[Array, "..."]:
        """Energy of a pair, kT."""
        sixth = (self.minimum / distance) ** 6
        return self.depth * (sixth**2 - 2 * sixth)

    def __call__(self, x: Float[Array, "B N D"]) -> Float[Array, " B"]:
        """Energies, kT."""
        away = x - x.mean(axis=1, keepdims=True)
        return jnp.sum(self.pair(_distances(x)), axis=1) + 0.5 * self.spring * jnp.sum(away**2, axis=(1, 2))


@dataclass(frozen=True)
class Landmarks:
    """A target, the middle of where it is, and how wide it is there, by which its coordinates are counted."""

    target: Target
    centre: tuple[float, ...] | float
    width: float

    @property
    def space(self) -> Cylinder:
        """Of the coordinates."""
        return Cylinder(self.target.shape[0], 0)

    def places(self, y: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """Samples of the target by coordinates in its widths."""
        return jnp.asarray(self.centre) + self.width * y

    def coordinates(self, x: Float[Array, "B D"]) -> Float[Array, "B D"]:
        """Of samples of the target."""
        return (x - jnp.asarray(self.centre)) / self.width

    def log_boltzmann(self, y: Float[Array, "B D"]) -> Float[Array, " B"]:
        """Minus the energy, kT, and the volume of the coordinates."""
        return -self.target(self.places(y)) + self.space.dimensions * np.log(self.width)


MIXTURE = GaussianMixture(
    weights=(0.2, 0.05, 0.1, 0.15, 0.1, 0.05, 0.1, 0.05, 0.2),
    means=tuple((x, y) for x in (-4.0, 0.0, 4.0) for y in (-4.0, 0.0, 4.0)),
    widths=(0.5, 0.3, 0.7, 0.4, 0.5, 0.6, 0.5, 0.4, 0.6),
)
"""Nine Gaussians of unlike weights and widths, so far apart that nothing walks from one to another."""

ANALYTIC: dict[str, Landmarks] = {
    "gmm9": Landmarks(MIXTURE, 0.0, 3.5),
    "mueller-brown": Landmarks(MuellerBrown(), (-0.3, 0.9), 0.6),
    "many-wells": Landmarks(ManyWells(), 0.0, 1.4),
}
"""Targets for training from the energy alone, by name."""

PARTICLES: dict[str, Particles] = {
    "dw4": DoubleWells(),
    "lj13": LennardJonesCluster(depth=2.0),
    "lj55": LennardJonesCluster(shape=(55, 3), depth=2.0),
}
"""Systems of particles by the names that papers give them."""
