"""A molecule with the integrals over its density basis, and the electrostatic energy of a density in it."""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ergodica.dft.gaussians import integrals
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.grid import Grid, GridOptions, make_grid
from ergodica.dft.natural import Fragments, Natural, find_fragments, from_natural, make_natural

__all__ = ["Molecule", "electron_normal", "electrostatics", "make_molecule", "onto_plane"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Molecule:
    """Nuclei and what the energy needs of the basis there.

    Attributes:
        positions: of the nuclei, Bohr [N, 3].
        overlap: S [F, F].
        natural: roots of S, which take coefficients to natural coordinates and back.
        coulomb: W, Hartree [F, F].
        external: v, Hartree [F].
        repulsion: of the nuclei, Hartree.
        grid: for functionals that need one.
        basis: of the molecule.
        others: atoms in sight of each, for learned functionals; None: all are [N, J].
    """

    positions: Float[Array, "N 3"]
    overlap: Float[Array, "F F"]
    natural: Natural
    coulomb: Float[Array, "F F"]
    external: Float[Array, " F"]
    repulsion: Float[Array, ""]
    grid: Grid
    basis: DensityBasis = field(metadata={"static": True})
    others: Int[Array, "N J"] | None = None


def make_molecule(
    basis: DensityBasis,
    positions: Float[Array, "N 3"],
    grid: GridOptions | None = None,
    fragments: tuple[Fragments, ...] = (),
    natural: Natural = (),
    others: Int[Array, "N J"] | None = None,
) -> Molecule:
    """Integrals and grid for nuclei at given places; energies made of it are differentiable functions of those.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
        grid: how fine the grid is.
        fragments: whose roots of the overlap are taken, by default the whole molecule.
        natural: these roots, if they are known.
        others: atoms in sight of each, if not all are.
    """
    positions = jnp.asarray(positions)
    overlap = integrals.overlap(basis, positions)
    return Molecule(
        positions=positions,
        overlap=overlap,
        natural=natural or make_natural(overlap, fragments or find_fragments(basis)),
        coulomb=integrals.coulomb(basis, positions),
        external=integrals.external(basis, positions),
        repulsion=integrals.nuclear_repulsion(basis, positions),
        grid=make_grid(basis, positions, grid),
        basis=basis,
        others=others,
    )


def electron_normal(molecule: Molecule) -> Float[Array, " F"]:
    """How the number of electrons changes with natural coordinates, ∂N/∂q = S^(-1/2) w."""
    own = jnp.asarray(integrals.charges(molecule.basis), molecule.overlap.dtype)
    return jax.linear_transpose(lambda q: from_natural(molecule.natural, q), own)(own)[0]


def onto_plane(normal: Float[Array, " F"], vector: Float[Array, " F"]) -> Float[Array, " F"]:
    """A vector less its part along a direction of length 1: that part changes the number of electrons."""
    return vector - (normal @ vector) * normal


def electrostatics(coefficients: Float[Array, " F"], molecule: Molecule) -> dict[str, Float[Array, ""]]:
    """Energies that are exact in any functional: "hartree", "external" and "nuclear", Hartree."""
    return {
        "hartree": 0.5 * coefficients @ molecule.coulomb @ coefficients,
        "external": molecule.external @ coefficients,
        "nuclear": molecule.repulsion,
    }
