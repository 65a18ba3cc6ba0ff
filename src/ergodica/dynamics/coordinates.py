"""Coordinates of a relaxation: atoms and cells of several structures as rows of three numbers.

The first A rows are the atoms in the cell at the start, the last 3 B the logarithms X of the cells' deformations times
a length: positions are u exp X and cells C exp X. This is the Fréchet cell filter of ASE with a symmetric X, so that
the cell can't rotate. With X = Q diag(λ) Qᵀ and a symmetric virial W, the theorem of Daletskii and Krein gives the
exact derivative, dE/dX = Q (QᵀWQ ∘ sinh(λᵢ - λⱼ) / (λᵢ - λⱼ)) Qᵀ.

What is held, kept symmetric or kept at constant volume is a linear condition on the rows, so the gradient is projected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

__all__ = ["Frame", "Slope", "place", "slope"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Frame:
    """What does not change while structures relax.

    Attributes:
        owner: structure of each row [R], R = A + 3 B.
        free: 0 where an atom is held or is padding [A].
        cell: at the start [B, 3, 3], Å.
        length: of the cells' coordinates [B], Å.
        strain: 1 where a component of X may change [B, 3, 3].
        traceless: 1 where the volume is kept [B].
        pressure: from outside [B], eV/Å³.
        weight: eV per unit of the model's output [B].
        image: atom that a symmetry operation brings here [A, G].
        turn: its rotation of columns [B, G, 3, 3].
        share: 1 / number of operations, 0 for padding [B, G].
    """

    owner: Int[Array, " R"]
    free: Float[Array, " A"]
    cell: Float[Array, "B 3 3"]
    length: Float[Array, " B"]
    strain: Float[Array, "B 3 3"]
    traceless: Float[Array, " B"]
    pressure: Float[Array, " B"]
    weight: Float[Array, " B"]
    image: Int[Array, "A G"]
    turn: Float[Array, "B G 3 3"]
    share: Float[Array, "B G"]

    @property
    def system(self) -> Int[Array, " A"]:
        """Structure of each atom."""
        return self.owner[: len(self.free)]


class Slope(NamedTuple):
    """The function that is minimised, at one point.

    Attributes:
        enthalpy: energy + pressure · volume [B], eV.
        gradient: with respect to the rows [R, 3], eV/Å.
        force: largest force on a free atom [B], eV/Å.
        stress: largest component of what is left of the stress [B], eV/Å³.
    """

    enthalpy: Float[Array, " B"]
    gradient: Float[Array, "R 3"]
    force: Float[Array, " B"]
    stress: Float[Array, " B"]


def _deformation(frame: Frame, x: Float[Array, "R 3"]) -> tuple[Array, Array, Array]:
    """exp X [B, 3, 3] with eigenvalues [B, 3] and eigenvectors of X; exactly 1 for X = 0."""
    log = x[len(frame.free) :].reshape(-1, 3, 3) / frame.length[:, None, None]
    values, vectors = jnp.linalg.eigh(log)
    grown = jnp.einsum("bik,bk,bjk->bij", vectors, jnp.expm1(values), vectors)
    return jnp.eye(3, dtype=x.dtype) + grown, values, vectors


def place(frame: Frame, x: Float[Array, "R 3"]) -> tuple[Float[Array, "A 3"], Float[Array, "B 3 3"]]:
    """Positions and cells, Å."""
    deformation, _, _ = _deformation(frame, x)
    positions = jnp.einsum("ai,aij->aj", x[: len(frame.free)], deformation[frame.system])
    return positions, frame.cell @ deformation


def slope(
    frame: Frame,
    x: Float[Array, "R 3"],
    energy: Float[Array, " B"],
    forces: Float[Array, "A 3"],
    virial: Float[Array, "B 3 3"],
) -> Slope:
    """From energies, forces and virials (Σ r ⊗ dE/dr, eV) to what a minimiser wants to know."""
    deformation, values, vectors = _deformation(frame, x)
    volume = jnp.abs(jnp.linalg.det(frame.cell @ deformation))
    push = frame.pressure * volume
    virial = virial + push[:, None, None] * jnp.eye(3, dtype=x.dtype)
    apart = values[:, :, None] - values[:, None, :]
    same = jnp.abs(apart) < 1e-3
    ratio = jnp.where(same, 1 + apart**2 / 6, jnp.sinh(apart) / jnp.where(same, 1.0, apart))
    inner = ratio * jnp.einsum("bki,bkl,blj->bij", vectors, virial, vectors)
    log = _allowed(frame, jnp.einsum("bik,bkl,bjl->bij", vectors, inner, vectors))
    forces = frame.free[:, None] * forces
    atoms = _symmetric(frame, jnp.einsum("ai,aij->aj", forces, deformation[frame.system]))
    squares = jax.ops.segment_max(jnp.sum(forces**2, axis=1), frame.system, len(volume))
    # X and the strain of the present cell are the same thing only where no component is held
    full = jnp.all(frame.strain > 0, axis=(1, 2))[:, None, None]
    left = jnp.where(full, _allowed(frame, virial), log) / volume[:, None, None]
    return Slope(
        enthalpy=energy + push,
        gradient=jnp.concatenate([-frame.free[:, None] * atoms, (log / frame.length[:, None, None]).reshape(-1, 3)]),
        force=jnp.sqrt(jnp.maximum(squares, 0.0)),
        stress=jnp.max(jnp.abs(left), axis=(1, 2)),
    )


def _allowed(frame: Frame, tensor: Float[Array, "B 3 3"]) -> Float[Array, "B 3 3"]:
    """The part of a tensor along the strains that are allowed."""
    turned = jnp.einsum("bg,bgij,bjk,bglk->bil", frame.share, frame.turn, tensor, frame.turn)
    tensor = frame.strain * turned
    diagonal = frame.strain * jnp.eye(3, dtype=tensor.dtype)
    number = jnp.maximum(jnp.sum(diagonal, axis=(1, 2)), 1.0)
    mean = frame.traceless * jnp.trace(tensor, axis1=1, axis2=2) / number
    return tensor - mean[:, None, None] * diagonal


def _symmetric(frame: Frame, rows: Float[Array, "A 3"]) -> Float[Array, "A 3"]:
    """The mean over the symmetry operations."""
    system = frame.system
    return jnp.einsum("ag,agij,agj->ai", frame.share[system], frame.turn[system], rows[frame.image])
