"""Energies as functionals of the density: one interface, and the classical semilocal functionals.

A functional is a frozen value with a method `terms`: coefficients and a molecule in, energies by name out. Those here
are ∫ e(ρ, σ) d³r with σ = |∇ρ|², for densities without spin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi
from typing import ClassVar, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.dft.gaussians.density import in_blocks
from ergodica.dft.molecule import Molecule, electrostatics
from ergodica.errors import InputError

__all__ = ["ENERGY_DENSITIES", "KINETIC", "XC", "Functional", "Semilocal", "energy", "energy_terms"]

THINNEST = 1e-12
"""Density below which space counts as empty, electrons/Bohr³."""


THIN = 1e-9
"""Density from which on 1/ρ is left to its tangent; a few 1e-7 electrons of a molecule are where it is thinner."""


STIFFNESS = 30.0
"""Largest curvatures in natural coordinates, Hartree."""


class Functional(Protocol):
    """What the density minimiser needs to know of kinetic, exchange and correlation energies; a pytree."""

    @property
    def on_grid(self) -> bool:
        """Whether it needs a grid."""
        ...

    def terms(self, coefficients: Float[Array, " F"], molecule: Molecule) -> dict[str, Float[Array, ""]]:
        """Energies by name ("kinetic", "xc", or both in one), Hartree."""
        ...

    def softness(self, molecule: Molecule) -> Callable[[Float[Array, " F"]], Float[Array, " F"]]:
        """A positive estimate of the inverse Hessian of the whole energy in natural coordinates, 1/Hartree."""
        ...


def energy_terms(
    coefficients: Float[Array, " F"], molecule: Molecule, functional: Functional
) -> dict[str, Float[Array, ""]]:
    """The terms of the total energy, Hartree: those of the functional and those of `electrostatics`."""
    return functional.terms(coefficients, molecule) | electrostatics(coefficients, molecule)


def energy(coefficients: Float[Array, " F"], molecule: Molecule, functional: Functional) -> Float[Array, ""]:
    """Total energy, Hartree."""
    return sum(energy_terms(coefficients, molecule, functional).values(), jnp.zeros((), coefficients.dtype))


# ---------------------------------------------------------------------------------------------------- energy densities

Density = Float[Array, "*p"]


def _reduced_square(rho: Density, sigma: Density) -> Density:
    """s² = σ / (4 (3π²)^(2/3) ρ^(8/3))."""
    return sigma / (4 * (3 * pi**2) ** (2 / 3) * rho ** (8 / 3))


def _enhancement(rho: Density, sigma: Density, kappa: float, mu: float) -> Density:
    """F(s) = 1 + κ - κ / (1 + μs²/κ), the form of PBE (eq. 14 of Phys. Rev. Lett. 77, 3865 (1996))."""
    return 1 + kappa - kappa / (1 + mu * _reduced_square(rho, sigma) / kappa)


def thomas_fermi(rho: Density, sigma: Density) -> Density:
    """Kinetic energy of the uniform gas, 3/10 (3π²)^(2/3) ρ^(5/3)."""
    return 0.3 * (3 * pi**2) ** (2 / 3) * rho ** (5 / 3)


def von_weizsaecker(rho: Density, sigma: Density) -> Density:
    """Kinetic energy of one orbital, σ / 8ρ: exact for one and two electrons (Z. Phys. 96, 431 (1935)).

    It grows without limit towards ρ = 0, which keeps a density positive. On a grid a step could jump over that wall
    into a space without energy; here 1/ρ goes on along its tangent instead, so that the wall rises behind, too.
    """
    thick = rho > THIN
    return sigma / 8 * jnp.where(thick, 1 / jnp.where(thick, rho, 1.0), (2 - rho / THIN) / THIN)


def apbe_kinetic(rho: Density, sigma: Density) -> Density:
    """APBE kinetic energy: Constantin et al., Phys. Rev. Lett. 106, 186406 (2011): κ = 0.804, μ = 0.23889."""
    return thomas_fermi(rho, sigma) * _enhancement(rho, sigma, 0.804, 0.23889)


def slater_exchange(rho: Density, sigma: Density) -> Density:
    """Exchange of the uniform gas, -3/4 (3/π)^(1/3) ρ^(4/3)."""
    return -0.75 * (3 / pi) ** (1 / 3) * rho ** (4 / 3)


def _correlation_energy(rho: Density) -> Density:
    """ε_c(r_s) of Perdew and Wang, Phys. Rev. B 45, 13244 (1992), eq. 10, its A = 0.031091 as PBE has it."""
    rs = (3 / (4 * pi * rho)) ** (1 / 3)
    a, root = 0.0310907, jnp.sqrt(rs)
    series = root * (7.5957 + root * (3.5876 + root * (1.6382 + root * 0.49294)))
    return -2 * a * (1 + 0.2137 * rs) * jnp.log1p(1 / (2 * a * series))


def pw92_correlation(rho: Density, sigma: Density) -> Density:
    """Correlation of the uniform gas."""
    return rho * _correlation_energy(rho)


def pbe_exchange(rho: Density, sigma: Density) -> Density:
    """PBE exchange: Perdew, Burke and Ernzerhof, Phys. Rev. Lett. 77, 3865 (1996), κ = 0.804, μ = βπ²/3."""
    return slater_exchange(rho, sigma) * _enhancement(rho, sigma, 0.804, _BETA * pi**2 / 3)


def pbe_correlation(rho: Density, sigma: Density) -> Density:
    """PBE correlation, eqs. 7 and 8 of the same paper with φ = 1: ρ (ε_c + H)."""
    gamma, uniform = (1 - log(2)) / pi**2, _correlation_energy(rho)
    t2 = sigma * pi / (16 * (3 * pi**2 * rho) ** (1 / 3) * rho**2)
    a = _BETA / gamma / jnp.expm1(-uniform / gamma)
    inner = _BETA / gamma * t2 * (1 + a * t2) / (1 + a * t2 + (a * t2) ** 2)
    return rho * (uniform + gamma * jnp.log1p(inner))


_BETA = 0.06672455060314922

ENERGY_DENSITIES: dict[str, Callable[[Density, Density], Density]] = {
    "tf": thomas_fermi,
    "vw": von_weizsaecker,
    "apbe": apbe_kinetic,
    "slater": slater_exchange,
    "pw92": pw92_correlation,
    "pbe-x": pbe_exchange,
    "pbe-c": pbe_correlation,
}
"""Energy per volume, Hartree/Bohr³, of ρ and σ."""

Mixture = tuple[tuple[str, float], ...]

KINETIC: dict[str, Mixture] = {
    "tf": (("tf", 1.0),),
    "vw": (("vw", 1.0),),
    "tf+vw": (("tf", 1.0), ("vw", 1.0)),
    "tf+vw/5": (("tf", 1.0), ("vw", 1 / 5)),
    "tf+vw/9": (("tf", 1.0), ("vw", 1 / 9)),
    "apbe": (("apbe", 1.0),),
}
"""Kinetic functionals by name."""

XC: dict[str, Mixture] = {
    "none": (),
    "lda": (("slater", 1.0), ("pw92", 1.0)),
    "pbe": (("pbe-x", 1.0), ("pbe-c", 1.0)),
}
"""Exchange-correlation functionals by name."""


# --------------------------------------------------------------------------------------------------------- on the grid


def mixed(mixture: Mixture, rho: Density, sigma: Density, walled: bool = False) -> Density:
    """Energy per volume of several functionals; zero with zero derivatives where space is empty.

    `walled` is for minimisers: von Weizsäcker's energy goes on there. (A density that was fitted has places below zero;
    its energy is what the rest of space holds.)
    """
    dense = rho > THINNEST
    safe_rho, safe_sigma = jnp.where(dense, rho, 1.0), jnp.where(dense, sigma, 0.0)

    def energy(name: str) -> Density:
        if walled and name == "vw":
            return von_weizsaecker(rho, sigma)
        return jnp.where(dense, ENERGY_DENSITIES[name](safe_rho, safe_sigma), 0.0)

    return sum((weight * energy(name) for name, weight in mixture), jnp.zeros_like(rho))


@jax.tree_util.register_static
@dataclass(frozen=True)
class Semilocal:
    """Kinetic and exchange-correlation functionals of the density and its gradient.

    Attributes:
        kinetic: one of `KINETIC`.
        xc: one of `XC`.

    Raises:
        InputError: unknown name.
    """

    kinetic: str = "tf+vw/9"
    xc: str = "pbe"
    on_grid: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, known, kind in ((self.kinetic, KINETIC, "kinetic"), (self.xc, XC, "exchange-correlation")):
            if name not in known:
                raise InputError(f"There is no {kind} functional '{name}': choose one of {', '.join(known)}.")

    def terms(self, coefficients: Float[Array, " F"], molecule: Molecule) -> dict[str, Float[Array, ""]]:
        """Kinetic and exchange-correlation energy, Hartree."""
        grid = molecule.grid
        rho, gradient = in_blocks(molecule.basis, molecule.positions, coefficients, grid.points)
        sigma = jnp.sum(gradient**2, axis=-1)
        mixtures = {"kinetic": KINETIC[self.kinetic], "xc": XC[self.xc]}
        return {name: grid.weights @ mixed(mixture, rho, sigma, walled=True) for name, mixture in mixtures.items()}

    def softness(self, molecule: Molecule) -> Callable[[Float[Array, " F"]], Float[Array, " F"]]:
        """Nothing is known but the largest curvatures: the first step is a careful one."""
        return lambda gradient: gradient / STIFFNESS
