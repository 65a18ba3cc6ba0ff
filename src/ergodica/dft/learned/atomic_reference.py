"""The part of a learned functional that is fitted in closed form, so that the network sees deviations alone.

With A the surroundings of an atom (`layout.surroundings`), its natural coefficients and gradients at ground states are
q⁰ = Q·A and g⁰ = G·A, each degree l with matrices of its own for every element, and

    E = Σ_i e·A₀ + g⁰·(q - q⁰) + ½ (q - q⁰)·H (q - q⁰)

with e pair energies for each element (A₀ is the part of l = 0) and H positive semidefinite for each element and degree.
This is the "atomic reference" of Zhang et al. (Nat. Comput. Sci. 4, 210 (2024)), linear per element there, made to
depend on the neighbours and to turn with them, with the curvature added. It is smooth in the nuclei and invariant.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.dft.learned.layout import Layout

__all__ = [
    "AtomicReference",
    "Ground",
    "Response",
    "fit_energy",
    "fit_linear",
    "fit_quadratic",
    "fit_whitening",
    "mixed_shells",
    "reference_energy",
]

RIDGE = 1e-6
"""Of the linear fits, relative to the mean square of the surroundings."""
STIFFEST = 50.0
"""Largest curvature, Hartree."""
LEAST_SPREAD = 5e-3
"""Deviations of coefficients that are not blown up any further."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AtomicReference:
    """Its parameters, by element and degree.

    Attributes:
        energy: e, Hartree [E, C].
        coefficients: Q [E, L, C, K].
        gradient: G, Hartree [E, L, C, K].
        curvature: H, Hartree [E, L, K, K].
        whitening: inverse root of the mean of (q - q⁰)(q - q⁰)ᵀ of the labels [E, L, K, K].
    """

    energy: Float[Array, "E C"]
    coefficients: Float[Array, "E L C K"]
    gradient: Float[Array, "E L C K"]
    curvature: Float[Array, "E L K K"]
    whitening: Float[Array, "E L K K"]


def at_ground(
    table: Float[Array, "E L C K"], layout: Layout, species: Int[Array, " N"], around: Float[Array, "N M C"]
) -> Float[Array, "N M K"]:
    """Q·A or G·A of every atom."""
    return jnp.einsum("nmc,nmck->nmk", around, table[species][:, layout.degree])


def mixed_shells(
    matrices: Float[Array, "E L K K"], layout: Layout, species: Int[Array, " N"], values: Float[Array, "N M K"]
) -> Float[Array, "N M K"]:
    """Values with the shells of each atom and degree mixed by a symmetric matrix."""
    return jnp.einsum("nmk,nmkj->nmj", values, matrices[species][:, layout.degree])


def reference_energy(
    reference: AtomicReference,
    layout: Layout,
    species: Int[Array, " N"],
    around: Float[Array, "N M C"],
    away: Float[Array, "N M K"],
) -> Float[Array, " N"]:
    """Energies of the atoms, Hartree.

    Args:
        reference: the parameters.
        layout: of the tables.
        species: of the atoms.
        around: their surroundings.
        away: q - q⁰.
    """
    gradient = at_ground(reference.gradient, layout, species, around)
    force = mixed_shells(reference.curvature, layout, species, away)
    pairs = jnp.sum(around[:, 0] * reference.energy[species], axis=1)
    return pairs + jnp.sum((gradient + 0.5 * force) * away, axis=(1, 2))


# ---------------------------------------------------------------------------------------------------------------- fits


@dataclass(frozen=True)
class Ground:
    """Ground state of one conformer, in the table.

    Attributes:
        species: of the atoms [N].
        around: their surroundings [N, M, C].
        values: natural coefficients or gradients [N, M, K].
    """

    species: Int[np.ndarray, " N"]
    around: Float[np.ndarray, "N M C"]
    values: Float[np.ndarray, "N M K"]


@dataclass(frozen=True)
class Response:
    """How one conformer answers to perturbations, in the table.

    Attributes:
        species: of the atoms [N].
        moved: natural coefficients less those of the ground state [L, N, M, K].
        slopes: gradients less those of the ground state, Hartree [L, N, M, K].
    """

    species: Int[np.ndarray, " N"]
    moved: Float[np.ndarray, "L N M K"]
    slopes: Float[np.ndarray, "L N M K"]


@dataclass
class _Sums:
    """Normal equations of one element and degree."""

    square: Any = 0.0
    mixed: Any = 0.0
    count: float = field(default=0.0)


