"""Where a functional ends when it is minimised: it should have been told more there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.labels.conformer import Conformer
from ergodica.dft.learned.examples import side_by_side
from ergodica.dft.learned.functional import LearnedFunctional
from ergodica.dft.minimize import MinimizeOptions, minimize
from ergodica.dft.molecule import make_molecule
from ergodica.units import BOHR

__all__ = ["minima"]

FARTHEST = 80
"""Evaluations after which a functional is far enough astray."""


def minima(functional: LearnedFunctional, conformers: Sequence[Conformer]) -> list[Float[np.ndarray, " F"]]:
    """Coefficients p at which a functional has its minima, or where the minimiser is by then.

    Args:
        functional: any, of the conformers' elements.
        conformers: whose labels do not matter.
    """

    def ended(one: Conformer) -> Float[np.ndarray, " F"]:
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), functional)
        basis, electrons = DensityBasis.of(one.system.numbers), one.system.numbers.sum() - one.system.charge
        return np.asarray(_minimum(basis, one.system.positions / BOHR, double, electrons))

    return side_by_side(ended, conformers, [one.system.numbers.tobytes() for one in conformers])


@partial(jax.jit, static_argnums=0)
def _minimum(
    basis: DensityBasis, positions: Float[Array, "N 3"], functional: LearnedFunctional, electrons: Float[Array, ""]
) -> Float[Array, " F"]:
    molecule = make_molecule(basis, positions)
    start, options = functional.ground(molecule), MinimizeOptions(steps=FARTHEST)
    return minimize(molecule, functional, start, electrons, options).coefficients
