"""Coordinates in which a molecule is easy to learn: stiff internal ones with unit covariance, and free angles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.sampling.coordinates.internal import Tree, internal, log_volume, placed
from ergodica.sampling.spaces import Cylinder

__all__ = ["Chart", "chart_of"]

FREE = 0.35
"""Circular standard deviation from which on a dihedral angle is free, rad."""
PACE = 0.3
"""Radians of a free angle that count as one: about the width of its wells."""
STIFFEST = 1e-12
"""Share of the largest variance below which there is none."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Chart:
    """A map between positions [N, 3] and coordinates [D]: stiff ones first, then free angles over `PACE`.

    Attributes:
        centre: mean of the stiff internal coordinates (lengths in Å, angles in rad) [R].
        spread: what a unit of each stiff coordinate moves, the root of their covariance [R, R].
        plan: the tree of bonds.
        rotors: dihedral angles that are free.
    """

    centre: Float[Array, " R"]
    spread: Float[Array, "R R"]
    plan: Tree = field(metadata={"static": True})
    rotors: tuple[int, ...] = field(metadata={"static": True})

    @property
    def space(self) -> Cylinder:
        """Where coordinates live."""
        return Cylinder(3 * len(self.plan.atoms) - 6 - len(self.rotors), len(self.rotors), PACE)

    def coordinates(self, positions: Float[Array, "*B N 3"]) -> Float[Array, "*B D"]:
        """Of positions."""
        lengths, angles, dihedrals = internal(self.plan, positions)
        stiff, free = self._split(dihedrals)
        start = len(self.centre) - stiff.shape[-1]
        stiff = stiff - self.centre[start:]
        stiff = stiff - 2 * jnp.pi * jnp.round(stiff / (2 * jnp.pi))
        away = jnp.concatenate([lengths, angles], axis=-1) - self.centre[:start]
        away = jnp.concatenate([away, stiff], axis=-1)
        return jnp.concatenate([jnp.linalg.solve(self.spread, away[..., None])[..., 0], free / PACE], axis=-1)

    def positions(self, coordinates: Float[Array, "*B D"]) -> Float[Array, "*B N 3"]:
        """Of coordinates, Å."""
        return placed(self.plan, *self._internal(coordinates))

    def log_volume(self, coordinates: Float[Array, "*B D"]) -> Float[Array, "*B"]:
        """ln of the volume in space of a unit of volume in these coordinates; -inf where a length or angle is none."""
        lengths, angles, _ = self._internal(coordinates)
        proper = (lengths > 0).all(axis=-1) & (angles > 0).all(axis=-1) & (angles < jnp.pi).all(axis=-1)
        safe = jnp.where(proper[..., None], lengths, 1.0), jnp.where(proper[..., None], angles, 1.0)
        unit = jnp.linalg.slogdet(self.spread)[1] + len(self.rotors) * np.log(PACE)
        return jnp.where(proper, log_volume(*safe) + unit, -jnp.inf)

    def _internal(self, coordinates: Float[Array, "*B D"]) -> tuple[Array, Array, Array]:
        """Lengths, angles and dihedral angles."""
        known, count = len(self.centre), len(self.plan.atoms)
        away = self.centre + coordinates[..., :known] @ self.spread.T
        lengths, angles, stiff = jnp.split(away, [count - 1, 2 * count - 3], axis=-1)
        both = jnp.concatenate([stiff, coordinates[..., known:] * PACE], axis=-1)
        order = np.argsort(np.array([*self._stiff, *self.rotors]))
        return lengths, angles, both[..., order]

    @property
    def _stiff(self) -> list[int]:
        return [one for one in range(len(self.plan.references)) if one not in self.rotors]

    def _split(self, dihedrals: Float[Array, "*B M"]) -> tuple[Array, Array]:
        return dihedrals[..., np.array(self._stiff, int)], dihedrals[..., np.array(self.rotors, int)]


def chart_of(plan: Tree, positions: Float[np.ndarray, "S N 3"], rotors: tuple[int, ...] | None = None) -> Chart:
    """The chart in which these structures have unit covariance.

    Args:
        plan: the tree of bonds.
        positions: structures in equilibrium, Å.
        rotors: dihedral angles that are free; those that turn about a bond and spread by more than `FREE` by default.

    Raises:
        InputError: they are fewer than the coordinates, or all alike.
    """
    if len(positions) <= 3 * len(plan.atoms):
        raise InputError(
            f"{len(positions)} structures are too few to tell how stiff the molecule is: "
            f"more than {3 * len(plan.atoms)} are needed."
        )
    found = jax.jit(internal, static_argnums=0)(plan, jnp.asarray(positions))
    lengths, angles, dihedrals = (np.asarray(part, float) for part in found)
    mean = np.exp(1j * dihedrals).mean(axis=0)
    width = np.sqrt(-2 * np.log(np.clip(np.abs(mean), 1e-12, 1.0)))
    if rotors is None:
        rotors = tuple(np.flatnonzero((width > FREE) & np.array(plan.proper)).tolist())
    stiff = np.array([one for one in range(dihedrals.shape[1]) if one not in rotors], int)
    centres = np.angle(mean[stiff])
    off = np.angle(np.exp(1j * (dihedrals[:, stiff] - centres)))
    values = np.concatenate([lengths, angles, off], axis=1)
    centre, covariance = values.mean(axis=0), np.cov(values.T)
    variance, directions = np.linalg.eigh(covariance)
    if not variance[0] > STIFFEST * variance[-1]:
        raise InputError("The structures do not move in some direction: coordinates that are fixed can't be learnt.")
    centre[len(centre) - len(stiff) :] += centres
    spread = directions * np.sqrt(variance) @ directions.T  # the symmetric root: charts of like states are alike
    arrays: dict[str, Any] = {"centre": centre, "spread": spread}
    return Chart(**arrays, plan=plan, rotors=rotors)
