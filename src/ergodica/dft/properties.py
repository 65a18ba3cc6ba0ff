"""What follows from a minimised density: forces on the nuclei, dipole and quadrupole, charges of the atoms."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dft.functionals import Functional, energy
from ergodica.dft.gaussians import integrals
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.density import BLOCK, densities_of_atoms, density_and_gradient
from ergodica.dft.gaussians.grid import GridOptions, make_grid
from ergodica.dft.molecule import Molecule, make_molecule

__all__ = ["dipole", "forces", "hirshfeld_charges", "quadrupole", "second_moments"]

EMPTY = 1e-30
"""Density of free atoms, electrons/Bohr³, below which nothing is shared."""


@partial(jax.jit, static_argnames="grid")
def forces(
    molecule: Molecule, coefficients: Float[Array, " F"], functional: Functional, grid: GridOptions | None = None
) -> Float[Array, "N 3"]:
    """Forces on the nuclei, Hartree/Bohr: minus the total derivative of the minimised energy.

    At the minimum the energy is stationary for all changes of p that keep w·p, and w does not depend on the nuclei, so
    what is left is the derivative at fixed p. It goes through all integrals and through the grid's points and weights:
    these are not the Hellmann-Feynman forces, which in this basis are wrong by tenths of a Hartree/Bohr.

    Args:
        molecule: that was minimised.
        coefficients: p of the minimum.
        functional: the one that was minimised.
        grid: the one it was minimised on.
    """

    def total(places: Float[Array, "N 3"]) -> Float[Array, ""]:
        moved = make_molecule(molecule.basis, places, grid, natural=molecule.natural, others=molecule.others)
        return energy(coefficients, moved, functional)

    return -jax.grad(total)(molecule.positions)


def dipole(basis: DensityBasis, positions: Float[Array, "N 3"], coefficients: Float[Array, " F"]) -> Float[Array, " 3"]:
    """Dipole moment Σ_C Z_C R_C - ∫ r ρ, e·Bohr; of an ion it depends on the origin."""
    return jnp.asarray(np.array(basis.numbers, float)) @ positions - coefficients @ integrals.dipoles(basis, positions)


def second_moments(
    basis: DensityBasis, positions: Float[Array, "N 3"], coefficients: Float[Array, " F"]
) -> Float[Array, "3 3"]:
    """Second moments of the charge Σ_C Z_C R_C R_C - ∫ r r ρ, e·Bohr²; its traceless part is the quadrupole."""
    nuclei = jnp.einsum("c,ci,cj->ij", jnp.asarray(np.array(basis.numbers, float)), positions, positions)
    return nuclei - jnp.einsum("f,fij->ij", coefficients, integrals.quadrupoles(basis, positions))


def quadrupole(
    basis: DensityBasis, positions: Float[Array, "N 3"], coefficients: Float[Array, " F"]
) -> Float[Array, "3 3"]:
    """Traceless quadrupole moment ∫ (3 r r - r²) about the centre of nuclear charge, halved (Buckingham), e·Bohr²."""
    numbers = jnp.asarray(np.array(basis.numbers, float))
    moments = second_moments(basis, positions - numbers @ positions / numbers.sum(), coefficients)
    return 1.5 * moments - 0.5 * jnp.trace(moments) * jnp.eye(3)


@partial(jax.jit, static_argnames="basis")
def hirshfeld_charges(
    basis: DensityBasis,
    positions: Float[Array, "N 3"],
    coefficients: Float[Array, " F"],
    free: Float[Array, " F"],
) -> Float[Array, " N"]:
    """Charges of atoms that share the density as free atoms would (Hirshfeld, doi:10.1007/BF00549096), e.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
        coefficients: p.
        free: those of superposed neutral atoms.
    """
    grid = make_grid(basis, positions, GridOptions(50, 29))

    def of_block(block: tuple[Array, Array]) -> Float[Array, " N"]:
        points, weights = block
        rho, _ = density_and_gradient(basis, positions, coefficients, points)
        parts = jnp.maximum(densities_of_atoms(basis, positions, free, points), 0.0)
        shares = parts / jnp.maximum(parts.sum(axis=0), EMPTY)
        return shares @ (weights * rho)

    blocks = (grid.points.reshape(-1, BLOCK, 3), grid.weights.reshape(-1, BLOCK))
    return jnp.asarray(np.array(basis.numbers, float)) - jax.lax.map(of_block, blocks).sum(axis=0)
