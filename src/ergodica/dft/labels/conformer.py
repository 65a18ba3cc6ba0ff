"""Labels for functionals of the density: coefficients, energies and their gradients, from Kohn-Sham orbitals.

Orbitals that fill the lowest states of a potential V minimise T_S + ∫ρV, so their kinetic energy is that of the exact
functional and its gradient is -V, up to a constant. Any potential will do, self-consistent or not: one diagonalisation
gives one label. Those here are

    F = F_KS + λ (F_MINAO - F_KS) + Σ_μ c_μ ω_μ(r)

with the Kohn-Sham matrix at the ground state, that at PySCF's starting density and random coefficients c; the first
label is the ground state. (Perturbed Kohn-Sham matrices are the idea of Remme et al., J. Am. Chem. Soc. 147, 28851
(2025); they put them into the iterations.) In the density basis the potential is v + W p + v_xc(p) at the fitted
densities plus S c. Energies that are exact at p are taken off the Kohn-Sham energy, so that the kinetic energy absorbs
the error of the fit and E[p] is Kohn-Sham's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.labels.fitting import FitMethod, Kept
from ergodica.dft.labels.integrals import Integrals
from ergodica.dft.labels.orbital_energies import energies_of_orbitals, semilocal_energies
from ergodica.dft.labels.reference import FITTED, kohn_sham_solver, solve
from ergodica.dft.labels.second_order import SecondOrder, orbital_response, xc_curvature
from ergodica.errors import InputError, WorkFailed
from ergodica.system import Labels, System
from ergodica.units import BOHR, HARTREE

__all__ = [
    "Conformer",
    "DensityLabels",
    "LabelOptions",
    "Perturbation",
    "label_conformer",
    "label_densities",
    "perturbations",
]


FINEST = 9
"""Level of PySCF's finest grid."""


@dataclass(frozen=True)
class LabelOptions:
    """How a conformer is labelled.

    Attributes:
        count: labels a conformer beside the ground state.
        weakest: least standard deviation of the random coefficients c, Hartree; they grow geometrically.
        strongest: the largest.
        mixing: λ of every second label is drawn from -mixing ... mixing, the others have none.
        fit: how densities are fitted.
        grid_level: of PySCF's grid.
        seed: of the random potentials.
        keep: what fits have exactly.
        curvature: whether there are second derivatives of the ground state, too.

    Raises:
        InputError: a number makes no sense.
    """

    count: int = 20
    weakest: float = 0.005
    strongest: float = 0.1
    mixing: float = 0.4
    fit: FitMethod = "stacked"
    grid_level: int = 2
    seed: int = 0
    keep: Kept = "dipole"
    curvature: bool = True

    def __post_init__(self) -> None:
        if self.count < 0 or not 0 < self.weakest <= self.strongest or self.mixing < 0:
            raise InputError("Labels need count >= 0, 0 < weakest <= strongest and mixing >= 0.")
        if not 0 <= self.grid_level <= FINEST:
            raise InputError(f"PySCF has grids of levels 0 to {FINEST}, none of level {self.grid_level}.")


@dataclass(frozen=True)
class Perturbation:
    """One potential: λ and c."""

    mixing: float
    coefficients: Float[np.ndarray, " F"]


@dataclass(frozen=True)
class DensityLabels:
    """L densities of a conformer, the first one the ground state.

    Energies are in Hartree, gradients ∂E/∂p at p, that of the kinetic energy up to a multiple of the charges w.

    Attributes:
        coefficients: p [L, F], each with exactly the electrons and, as a rule, the dipole moment of the orbitals.
        kinetic: T_S less what the fit of the density changes in all other energies [L].
        kinetic_gradient: its gradient [L, F].
        xc: exchange-correlation energy of p [L].
        xc_gradient: its gradient [L, F].
        apbe: classical kinetic energy of p, for targets that are differences to it [L].
        apbe_gradient: its gradient [L, F].
        orbital_kinetic: T_S of the orbitals as it is [L].
        perturbation: λ and the root mean square of c [L, 2].
    """

    coefficients: Float[np.ndarray, "L F"]
    kinetic: Float[np.ndarray, " L"]
    kinetic_gradient: Float[np.ndarray, "L F"]
    xc: Float[np.ndarray, " L"]
    xc_gradient: Float[np.ndarray, "L F"]
    apbe: Float[np.ndarray, " L"]
    apbe_gradient: Float[np.ndarray, "L F"]
    orbital_kinetic: Float[np.ndarray, " L"]
    perturbation: Float[np.ndarray, "L 2"]


@dataclass(frozen=True)
class Conformer:
    """A molecule with its labels.

    Attributes:
        system: the molecule; its labels are Kohn-Sham's energy (eV) and forces (eV/Å).
        dipole: Kohn-Sham's, Debye [3].
        densities: labels of densities.
        second: second derivatives of the ground state, where there are.
    """

    system: System
    dipole: Float[np.ndarray, " 3"]
    densities: DensityLabels
    second: SecondOrder | None = None

    @property
    def energy(self) -> float:
        """Kohn-Sham's total energy, Hartree."""
        assert self.system.labels.energy is not None
        return self.system.labels.energy / HARTREE

    @property
    def gradient(self) -> Float[np.ndarray, "N 3"]:
        """Kohn-Sham's nuclear gradient, Hartree/Bohr."""
        assert self.system.labels.forces is not None
        return -self.system.labels.forces * (BOHR / HARTREE)


