"""Effective-medium theory of metals, as a potential and for an atom that visits a frozen surface."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.elements import SYMBOLS
from ergodica.nn.geometry import safe_norm
from ergodica.nn.pairs import row_sum
from ergodica.potentials.architecture import Classical
from ergodica.potentials.heads import AtomOutput
from ergodica.system import Neighbors
from ergodica.units import BOHR

__all__ = ["EMT", "EMT_TABLE", "EMTConfig", "Sums", "embedded", "sums_of_pair"]

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
    # of ASE, whose authors call them rough: for teaching and tests
    "H": (-3.21, 1.31, 0.132, 2.652, 2.790, 3.892, 0.00547),
    "C": (-3.50, 1.81, 0.332, 1.652, 2.790, 1.892, 0.01322),
    "N": (-5.10, 1.88, 0.132, 1.652, 2.790, 1.892, 0.01222),
    "O": (-4.60, 1.95, 0.332, 1.652, 2.790, 1.892, 0.00850),
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
    interaction is left, as in ASE. H, C, N and O have the parameters of ASE, too, which mean little.
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
        length = safe_norm(vectors)
        valid = neighbors.mask & (length > 0) & (length < self.config.cutoff)
        length = jnp.where(valid, length, self.config.cutoff)
        atom = _parameters(numbers, length.dtype)
        sender = neighbors.index
        weight = jnp.where(valid, _fade(length), 0.0)

        def tails(decay: str) -> Array:
            """Sum of the neighbours' densities n0 e^(-d (r - βs0)), with few numbers to read on every edge."""
            return row_sum(weight * _height(atom, decay)[sender] * jnp.exp(-atom[decay][sender] * length))

        share = _share(atom)
        own_tail = jnp.exp(-atom["decay"][:, None] * length)  # a pair is counted from both its ends
        pairs = share * tails("decay") + _height(atom, "decay") * row_sum(weight * share[sender] * own_tail)
        energies = embedded(numbers, Sums(tails("eta"), pairs))
        return AtomOutput(energies, jnp.zeros((len(energies), 3), energies.dtype))


class Sums(NamedTuple):
    """What the neighbours of atoms add up to.

    Attributes:
        density: of their tails, 1/Å³.
        pairs: of the pair function, eV.
    """

    density: Float[Array, "..."]
    pairs: Float[Array, "..."]


def embedded(numbers: Int[Array, "..."], sums: Sums) -> Float[Array, "..."]:
    """Energies of atoms by the sums over their neighbours, eV."""
    atom = _parameters(numbers, sums.density.dtype)
    sigma = sums.density / atom["n0"]
    met = sigma > 0
    change = -jnp.log(jnp.where(met, sigma, 1.0) / (12.0 * atom["gamma1"])) / (BETA * atom["eta"])
    cohesion = atom["E0"] * (1.0 + atom["lambda"] * change) * jnp.exp(-atom["lambda"] * change)
    sphere = 6.0 * atom["V0"] * jnp.exp(-BETA * atom["decay"] * change)
    return jnp.where(met, cohesion + sphere - 0.25 * sums.pairs, 0.0) - atom["E0"]


def sums_of_pair(
    numbers: Int[Array, "..."], others: Int[Array, "..."], length: Float[Array, "..."]
) -> tuple[Sums, Sums]:
    """What two atoms at a distance give to each other's sums: to the first, to the second.

    Args:
        numbers: of the first.
        others: of the second.
        length: between them, Å.
    """
    weight = jnp.where(length < EMTConfig.cutoff, _fade(length), 0.0)
    one, other = (_parameters(of, length.dtype) for of in (numbers, others))

    def tail(atom: dict[str, Array], decay: str) -> Array:
        return weight * _height(atom, decay) * jnp.exp(-atom[decay] * length)

    pairs = _share(one) * tail(other, "decay") + _share(other) * tail(one, "decay")
    return Sums(tail(other, "eta"), pairs), Sums(tail(one, "eta"), pairs)


def _fade(length: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.nn.sigmoid(FADE_SLOPE * (FADE_MIDDLE - length))


def _height(atom: dict[str, Array], decay: str) -> Float[Array, "..."]:
    """Of a tail at no distance, 1/Å³."""
    return atom["n0"] * jnp.exp(atom[decay] * BETA * atom["s0"])


def _share(atom: dict[str, Array]) -> Float[Array, "..."]:
    """Of a neighbour's tail in the pair function, eV Å³."""
    return atom["V0"] / (atom["gamma2"] * atom["n0"])


def _parameters(numbers: Int[Array, "..."], dtype: jnp.dtype) -> dict[str, Array]:
    return {name: jnp.asarray(column, dtype)[numbers] for name, column in _columns().items()}


@lru_cache(maxsize=1)
def _columns() -> dict[str, Float[np.ndarray, " Z"]]:
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