def fit_linear(layout: Layout, grounds: Sequence[Ground]) -> Float[np.ndarray, "E L C K"]:
    """Q or G by least squares with a small ridge."""
    channels = grounds[0].around.shape[2]
    table = np.zeros((*layout.shells.shape, channels, layout.width))
    for element in range(len(layout.elements)):
        for degree in range(layout.highest + 1):
            sums = _Sums()
            for ground in grounds:
                chosen = ground.species == element
                a = ground.around[chosen][:, layout.degree == degree].reshape(-1, channels)
                sums.square += a.T @ a
                sums.mixed += a.T @ ground.values[chosen][:, layout.degree == degree].reshape(len(a), layout.width)
                sums.count += len(a)
            if sums.count:
                scale = RIDGE * max(np.trace(sums.square) / channels, 1e-300)
                table[element, degree] = np.linalg.solve(sums.square + scale * np.eye(channels), sums.mixed)
    return table * layout.present[:, layout.firsts][:, :, None]


def fit_energy(
    layout: Layout, grounds: Sequence[Ground], energies: Float[np.ndarray, " G"]
) -> Float[np.ndarray, "E C"]:
    """e by least squares with a small ridge, which leaves it to the constants first of all.

    Args:
        layout: of the tables.
        grounds: ground states; their values are of no concern.
        energies: of each, less what else the reference gives, Hartree.
    """
    rows = np.zeros((len(grounds), len(layout.elements), grounds[0].around.shape[2]))
    for row, ground in zip(rows, grounds, strict=True):
        np.add.at(row, ground.species, ground.around[:, 0])
    constants = np.linalg.lstsq(rows[:, :, -1], energies, rcond=1e-8)[0]
    left = energies - rows[:, :, -1] @ constants
    flat = rows.reshape(len(rows), -1)
    square = flat.T @ flat
    scale = RIDGE * np.trace(square) / len(square)
    found = np.linalg.solve(square + scale * np.eye(len(square)), flat.T @ left).reshape(rows.shape[1:])
    found[:, -1] += constants
    return found


def fit_quadratic(layout: Layout, responses: Sequence[Response]) -> Float[np.ndarray, "E L K K"]:
    """H: inverse of the response δq = X δg of coefficients to gradients, X symmetric by least squares.

    Many directions hardly answer to a potential: the orbitals can't follow it there. Gradients are no function of q in
    these, so it is X that is fitted, and where it is small or negative the curvature is `STIFFEST`.
    """

    def inverse(sums: _Sums) -> np.ndarray:
        values, vectors = np.linalg.eigh(_symmetric_solution(sums.square, sums.mixed))
        return (vectors / np.maximum(values, 1 / STIFFEST)) @ vectors.T

    return _of_blocks(layout, responses, inverse)


def fit_whitening(layout: Layout, deviations: Sequence[Response]) -> Float[np.ndarray, "E L K K"]:
    """Matrices that give deviations (their `slopes`) unit spread in all directions but those below `LEAST_SPREAD`."""

    def whitening(sums: _Sums) -> np.ndarray:
        values, vectors = np.linalg.eigh(sums.square / sums.count)
        return (vectors * (values + LEAST_SPREAD**2) ** -0.5) @ vectors.T

    return _of_blocks(layout, deviations, whitening)


def _of_blocks(
    layout: Layout, responses: Sequence[Response], matrix: Callable[[_Sums], np.ndarray]
) -> Float[np.ndarray, "E L K K"]:
    """A matrix for each element and degree from the sums of slopesᵀ slopes and slopesᵀ moved."""
    table = np.zeros((*layout.shells.shape, layout.width, layout.width))
    for element, row in enumerate(layout.shells):
        for degree, count in enumerate(row):
            part = (slice(None), layout.degree == degree, slice(count))
            sums = _Sums()
            for response in responses:
                chosen = response.species == element
                size = (-1, max(count, 1))
                x, y = (one[:, chosen][:, *part].reshape(size) for one in (response.slopes, response.moved))
                sums.square, sums.mixed, sums.count = sums.square + x.T @ x, sums.mixed + x.T @ y, sums.count + len(x)
            if sums.count:
                table[element, degree, :count, :count] = matrix(sums)
    return table


def _symmetric_solution(square: np.ndarray, mixed: np.ndarray) -> Float[np.ndarray, "K K"]:
    """The symmetric Z of least |Y - X Z|²: of C Z + Z C = B + Bᵀ with C = XᵀX, B = XᵀY, in the eigenvectors of C."""
    values, vectors = np.linalg.eigh(square)
    inner = vectors.T @ (mixed + mixed.T) @ vectors
    values = values + 1e-6 * values[-1]
    return vectors @ (inner / (values[:, None] + values)) @ vectors.T
