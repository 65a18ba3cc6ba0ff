"""What follows from an elastic tensor alone: averages, stability, anisotropy, sound, Debye temperature."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import pi

import numpy as np
from jaxtyping import Float

from ergodica.properties.symmetry import ROOT
from ergodica.units import AMU_PER_A3_IN_G_PER_CM3, FS, GPA, HBAR, KB

__all__ = ["SOFT", "Moduli", "born_eigenvalues", "moduli", "youngs_modulus"]

SOFT = 1e-4
"""Share of the largest eigenvalue of a tensor below which one is zero but for noise."""


@dataclass(frozen=True)
class Moduli:
    """Properties of a polycrystal by Voigt's, Reuss' and Hill's averages (Hill, Proc. Phys. Soc. A 65, 349 (1952)).

    Attributes:
        bulk_voigt: GPa.
        bulk_reuss: GPa.
        bulk: Hill's mean of the two, GPa.
        shear_voigt: GPa.
        shear_reuss: GPa.
        shear: Hill's mean of the two, GPa.
        young: Young's modulus of Hill's averages, GPa.
        poisson: Poisson's ratio of Hill's averages.
        pugh: bulk over shear modulus; above 1.75 metals tend to be ductile.
        anisotropy: universal anisotropy index, 0 for an isotropic crystal (Ranganathan and Ostoja-Starzewski, Phys.
            Rev. Lett. 101, 055504 (2008)).
        density: g/cm³.
        sound_longitudinal: km/s.
        sound_transverse: km/s.
        sound_mean: Debye's mean, km/s.
        debye: Debye temperature of the elastic continuum, K (Anderson, J. Phys. Chem. Solids 24, 909 (1963)).
    """

    bulk_voigt: float
    bulk_reuss: float
    bulk: float
    shear_voigt: float
    shear_reuss: float
    shear: float
    young: float
    poisson: float
    pugh: float
    anisotropy: float
    density: float
    sound_longitudinal: float
    sound_transverse: float
    sound_mean: float
    debye: float

    def to_dict(self) -> dict[str, float]:
        """The figures with units in their names."""
        units = {"poisson": "", "pugh": "", "anisotropy": "", "density": "_g_per_cm3", "debye": "_temperature_K"}
        names = {"bulk": "bulk_modulus", "shear": "shear_modulus", "young": "young_modulus", "pugh": "pugh_ratio"}
        names |= {"poisson": "poisson_ratio", "anisotropy": "universal_anisotropy"}
        found = {}
        for key, value in asdict(self).items():
            unit = units.get(key, "_km_per_s" if key.startswith("sound") else "_GPa")
            found[names.get(key, key.replace("bulk_", "bulk_modulus_").replace("shear_", "shear_modulus_")) + unit] = (
                value
            )
        return found


def moduli(tensor: Float[np.ndarray, "6 6"], volume: float, masses: Float[np.ndarray, " N"]) -> Moduli:
    """Averages of an elastic tensor; NaN where the crystal does not resist some strain at all.

    Args:
        tensor: in Voigt's matrix form, GPa.
        volume: of the cell, Å³.
        masses: of its atoms, amu.
    """
    c = np.asarray(tensor, float)
    s = np.linalg.inv(c) if np.linalg.matrix_rank(c, SOFT * np.linalg.norm(c, 2)) == 6 else np.full((6, 6), np.nan)
    bulk_voigt = float(c[:3, :3].sum() / 9)
    bulk_reuss = float(1 / s[:3, :3].sum())
    axial, mixed = np.trace(c[:3, :3]), c[0, 1] + c[0, 2] + c[1, 2]
    shear_voigt = float((axial - mixed + 3 * np.trace(c[3:, 3:])) / 15)
    axial, mixed = np.trace(s[:3, :3]), s[0, 1] + s[0, 2] + s[1, 2]
    shear_reuss = float(15 / (4 * axial - 4 * mixed + 3 * np.trace(s[3:, 3:])))
    k, g = (bulk_voigt + bulk_reuss) / 2, (shear_voigt + shear_reuss) / 2
    density = float(np.sum(masses)) / volume
    with np.errstate(invalid="ignore", divide="ignore"):
        # √(GPa / (amu/Å³)) in Å/fs
        longitudinal, transverse = (float(np.sqrt(m * GPA / density)) * FS for m in (k + 4 * g / 3, g))
        mean = ((2 / np.float64(transverse) ** 3 + 1 / np.float64(longitudinal) ** 3) / 3) ** (-1 / 3)
        debye = HBAR / KB * float(mean) * (6 * pi**2 * len(masses) / volume) ** (1 / 3)
    return Moduli(
        bulk_voigt, bulk_reuss, k, shear_voigt, shear_reuss, g,
        young=9 * k * g / (3 * k + g),
        poisson=(3 * k - 2 * g) / (2 * (3 * k + g)),
        pugh=k / g,
        anisotropy=5 * shear_voigt / shear_reuss + bulk_voigt / bulk_reuss - 6,
        density=density * AMU_PER_A3_IN_G_PER_CM3,
        sound_longitudinal=100 * longitudinal,
        sound_transverse=100 * transverse,
        sound_mean=100 * float(mean),
        debye=debye,
    )  # fmt: skip


def born_eigenvalues(tensor: Float[np.ndarray, "6 6"]) -> Float[np.ndarray, " 6"]:
    """Eigenvalues of the tensor in Mandel's form, GPa, ascending: all positive where the crystal is stable."""
    return np.linalg.eigvalsh(np.asarray(tensor) * np.outer(ROOT, ROOT))


def youngs_modulus(tensor: Float[np.ndarray, "6 6"], directions: Float[np.ndarray, "D 3"]) -> Float[np.ndarray, " D"]:
    """Young's modulus along unit vectors, GPa: the inverse of the compliance s_ijkl n_i n_j n_k n_l."""
    x, y, z = np.asarray(directions).T
    load = np.array([x * x, y * y, z * z, y * z, x * z, x * y])
    return 1 / np.einsum("id,ij,jd->d", load, np.linalg.inv(tensor), load)
