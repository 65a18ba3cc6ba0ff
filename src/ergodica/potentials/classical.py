"""Classical potentials in the form of the networks: without parameters to train, run by all that runs a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ergodica.config import from_dict
from ergodica.elements import COVALENT_RADII, SYMBOLS
from ergodica.errors import InputError
from ergodica.nn.geometry import safe_norm
from ergodica.nn.pairs import row_sum
from ergodica.nn.repulsion import repulsion
from ergodica.potentials.architecture import Classical
from ergodica.potentials.coulomb import CoulombConfig
from ergodica.potentials.dispersion import ELEMENTS, D3Config
from ergodica.potentials.emt import EMT_TABLE, EMTConfig
from ergodica.potentials.heads import AtomOutput
from ergodica.potentials.potential import Info, Potential
from ergodica.system import Neighbors

__all__ = ["CLASSICAL", "EMTConfig", "LennardJonesConfig", "ZBLConfig", "classical"]


def _distances(
    vectors: Float[Array, "A K D"], neighbors: Neighbors, cutoff: float
) -> tuple[Float[Array, "A K"], Bool[Array, "A K"]]:
    """Lengths of the edges, Å, the cut-off where there is none, and which are edges."""
    length = safe_norm(vectors)
    valid = neighbors.mask & (length > 0) & (length < cutoff)
    return jnp.where(valid, length, cutoff), valid


def _output(energies: Float[Array, " A"]) -> AtomOutput:
    return AtomOutput(energies, jnp.zeros((len(energies), 3), energies.dtype))


@dataclass(frozen=True)
class LennardJonesConfig(Classical):
    """4ε((σ/r)¹² - (σ/r)⁶) between all atoms, brought smoothly to zero between `onset` and `cutoff`.

    The defaults are argon's (Rahman 1964, doi:10.1103/PhysRev.136.A405).

    Attributes:
        epsilon: depth of the well, eV.
        sigma: where the energy is zero, Å.
        cutoff: where it ends, Å.
        onset: where the switching starts, Å; the force is continuous.
    """

    epsilon: float = 0.010341
    sigma: float = 3.405
    cutoff: float = 8.5
    onset: float = 7.0

    def __post_init__(self) -> None:
        if min(self.epsilon, self.sigma) <= 0:
            raise InputError("lj: epsilon (eV) and sigma (Å) must be positive.")
        if not 0 < self.onset < self.cutoff:
            raise InputError("lj: onset must be positive and shorter than cutoff.")

    def build(self, recompute: bool = True) -> LennardJones:
        """The module; there is nothing to recompute."""
        return LennardJones(self)


class LennardJones(nn.Module):
    """Numbers and edge vectors in, atomic energies out, eV."""

    config: LennardJonesConfig

    def __call__(self, numbers: Int[Array, " A"], vectors: Float[Array, "A K D"], neighbors: Neighbors) -> AtomOutput:
        """Half of each pair's energy goes to each of its atoms."""
        c = self.config
        length, valid = _distances(vectors, neighbors, c.cutoff)
        sixth = (c.sigma / length) ** 6
        square, inner, outer = length**2, c.onset**2, c.cutoff**2
        fade = (outer - square) ** 2 * (outer + 2 * square - 3 * inner) / (outer - inner) ** 3
        pair = 4 * c.epsilon * (sixth**2 - sixth) * jnp.where(length < c.onset, 1.0, fade)
        return _output(0.5 * row_sum(jnp.where(valid, pair, 0.0)))


@dataclass(frozen=True)
class ZBLConfig(Classical):
    """Screened nuclear repulsion (see `nn.repulsion`), within the sums of covalent radii.

    Attributes:
        reach: where it has faded away, in sums of the covalent radii of the two atoms.
    """

    max_z: ClassVar[int] = len(COVALENT_RADII)

    reach: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.reach <= 2:
            raise InputError("zbl: reach must be positive and at most 2 sums of covalent radii.")

    @property
    def cutoff(self) -> float:
        """Where the largest atoms cease to repel each other, Å."""
        return 2 * max(COVALENT_RADII) * self.reach

    def build(self, recompute: bool = True) -> ZBL:
        """The module; there is nothing to recompute."""
        return ZBL(self)


class ZBL(nn.Module):
    """Numbers and edge vectors in, atomic energies out, eV."""

    config: ZBLConfig

    def __call__(self, numbers: Int[Array, " A"], vectors: Float[Array, "A K D"], neighbors: Neighbors) -> AtomOutput:
        """Half of each pair's energy goes to each of its atoms."""
        length, valid = _distances(vectors, neighbors, self.config.cutoff)
        return _output(repulsion(numbers, length, valid, neighbors, self.config.reach))


CLASSICAL: dict[str, tuple[type, str, tuple[str, ...]]] = {
    "coulomb": (CoulombConfig, "fixed point charges", ()),
    "d3": (D3Config, "D3(BJ) dispersion (Grimme, Ehrlich and Goerigk 2011)", SYMBOLS[1 : ELEMENTS + 1]),
    "emt": (EMTConfig, "effective-medium theory (Jacobsen, Stoltze and Nørskov 1996)", tuple(EMT_TABLE)),
    "lj": (LennardJonesConfig, "Lennard-Jones, by default argon (Rahman 1964)", ()),
    "zbl": (ZBLConfig, "screened nuclear repulsion (Ziegler, Biersack and Littmark 1985)", SYMBOLS[1:97]),
}
"""Classical potentials by name: configuration, origin, and elements (all of them when empty)."""


def classical(name: str, **parameters: Any) -> Potential:
    """A classical potential.

    Args:
        name: one of `CLASSICAL`.
        parameters: fields of its configuration.

    Raises:
        InputError: a parameter is unknown or makes no sense.
    """
    kind, origin, elements = CLASSICAL[name]
    # a table such as {"Na": 1} is kept as pairs, which a compiled function can be known by
    plain = {key: tuple(value.items()) if isinstance(value, Mapping) else value for key, value in parameters.items()}
    config: Any = from_dict(kind, plain, name)
    if isinstance(config, CoulombConfig):
        elements = tuple(sorted(dict(config.charges), key=SYMBOLS.index))
    elif isinstance(config, D3Config):
        origin = f"{origin} of {'own parameters' if config.damping else config.functional}"
    info = Info(name, elements, level_of_theory=origin, training_data="none", split="none", licence="MIT")
    return Potential(config, {}, info=info)
