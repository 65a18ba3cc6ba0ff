"""Whether a converged density is a minimum: the lowest curvature of the energy on the plane of N electrons.

By Lanczos' method for H P with the Hessian H in natural coordinates and P its inverse as the functional estimates it
(`softness`), self-adjoint where vectors are multiplied by u·P v. By Sylvester's law it has as many negative eigenvalues
as H, and they lie together, so that a few dozen products with H find the lowest.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dft.functionals import Functional, energy
from ergodica.dft.molecule import Molecule, electron_normal, onto_plane
from ergodica.dft.natural import from_natural, to_natural

__all__ = ["Curvature", "lowest_curvature"]


EXHAUSTED, STIFF = 1e-6, 1e3
"""Shares of the first products: of what is nothing but rounding, and of a curvature that is far above the lowest."""


class Curvature(NamedTuple):
    """The softest direction.

    Attributes:
        relative: the lowest eigenvalue of H P; 1 if the functional's estimate is right, negative at a saddle.
        hartree: curvature along its eigenvector v, v·H v / v·v, Hartree.
        residual: how far the first may be off.
    """

    relative: Float[Array, ""]
    hartree: Float[Array, ""]
    residual: Float[Array, ""]


@partial(jax.jit, static_argnames="steps")
def lowest_curvature(
    molecule: Molecule, functional: Functional, coefficients: Float[Array, " F"], steps: int = 40
) -> Curvature:
    """The lowest curvature of a density among all changes that keep the number of electrons.

    Args:
        molecule: with its integrals.
        functional: kinetic, exchange and correlation energy.
        coefficients: p of the density.
        steps: products with the Hessian, at most; fewer where no further direction is left.
    """
    steps = min(steps, molecule.basis.size - 1)
    soften = functional.softness(molecule)
    normal = electron_normal(molecule)
    in_plane = partial(onto_plane, normal / jnp.linalg.norm(normal))
    slope = jax.grad(lambda q: energy(from_natural(molecule.natural, q), molecule, functional))
    place = to_natural(molecule.natural, molecule.overlap, coefficients)

    def curved(vector: Float[Array, " F"]) -> Float[Array, " F"]:
        return in_plane(jax.jvp(slope, (place,), (vector,))[1])

    def softened(vector: Float[Array, " F"]) -> Float[Array, " F"]:
        return in_plane(soften(in_plane(vector)))

    def step(known: tuple[Array, Array], number: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        basis, dual = known  # u_k and P u_k
        image = curved(dual[number])
        along = dual @ image
        for _ in range(2):  # against rounding
            image = image - basis.T @ (dual @ image)
        soft = softened(image)
        length = jnp.sqrt(jnp.maximum(image @ soft, 1e-30))
        basis, dual = basis.at[number + 1].set(image / length), dual.at[number + 1].set(soft / length)
        return (basis, dual), (along[number], length)

    first = in_plane(jnp.asarray(np.random.default_rng(0).normal(size=molecule.basis.size)))
    soft = softened(first)
    length = jnp.sqrt(first @ soft)
    nothing = jnp.zeros((steps + 1, molecule.basis.size), coefficients.dtype)
    start = (nothing.at[0].set(first / length), nothing.at[0].set(soft / length))
    (_, dual), (diagonal, beside) = jax.lax.scan(step, start, jnp.arange(steps))
    # once no direction is left what follows is rounding: its rows are made stiff and let go
    largest = jnp.abs(diagonal[0]) + beside[0]
    going = jnp.append(True, jnp.cumprod(beside[:-1] > EXHAUSTED * largest) > 0)
    beside = jnp.where(going, beside, 0.0)
    coupled = jnp.where(going[1:], beside[:-1], 0.0)
    matrix = jnp.diag(jnp.where(going, diagonal, STIFF * largest)) + jnp.diag(coupled, 1) + jnp.diag(coupled, -1)
    values, vectors = jnp.linalg.eigh(matrix)
    direction = dual[:-1].T @ jnp.where(going, vectors[:, 0], 0.0)
    hartree = direction @ curved(direction) / (direction @ direction)
    last = jnp.sum(going) - 1
    return Curvature(values[0], hartree, jnp.abs(beside[last] * vectors[last, 0]))
