"""Repulsion of the screened nuclei, which rules at distances that no training set holds."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ergodica.elements import COVALENT_RADII
from ergodica.nn.pairs import row_sum
from ergodica.nn.radial import polynomial_cutoff
from ergodica.system import Neighbors
from ergodica.units import BOHR, HARTREE

__all__ = ["repulsion", "zbl_energy"]

SCREENING = ((0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162))


def zbl_energy(
    first: Int[Array, "*e"], second: Int[Array, "*e"], distance: Float[Array, "*e"], reach: float = 1.0
) -> Float[Array, "*e"]:
    """Energy of pairs of atoms, eV: Z₁Z₂/r φ(r/a), faded to zero at the sum of the covalent radii or a part of it.

    The universal potential of Ziegler, Biersack and Littmark (The Stopping and Range of Ions in Solids, 1985), with
    a = 0.8854 a₀/(Z₁^0.23 + Z₂^0.23).

    Args:
        first: atomic numbers; 0 gives no energy.
        second: those of the partners.
        distance: Å, positive.
        reach: where it has faded away, in sums of the covalent radii.
    """
    one, two = (z.astype(distance.dtype) for z in (first, second))
    screening = 0.8854 * BOHR / jnp.maximum(one**0.23 + two**0.23, 1.0)
    x = distance / screening
    phi = sum(weight * jnp.exp(-rate * x) for weight, rate in SCREENING)
    radii = jnp.asarray(COVALENT_RADII, distance.dtype)
    fade = polynomial_cutoff(distance / (radii[first] + radii[second]), reach)
    return HARTREE * BOHR * one * two / distance * phi * fade


def repulsion(
    numbers: Int[Array, " A"],
    distance: Float[Array, "A K"],
    valid: Bool[Array, "A K"],
    neighbors: Neighbors,
    reach: float = 1.0,
) -> Float[Array, " A"]:
    """Each atom's half of the energies of its pairs, eV (see `zbl_energy`).

    Args:
        numbers: atomic numbers, 0 for padding.
        distance: length of each edge, Å, positive also where there is none.
        valid: where there is an edge.
        neighbors: who is at its other end.
        reach: where the energy has faded away, in sums of the covalent radii.
    """
    first = jnp.broadcast_to(numbers[:, None], distance.shape)
    pair = zbl_energy(first, numbers[neighbors.index], distance, reach)
    return 0.5 * row_sum(jnp.where(valid, pair, 0.0))
