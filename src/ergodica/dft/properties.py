"""What follows from a minimised density: forces on the nuclei, dipole and quadrupole."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dft import integrals
from ergodica.dft.basis import DensityBasis
from ergodica.dft.functionals import Functional
from ergodica.dft.grid import GridOptions
from ergodica.dft.molecule import energy, make_molecule

__all__ = ["dipole", "forces", "second_moments"]


@partial(jax.jit, static_argnames=("basis", "grid"))
def forces(
    basis: DensityBasis,
    positions: Float[Array, "N 3"],
    coefficients: Float[Array, " F"],
    functional: Functional,
    grid: GridOptions | None = None,
) -> Float[Array, "N 3"]:
    """Forces on the nuclei, Hartree/Bohr: minus the total derivative of the minimised energy.

    At the minimum the energy is stationary for all changes of p that keep w·p, and w does not depend on the nuclei, so
    what is left is the derivative at fixed p. It goes through all integrals and through the grid's points and weights:
    these are not the Hellmann-Feynman forces, which in this basis are wrong by tenths of a Hartree/Bohr.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
        coefficients: p of the minimum.
        functional: the one that was minimised.
        grid: the one it was minimised on.
    """
    return -jax.grad(lambda places: energy(coefficients, make_molecule(basis, places, grid), functional))(positions)


def dipole(basis: DensityBasis, positions: Float[Array, "N 3"], coefficients: Float[Array, " F"]) -> Float[Array, " 3"]:
    """Dipole moment Σ_C Z_C R_C - ∫ r ρ, e·Bohr; of an ion it depends on the origin."""
    return jnp.asarray(np.array(basis.numbers, float)) @ positions - coefficients @ integrals.dipoles(basis, positions)


def second_moments(
    basis: DensityBasis, positions: Float[Array, "N 3"], coefficients: Float[Array, " F"]
) -> Float[Array, "3 3"]:
    """Second moments of the charge Σ_C Z_C R_C R_C - ∫ r r ρ, e·Bohr²; its traceless part is the quadrupole."""
    nuclei = jnp.einsum("c,ci,cj->ij", jnp.asarray(np.array(basis.numbers, float)), positions, positions)
    return nuclei - jnp.einsum("f,fij->ij", coefficients, integrals.quadrupoles(basis, positions))
