"""Densities of orbitals in the density basis: several ways to choose p so that Σ_μ p_μ ω_μ is like ρ.

With W the Coulomb matrix of the basis, S its overlap, v the attraction of its functions by the nuclei, w their charges
and b_μ = ∫∫ ω_μ ρ / |r - r'|, s_μ = ∫ ω_μ ρ, e = E_ext[ρ] the same of the density, the methods are

    "stacked"           |W p - b|² + (v·p - e)² as small as can be: what Zhang et al. (Nat. Comput. Sci. 4, 210 (2024))
                        and Remme et al. (J. Am. Chem. Soc. 147, 28851 (2025)) compute
    "coulomb"           (ρ_p - ρ | ρ_p - ρ) as small as can be
    "coulomb+external"  (ρ_p - ρ | ρ_p - ρ) + (v·p - e)² as small as can be, which is the objective they print
    "overlap"           ∫ (ρ_p - ρ)² as small as can be

None of them keeps the number of electrons, all miss it by some 1e-4, and the dipole moment by some 0.01 e·Bohr. Where
they are asked for, with M = [w, dipole moments of the functions] the fit is moved by W⁻¹M (MᵀW⁻¹M)⁻¹ δ, of all changes
of the density that mend δ the one that repels itself least. (Lagrange's multiplier for N in the stacked system, tried
for water and ethanol, makes the density worse by 15 % and its kinetic energy by 8 mHa; the least change of ∫ρ² does
nearly as well as this one.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float

from ergodica.errors import InputError

__all__ = ["FitMethod", "FitSystem", "Kept", "Projected", "fit_densities"]

FitMethod = Literal["stacked", "coulomb", "coulomb+external", "overlap"]
Kept = Literal["electrons", "dipole"]
"""What fits have exactly: the number of electrons, or that and the dipole moment."""


@dataclass(frozen=True)
class FitSystem:
    """What the fit needs to know of the density basis of a molecule.

    Attributes:
        overlap: S [F, F].
        coulomb: W, Hartree [F, F].
        external: v, Hartree [F].
        moments: charges and dipole moments of the functions, Bohr [F, 4].
    """

    overlap: Float[np.ndarray, "F F"]
    coulomb: Float[np.ndarray, "F F"]
    external: Float[np.ndarray, " F"]
    moments: Float[np.ndarray, "F 4"]


@dataclass(frozen=True)
class Projected:
    """What the fit needs to know of L densities of one molecule.

    Attributes:
        coulomb: b, Hartree [L, F].
        external: e, Hartree [L].
        overlap: s [L, F]; only the method "overlap" needs it.
    """

    coulomb: Float[np.ndarray, "L F"]
    external: Float[np.ndarray, " L"]
    overlap: Float[np.ndarray, "L F"] | None = None


def fit_densities(
    system: FitSystem,
    densities: Projected,
    method: FitMethod = "stacked",
    moments: Float[np.ndarray, "L M"] | None = None,
) -> Float[np.ndarray, "L F"]:
    """Coefficients of densities of one molecule.

    Args:
        system: the density basis.
        densities: what is fitted.
        method: what is made small (see above).
        moments: of the densities, as many of `FitSystem.moments` as the fits must have exactly.

    Raises:
        InputError: there is no such method, or the densities lack what it needs.
    """
    found = _unconstrained(system, densities, method)
    if moments is None:
        return found
    kept = system.moments[:, : moments.shape[1]]
    directions = np.linalg.solve(system.coulomb, kept)
    missing = moments - found @ kept
    return found + np.linalg.solve(kept.T @ directions, missing.T).T @ directions.T


def _unconstrained(system: FitSystem, densities: Projected, method: FitMethod) -> Float[np.ndarray, "L F"]:
    w, v = system.coulomb, system.external
    if method == "stacked":
        right = np.concatenate([densities.coulomb, densities.external[:, None]], axis=1)
        return np.linalg.lstsq(np.concatenate([w, v[None]]), right.T, rcond=None)[0].T
    if method == "coulomb":
        return np.linalg.solve(w, densities.coulomb.T).T
    if method == "coulomb+external":
        right = densities.coulomb + densities.external[:, None] * v
        return np.linalg.solve(w + v[:, None] * v, right.T).T
    if method != "overlap":
        raise InputError(f"There is no fit '{method}': choose one of {', '.join(get_args(FitMethod))}.")
    if densities.overlap is None:
        raise InputError("The fit 'overlap' needs the overlap of the basis with the density.")
    return np.linalg.solve(system.overlap, densities.overlap.T).T
