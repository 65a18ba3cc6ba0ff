"""Force fields of the AMBER form, with the implicit solvent of Onufriev, Bashford and Case: energies in JAX.

Bonds and angles are springs, dihedral angles have cosines, all pairs have Lennard-Jones and Coulomb energies (scaled
for neighbours three bonds apart), nothing is cut off (Cornell et al. 1995, doi:10.1021/ja00124a002). The solvent is
the generalised Born model OBC II (Onufriev, Bashford and Case 2004, doi:10.1002/prot.20033) with a surface term
(Schaefer, Bartels and Karplus 1998). Parameters come from an OpenMM system (`openmm_xml.py`); energies equal OpenMM's.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.sampling.energies.terms import Places, Scalars, Terms, bent, columns, dihedral, ends, stretched
from ergodica.units import KJ_PER_MOL

__all__ = ["COULOMB", "AmberField", "Solvent"]

COULOMB = 138.935456 * KJ_PER_MOL * 10
"""OpenMM's constant, eV Å/e²."""
ALPHA, BETA, GAMMA = 1.0, 0.8, 4.85
"""Of OBC II."""
PROBE = 1.4
"""Radius of a molecule of the solvent, Å."""
TIGHTEST = 1e-6
"""The square of a distance that two atoms on one place are said to have, Å²."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Solvent:
    """Generalised Born parameters.

    Attributes:
        radii: of atoms, Å.
        offset_radii: the same less the dielectric offset, Å.
        scaled: radii by which an atom shields others, Å.
        charges: eV^½ Å^½, such that the product over a distance is an energy, scaled by 1/ε_in - 1/ε_out.
        tension: 4π times the energy of a surface, eV/Å².
    """

    radii: Float[Array, " N"]
    offset_radii: Float[Array, " N"]
    scaled: Float[Array, " N"]
    charges: Float[Array, " N"]
    tension: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class AmberField:
    """The energy of one molecule; a pytree.

    Attributes:
        bonds: force constant (eV/Å²), length (Å).
        angles: force constant (eV/rad²), angle (rad).
        torsions: height (eV), periodicity, phase (rad).
        charges: products of charges of pairs, half of each above and below the diagonal, eV Å [N, N].
        depths: Lennard-Jones ε likewise, eV [N, N].
        sizes: Lennard-Jones σ, Å [N, N].
        solvent: around the molecule; None in vacuum.
    """

    bonds: Terms
    angles: Terms
    torsions: Terms
    charges: Float[Array, "N N"]
    depths: Float[Array, "N N"]
    sizes: Float[Array, "N N"]
    solvent: Solvent | None = None

    def __call__(self, positions: Float[Array, "*B N 3"]) -> Float[Array, "*B"]:
        """Energies, eV, of positions in Å."""
        return sum(self.terms(positions).values(), start=jnp.zeros(()))

    def terms(self, positions: Float[Array, "*B N 3"]) -> dict[str, Float[Array, "*B"]]:
        """Energies by kind, eV."""
        places = jnp.moveaxis(positions.reshape(-1, *positions.shape[-2:]), 0, -1)
        square = jnp.sum((places[:, None] - places[None]) ** 2, axis=2)
        alone = jnp.eye(places.shape[0])[:, :, None]
        distance = jnp.sqrt(jnp.maximum(square, TIGHTEST) + alone)
        sixth = (self.sizes[:, :, None] / distance) ** 6
        parts = {
            "bonds": stretched(self.bonds, places).sum(axis=0),
            "angles": bent(self.angles, places).sum(axis=0),
            "torsions": _torsions(self.torsions, places).sum(axis=0),
            "dispersion": jnp.sum(4 * self.depths[:, :, None] * (sixth**2 - sixth), axis=(0, 1)),
            "charges": jnp.sum(self.charges[:, :, None] / distance, axis=(0, 1)),
        }
        if self.solvent is not None:
            born = born_radii(self.solvent, distance)
            parts["polarisation"] = _polarisation(self.solvent, born, distance)
            parts["surface"] = _surface(self.solvent, born)
        return {kind: part.reshape(positions.shape[:-2]) for kind, part in parts.items()}


def _torsions(terms: Terms, places: Places) -> Scalars:
    height, periodicity, phase = columns(terms.values)
    return height * (1 + jnp.cos(periodicity * dihedral(*ends(terms.atoms, places)) - phase))


def born_radii(solvent: Solvent, distance: Float[Array, "N N B"]) -> Float[Array, "N B"]:
    """How far atoms are from the solvent, Å; eqs. 6-8 of the paper and the pairwise integral of Hawkins et al. 1995."""
    own, other = solvent.offset_radii[:, None, None], solvent.scaled[None, :, None]
    outer = distance + other
    inner = jnp.maximum(own, jnp.abs(distance - other))
    square = 0.25 * (distance - other**2 / distance) * (1 / outer**2 - 1 / inner**2)
    hidden = 1 / inner - 1 / outer + square + 0.5 * jnp.log(inner / outer) / distance
    engulfed = 2 * (1 / own - 1 / inner)
    hidden = jnp.where(own < outer, hidden + jnp.where(own < other - distance, engulfed, 0.0), 0.0)
    apart = 1.0 - jnp.eye(len(solvent.radii))
    psi = 0.5 * jnp.sum(hidden * apart[:, :, None], axis=1) * solvent.offset_radii[:, None]
    shrunk = jnp.tanh(ALPHA * psi - BETA * psi**2 + GAMMA * psi**3)
    return 1 / (1 / solvent.offset_radii[:, None] - shrunk / solvent.radii[:, None])


def _polarisation(solvent: Solvent, born: Float[Array, "N B"], distance: Float[Array, "N N B"]) -> Float[Array, " B"]:
    """-½ Σ q_i q_j / √(r² + B_i B_j exp(-r²/4 B_i B_j)), each atom with itself included (Still et al. 1990)."""
    square = distance**2 * (1.0 - jnp.eye(len(born)))[:, :, None]
    both = born[:, None] * born[None]
    charges = solvent.charges[:, None] * solvent.charges[None]
    return -0.5 * jnp.sum(charges[:, :, None] / jnp.sqrt(square + both * jnp.exp(-0.25 * square / both)), axis=(0, 1))


def _surface(solvent: Solvent, born: Float[Array, "N B"]) -> Float[Array, " B"]:
    """Energy of the accessible surface by Born radii."""
    radii = solvent.radii[:, None]
    return solvent.tension * jnp.sum((radii + PROBE) ** 2 * (radii / born) ** 6, axis=0)
