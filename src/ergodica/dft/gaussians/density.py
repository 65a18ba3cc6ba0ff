"""The density and its gradient on points in space, from coefficients.

Functions of one atom share their harmonics: ρ(r) = Σ_A Σ_lm S_lm(d) Σ_α p n exp(-α d²) with d = r - A, so that a point
costs one exponential a shell and no value of a function is stored. Atoms of an element go through the same arrays.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.solid_harmonics import gradients, solid_harmonics

__all__ = ["BLOCK", "densities_of_atoms", "density_and_gradient", "in_blocks"]

BLOCK = 2048
"""Points that are worked on at once, where there are many."""


def in_blocks(
    basis: DensityBasis, positions: Float[Array, "N 3"], coefficients: Float[Array, " F"], points: Float[Array, "P 3"]
) -> tuple[Float[Array, " P"], Float[Array, "P 3"]]:
    """ρ and ∇ρ at many points, block by block; derivatives work the Gaussians out again instead of storing them.

    The arguments are those of `density_and_gradient`.
    """
    of_block = jax.checkpoint(lambda block: density_and_gradient(basis, positions, coefficients, block))
    whole = jnp.pad(points, ((0, -len(points) % BLOCK), (0, 0)))
    rho, gradient = jax.lax.map(of_block, whole.reshape(-1, BLOCK, 3))
    return rho.reshape(-1)[: len(points)], gradient.reshape(-1, 3)[: len(points)]


def density_and_gradient(
    basis: DensityBasis, positions: Float[Array, "N 3"], coefficients: Float[Array, " F"], points: Float[Array, "P 3"]
) -> tuple[Float[Array, " P"], Float[Array, "P 3"]]:
    """ρ and ∇ρ at points, electrons/Bohr³ and electrons/Bohr⁴.

    Args:
        basis: of the molecule.
        positions: of the nuclei, Bohr.
        coefficients: p.
        points: where, Bohr.
    """
    found = list(_by_element(basis, positions, coefficients, points))
    rho, gradient = (sum(jnp.sum(part[place], axis=0) for part in found) for place in (1, 2))
    return rho, gradient  # type: ignore[return-value]


def densities_of_atoms(
    basis: DensityBasis, positions: Float[Array, "N 3"], coefficients: Float[Array, " F"], points: Float[Array, "P 3"]
) -> Float[Array, "N P"]:
    """What the functions of each atom add to ρ at points; the arguments are those of `density_and_gradient`."""
    found = [(atoms, values) for atoms, values, _ in _by_element(basis, positions, coefficients, points)]
    order = np.argsort(np.concatenate([atoms for atoms, _ in found]))
    return jnp.concatenate([values for _, values in found])[order]


def _by_element(
    basis: DensityBasis, positions: Float[Array, "N 3"], coefficients: Float[Array, " F"], points: Float[Array, "P 3"]
) -> Iterator[tuple[Int[np.ndarray, " A"], Float[Array, "A P"], Float[Array, "A P 3"]]]:
    """The atoms of each element, and what they add to ρ and ∇ρ."""
    numbers = np.array(basis.numbers)
    for number in sorted(set(basis.numbers)):
        atoms = np.flatnonzero(numbers == number)
        functions = np.stack([np.flatnonzero(basis.atom == atom) for atom in atoms])
        element = DensityBasis((number,))
        one = jax.vmap(lambda centre, own, element=element: _of_atom(element, own, points - centre))
        yield (atoms, *one(positions[atoms], coefficients[functions]))


def _of_atom(
    element: DensityBasis, coefficients: Float[Array, " F"], d: Float[Array, "P 3"]
) -> tuple[Float[Array, " P"], Float[Array, "P 3"]]:
    """What one atom at the origin contributes: ∇(S_l R_l) = (∇S_l) R_l + 2d S_l dR_l/d(d²)."""
    shells = element.shells
    square = jnp.sum(d * d, axis=-1, keepdims=True)
    harmonics = solid_harmonics(d, element.highest)
    value, along, gradient = (jnp.zeros_like(d[:, :size]) for size in (1, 1, 3))
    for degree in range(element.highest + 1):
        chosen = shells.degrees == degree
        alpha = jnp.asarray(shells.exponents[chosen], d.dtype)
        own = coefficients[np.isin(element.shell, np.flatnonzero(chosen))].reshape(-1, 2 * degree + 1)
        own = own * jnp.asarray(shells.norms[chosen], d.dtype)[:, None]
        gaussians = jnp.exp(-alpha * square)
        radial = gaussians @ jnp.concatenate([own, -alpha[:, None] * own], axis=1)
        radial, slope = radial[:, : 2 * degree + 1], radial[:, 2 * degree + 1 :]
        value += jnp.sum(harmonics[degree] * radial, axis=-1, keepdims=True)
        along += 2 * jnp.sum(harmonics[degree] * slope, axis=-1, keepdims=True)
        if degree:
            table = jnp.asarray(gradients(degree), d.dtype)
            gradient += jnp.einsum("imn,pm,pn->pi", table, radial, harmonics[degree - 1])
    return value[:, 0], gradient + along * d
