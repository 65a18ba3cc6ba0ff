"""Electrostatics of fixed charges without reciprocal space: damped and shifted Coulomb forces, or the bare law."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.nn.geometry import safe_norm
from ergodica.nn.pairs import row_sum
from ergodica.potentials.architecture import Classical
from ergodica.potentials.heads import AtomOutput
from ergodica.system import Neighbors
from ergodica.units import BOHR, HARTREE

__all__ = ["CoulombConfig"]


@dataclass(frozen=True)
class CoulombConfig(Classical):
    """Point charges, one for each element.

    "dsf": the damped shifted force of Fennell & Gezelter, J. Chem. Phys. 124, 234104 (2006), doi:10.1063/1.2206581,
    with the self energy of Wolf et al. 1999 (doi:10.1063/1.478738), which makes lattice energies right. Energy and
    force are continuous at the cut-off. "plain": 1/r, for molecules and clusters smaller than the cut-off.

    Attributes:
        charges: pairs of a symbol and a charge, e.
        method: "dsf" or "plain".
        damping: α, 1/Å; larger converges faster with the cut-off and shifts energies more.
        cutoff: where it ends, Å.
    """

    charges: tuple[tuple[str, float], ...] = ()
    method: Literal["dsf", "plain"] = "dsf"
    damping: float = 0.2
    cutoff: float = 12.0

    def __post_init__(self) -> None:
        if not self.charges:
            raise InputError('coulomb: give the charge of each element, such as charges={"Na": 1, "Cl": -1}.')
        for symbol, charge in self.charges:
            if symbol not in SYMBOLS[1:] or not math.isfinite(charge):
                raise InputError(f"coulomb: '{symbol}': {charge} is no element with a charge.")
        if self.cutoff <= 0 or self.damping < 0:
            raise InputError("coulomb: cutoff (Å) must be positive and damping (1/Å) not negative.")

    def table(self) -> Float[np.ndarray, " Z"]:
        """Charges by atomic number, e."""
        known = dict(self.charges)
        return np.array([known.get(symbol, 0.0) for symbol in SYMBOLS])

    def build(self, recompute: bool = True) -> Coulomb:
        """The module; there is nothing to recompute."""
        return Coulomb(self)


class Coulomb(nn.Module):
    """Numbers and edge vectors in, atomic energies out, eV."""

    config: CoulombConfig

    def __call__(self, numbers: Int[Array, " A"], vectors: Float[Array, "A K D"], neighbors: Neighbors) -> AtomOutput:
        """Half of each pair's energy goes to each of its atoms, and its self energy to each atom."""
        config, length = self.config, safe_norm(vectors)
        valid = neighbors.mask & (length > 0) & (length < config.cutoff)
        length = jnp.where(valid, length, config.cutoff)
        charge = jnp.asarray(config.table(), length.dtype)[numbers]
        potential, own = self._potential(length)
        around = row_sum(jnp.where(valid, charge[neighbors.index] * potential, 0.0))
        energies = HARTREE * BOHR * (0.5 * charge * around - own * charge**2)
        return AtomOutput(energies, jnp.zeros((len(energies), 3), energies.dtype))

    def _potential(self, r: Float[Array, "A K"]) -> tuple[Float[Array, "A K"], float]:
        """Potential of a unit charge (Fennell & Gezelter 2006, eq. 18), and the self energy of one, 1/Å."""
        if self.config.method == "plain":
            return 1 / r, 0.0
        alpha, end = self.config.damping, self.config.cutoff
        level = math.erfc(alpha * end) / end
        slope = level / end + 2 * alpha / math.sqrt(math.pi) * math.exp(-((alpha * end) ** 2)) / end
        shifted = jax.scipy.special.erfc(alpha * r) / r - level + slope * (r - end)
        return shifted, 0.5 * (level + slope * end) + alpha / math.sqrt(math.pi)