def perturbations(basis: DensityBasis, options: LabelOptions, seed: int) -> list[Perturbation]:
    """The potentials of a conformer; the first is none."""
    random = np.random.default_rng([options.seed, seed])
    strengths = np.geomspace(options.weakest, options.strongest, max(options.count, 1))
    found = [Perturbation(0.0, np.zeros(basis.size))]
    for number in range(options.count):
        mixing = random.uniform(-options.mixing, options.mixing) if number % 2 else 0.0
        found.append(Perturbation(mixing, strengths[number] * random.normal(size=basis.size)))
    return found


def label_conformer(system: System, options: LabelOptions, seed: int = 0) -> Conformer:
    """Solve the Kohn-Sham equations of a molecule and label densities around the solution.

    Args:
        system: closed-shell molecule.
        options: how many, how far away.
        seed: of this conformer's random potentials.

    Raises:
        InputError: PySCF is missing, the molecule is not closed-shell, or a basis lacks an element.
        WorkFailed: the Kohn-Sham equations did not converge.
    """
    basis = DensityBasis.of(system.numbers)
    solver = kohn_sham_solver(system, "pbe", options.grid_level)
    energy = solve(solver)
    if not solver.converged:
        raise WorkFailed(f"{system.name}: the Kohn-Sham equations did not converge in {solver.max_cycle} cycles.")
    gradient = nuclear_gradient(solver)
    labels = Labels(energy * HARTREE, -gradient * (HARTREE / BOHR), level_of_theory="PBE/6-31G(2df,p)")
    integrals = Integrals.of(solver.mol, basis)
    densities = label_densities(solver, integrals, perturbations(basis, options, seed), options.fit, options.keep)
    second = _second_derivatives(solver, integrals, densities.coefficients[0]) if options.curvature else None
    return Conformer(replace(system, labels=labels), np.asarray(solver.dip_moment(verbose=0)), densities, second)


def nuclear_gradient(solver: Any) -> Float[np.ndarray, "N 3"]:
    """Kohn-Sham's nuclear gradient with a fitted Coulomb energy, Hartree/Bohr.

    Four-centre derivatives take a third of the time of a conformer; the fit errs by 1e-5 Hartree/Bohr at most.

    Args:
        solver: PySCF's, converged.
    """
    fitted = solver.density_fit(auxbasis=FITTED)
    return np.asarray(fitted.nuc_grad_method().set(grid_response=True).kernel())


def label_densities(
    solver: Any,
    integrals: Integrals,
    perturbed: list[Perturbation],
    fit: FitMethod = "stacked",
    keep: Kept | None = "dipole",
) -> DensityLabels:
    """Labels by one diagonalisation each.

    Args:
        solver: PySCF's, converged.
        integrals: of its molecule.
        perturbed: the potentials.
        fit: how densities are fitted.
        keep: what fits have exactly; None leaves them as they are.
    """
    ends = (solver.make_rdm1(), solver.get_init_guess(key="minao"))
    mixed = integrals.orbital_moments[0] @ solver.mo_coeff
    ground = (mixed * solver.mo_energy) @ mixed.T  # whose states the orbitals are
    away = solver.get_hcore() + solver.get_veff(dm=ends[1]) - ground
    matrices = [ground + one.mixing * away + integrals.potential(one.coefficients) for one in perturbed]
    orbitals = [_occupied(matrix, integrals.orbital_moments[0], solver.mol.nelectron) for matrix in matrices]
    found = energies_of_orbitals(solver, orbitals)
    p = integrals.fit([*(2 * c @ c.T for c in orbitals), *ends], fit, keep)
    xc, xc_gradient, apbe, apbe_gradient = semilocal_energies(solver, integrals.density, p)
    hartree = p @ integrals.system.coulomb
    at_ground, at_start = (hartree + xc_gradient + integrals.system.external)[-2:]
    potential = [
        at_ground + one.mixing * (at_start - at_ground) + integrals.system.overlap @ one.coefficients
        for one in perturbed
    ]
    electrostatic = 0.5 * np.sum(p * hartree, axis=1) + p @ integrals.system.external
    return DensityLabels(
        coefficients=p[:-2],
        kinetic=found.electronic - (electrostatic + xc)[:-2],
        kinetic_gradient=-np.stack(potential),
        xc=xc[:-2],
        xc_gradient=xc_gradient[:-2],
        apbe=apbe[:-2],
        apbe_gradient=apbe_gradient[:-2],
        orbital_kinetic=found.kinetic,
        perturbation=np.array([(one.mixing, np.sqrt(np.mean(one.coefficients**2))) for one in perturbed]),
    )


def _second_derivatives(solver: Any, integrals: Integrals, ground: Float[np.ndarray, " F"]) -> SecondOrder:
    response = orbital_response(solver, integrals.repulsion, integrals.system.coulomb)
    return SecondOrder(response, xc_curvature(solver, integrals.density, ground))


def _occupied(matrix: np.ndarray, overlap: np.ndarray, electrons: int) -> Float[np.ndarray, "A O"]:
    """Orbitals that fill the lowest states of a potential."""
    from scipy.linalg import eigh

    return eigh(matrix, overlap, subset_by_index=(0, electrons // 2 - 1))[1]
