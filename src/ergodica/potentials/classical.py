"""Classical potentials in the form of the networks: without parameters to train, run by all that runs a network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
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
from ergodica.potentials.heads import AtomOutput
from ergodica.potentials.potential import Info, Potential
from ergodica.system import Neighbors
from ergodica.units import BOHR

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


EMT_TABLE = {
    #      E0     s0    V0     eta2   kappa  lambda n0
    #      eV     a0    eV     1/a0   1/a0   1/a0   1/a0³
    "Al": (-3.28, 3.00, 1.493, 1.240, 2.000, 1.169, 0.00700),
    "Ni": (-4.44, 2.60, 3.673, 1.669, 2.757, 1.948, 0.01030),
    "Cu": (-3.51, 2.67, 2.476, 1.652, 2.740, 1.906, 0.00910),
    "Pd": (-3.90, 2.87, 2.773, 1.818, 3.107, 2.155, 0.00688),
    "Ag": (-2.96, 3.01, 2.132, 1.652, 2.790, 1.892, 0.00547),
    "Pt": (-5.85, 2.90, 4.067, 1.812, 3.145, 2.192, 0.00802),
    "Au": (-3.80, 3.00, 2.321, 1.674, 2.873, 2.182, 0.00703),
}
BETA = 1.809
"""Nearest-neighbour distance of fcc in units of the Wigner-Seitz radius, rounded as in ASE."""
NEAREST = BETA * max(row[1] for row in EMT_TABLE.values()) * BOHR
FADE_MIDDLE = NEAREST * 0.5 * (math.sqrt(3.0) + 2.0)  # between the third and fourth shell of the largest metal
FADE_SLOPE = math.log(1e4 - 1.0) / (2.0 * NEAREST - FADE_MIDDLE)


@dataclass(frozen=True)
class EMTConfig(Classical):
    """Effective-medium theory of Al, Ni, Cu, Pd, Ag, Pt and Au with the parameters and cut-off of ASE's EMT.

    Jacobsen, Stoltze and Nørskov 1996 (doi:10.1016/0039-6028(96)00816-3). Energies are against free atoms at rest in
    the bulk: 0 for the perfect crystal of one metal at the parameters' lattice constant. At the cut-off 7e-6 of the
    interaction is left, as in ASE.
    """

    cutoff: ClassVar[float] = FADE_MIDDLE + 0.5

    def build(self, recompute: bool = True) -> EMT:
        """The module; there is nothing to recompute."""
        return EMT(self)


class EMT(nn.Module):
    """Numbers and edge vectors in, atomic energies out, eV."""

    config: EMTConfig

    def __call__(self, numbers: Int[Array, " A"], vectors: Float[Array, "A K D"], neighbors: Neighbors) -> AtomOutput:
        """Energy of each atom: embedding in the density of its neighbours, and the pairs' correction to it."""
        length, valid = _distances(vectors, neighbors, self.config.cutoff)
        atom = {name: jnp.asarray(column, length.dtype)[numbers] for name, column in _emt_columns().items()}
        sender = neighbors.index
        weight = jnp.where(valid, 1.0 / (1.0 + jnp.exp(FADE_SLOPE * (length - FADE_MIDDLE))), 0.0)

        def height(decay: str) -> Array:
            return atom["n0"] * jnp.exp(atom[decay] * BETA * atom["s0"])

        def tails(decay: str) -> Array:
            """Sum of the neighbours' densities n0 e^(-d (r - βs0)), with few numbers to read on every edge."""
            return row_sum(weight * height(decay)[sender] * jnp.exp(-atom[decay][sender] * length))

        sigma = tails("eta") / atom["n0"]
        met = sigma > 0
        change = -jnp.log(jnp.where(met, sigma, 1.0) / (12.0 * atom["gamma1"])) / (BETA * atom["eta"])
        cohesion = atom["E0"] * (1.0 + atom["lambda"] * change) * jnp.exp(-atom["lambda"] * change)
        sphere = 6.0 * atom["V0"] * jnp.exp(-BETA * atom["decay"] * change)
        share = atom["V0"] / (atom["gamma2"] * atom["n0"])
        own_tail = jnp.exp(-atom["decay"][:, None] * length)  # a pair is counted from both its ends
        pairs = share * tails("decay") + height("decay") * row_sum(weight * share[sender] * own_tail)
        embedded = jnp.where(met, cohesion + sphere - 0.25 * pairs, 0.0)
        return _output(embedded - atom["E0"])


def _emt_columns() -> dict[str, Float[np.ndarray, " Z"]]:
    """The parameters by atomic number in eV and Å, copper's where there are none."""
    rows = np.array([EMT_TABLE.get(symbol, EMT_TABLE["Cu"]) for symbol in SYMBOLS]).T
    e0, s0, v0 = rows[0], rows[1] * BOHR, rows[2]
    eta, decay = rows[3] / BOHR, rows[4] / (BOHR * BETA)
    shells = BETA * s0[:, None] * np.sqrt([1.0, 2.0, 3.0])
    weight = np.array([12.0, 6.0, 24.0]) / 12.0 / (1.0 + np.exp(FADE_SLOPE * (shells - FADE_MIDDLE)))
    beyond = shells - BETA * s0[:, None]
    gamma1, gamma2 = (np.sum(weight * np.exp(-rate[:, None] * beyond), axis=1) for rate in (eta, decay))
    columns = {"E0": e0, "s0": s0, "V0": v0, "eta": eta, "decay": decay, "gamma1": gamma1, "gamma2": gamma2}
    return columns | {"lambda": rows[5] / BOHR, "n0": rows[6] / BOHR**3}


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
