"""Samples where they are wanted: a flow is pulled towards values of properties, and keeps its exact density.

At every level of noise the expected clean structure is moved towards what is wished for, as far as the uncertainty that
is left allows (Song et al. 2023, pseudoinverse guidance, openreview 9_gsMA8MRKQ), without derivatives of the network.
However rough that is, the flow is a map whose density is computed, so the weights of its samples are exact: for the
restrained ensemble, and for the free one wherever the restrained one goes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.sampling.coordinates.chart import Chart
from ergodica.sampling.diffusion.solvers import Denoiser
from ergodica.sampling.energies.terms import angle, dihedral, length

__all__ = ["Guided", "Restraint", "log_restraints", "reaches", "read_restraint"]

ATOMS = {"distance": 2, "angle": 3, "dihedral": 4, "gyration": 0}
"""Kinds of properties, and how many atoms each is of (the radius of gyration is of all)."""


LATE, EARLY = (1.2,), (1.2, 2.5, 8.0)
"""Noise of an angle up to which it is pulled, rad. A distance is often met in several ways; pulling early would lose
all but one of them, unseen by the weights; a dihedral angle is met in one, and what is rare must be chosen early."""
OPPOSITE = 8
"""How steeply the pull of a dihedral angle turns round half a turn away from where it should be."""


@dataclass(frozen=True)
class Restraint:
    """A property of a structure, what it should be, and how much it may differ.

    Attributes:
        kind: "distance" (Å), "angle", "dihedral" (rad) or "gyration": the radius of gyration with equal masses (Å).
        atoms: which, counted from 0.
        value: that is wished for.
        width: standard deviation that is allowed; of a dihedral angle, that of a von Mises distribution.
    """

    kind: str
    atoms: tuple[int, ...]
    value: float
    width: float

    def __post_init__(self) -> None:
        if self.kind not in ATOMS:
            raise InputError(f"There is no property '{self.kind}': choose {', '.join(ATOMS)}.")
        if len(self.atoms) != ATOMS[self.kind] or len(set(self.atoms)) != len(self.atoms):
            raise InputError(f"'{self.kind}' is of {ATOMS[self.kind]} different atoms, not of {list(self.atoms)}.")
        if not (math.isfinite(self.value) and math.isfinite(self.width)) or self.width <= 0:
            raise InputError(f"'{self.kind}' needs a value and a width above 0.")

    def measured(self, positions: Float[Array, "B N 3"]) -> Float[Array, " B"]:
        """The property, in its unit."""
        if self.kind == "gyration":
            away = positions - positions.mean(axis=1, keepdims=True)
            return jnp.sqrt(jnp.mean(jnp.sum(away**2, axis=-1), axis=-1))
        places = [jnp.moveaxis(positions[:, atom], 0, -1)[None] for atom in self.atoms]
        if self.kind == "distance":
            return length(places[1] - places[0])[0]
        if self.kind == "angle":
            return angle(places[0] - places[1], places[2] - places[1])[0]
        return dihedral(*places)[0]

    def log_weight(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """ln of how welcome a value is, 0 at best."""
        off = value - self.value
        return (jnp.cos(off) - 1 if self.kind == "dihedral" else -0.5 * off**2) / self.width**2

    def missing(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """By how much it is short of what is wished for; nothing half a turn away, so that no way round is torn."""
        off = self.value - value
        if self.kind != "dihedral":
            return off
        off = off - 2 * jnp.pi * jnp.round(off / (2 * jnp.pi))
        return off * (1 - (off / jnp.pi) ** OPPOSITE)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Guided:
    """A denoiser whose expected structures are moved towards restraints.

    Attributes:
        inner: the denoiser of the free ensemble.
        chart: from its coordinates to positions.
        reach: noise of an angle up to which it is pulled, rad.
        restraints: what is wished for.
    """

    inner: Denoiser
    chart: Chart
    reach: Float[Array, ""] | float
    restraints: tuple[Restraint, ...] = field(metadata={"static": True})

    def __call__(self, x: Float[Array, "B D"], sigma: Float[Array, "..."]) -> Float[Array, "B D"]:
        """Expected coordinates without noise."""
        clean, noise = self.inner(x, sigma), jnp.broadcast_to(sigma, len(x))[:, None] ** 2
        space = self.chart.space
        free = jnp.arange(space.dimensions) >= space.reals
        unsure = jnp.where(free, noise, noise / (1 + noise))  # variance of the clean coordinates, given the noisy ones
        early = jnp.where(free, jnp.exp(-((noise * space.pace**2 / self.reach**2) ** 2)), 1.0)
        moved = clean
        for restraint in self.restraints:
            value, back = jax.vjp(lambda x, of=restraint: of.measured(self.chart.positions(x)), clean)
            slope = back(jnp.ones_like(value))[0]
            room = restraint.width**2 + jnp.sum(unsure * slope**2, axis=1)
            moved = moved + early * unsure * slope * (restraint.missing(value) / room)[:, None]
        return moved


def reaches(restraints: Sequence[Restraint]) -> tuple[float, ...]:
    """Up to which noise it may serve to pull angles, rad."""
    return EARLY if all(one.kind == "dihedral" for one in restraints) else LATE


def log_restraints(restraints: Sequence[Restraint], positions: Float[Array, "B N 3"]) -> Float[Array, " B"]:
    """ln of how welcome structures are."""
    parts = [one.log_weight(one.measured(positions)) for one in restraints]
    return jnp.sum(jnp.stack(parts), axis=0) if parts else jnp.zeros(len(positions))


def read_restraint(text: str, atoms: int) -> Restraint:
    """A restraint as written on a command line: `dihedral:4,6,8,14=60,20`, `distance:0,5=3.5,0.3`, `gyration=4.2,0.2`.

    Args:
        text: kind, atoms from 0, value and width; Å or degrees.
        atoms: of the molecule.

    Raises:
        InputError: it can't be read, or an atom is not there.
    """
    found = re.fullmatch(r"(\w+)(?::([\d,\s]*))?=\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)\s*", text.strip())
    try:
        assert found is not None
        kind, rows = found[1], tuple(int(atom) for atom in (found[2] or "").split(",") if atom.strip())
        value, width = float(found[3]), float(found[4])
    except (AssertionError, ValueError):
        raise InputError(
            f"'{text}' can't be read: write a property with its atoms, value and width, such as "
            "dihedral:4,6,8,14=60,20 (degrees), distance:0,5=3.5,0.3 or gyration=4.2,0.2 (Å)."
        ) from None
    if rows and max(rows) >= atoms:
        raise InputError(f"'{text}': there is no atom {max(rows)}; the molecule has {atoms}, counted from 0.")
    unit = math.pi / 180 if kind in ("angle", "dihedral") else 1.0
    return Restraint(kind, rows, value * unit, width * unit)
