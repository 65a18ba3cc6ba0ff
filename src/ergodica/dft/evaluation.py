"""Errors of a functional on labelled conformers, each after its density was minimised."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.density import in_blocks
from ergodica.dft.gaussians.grid import GridOptions, make_grid
from ergodica.dft.labels.conformer import Conformer
from ergodica.dft.properties import dipole
from ergodica.dft.run import DensityOptions, OrbitalFree, minimize_density
from ergodica.elements import formula
from ergodica.errors import WorkFailed
from ergodica.units import BOHR, DEBYE, HARTREE, KCAL_PER_MOL

__all__ = ["FunctionalErrors", "evaluate_functional", "functional_errors"]


@dataclass(frozen=True)
class FunctionalErrors:
    """Against Kohn-Sham, over the conformers whose density converged.

    Attributes:
        conformers: how many were tried.
        converged: share of them whose density converged.
        steps: mean evaluations of the energy.
        energy_mae: of total energies, kcal/mol.
        energy_max: largest error, kcal/mol.
        relative_energy_mae: of energies less the mean of their composition, kcal/mol.
        mean_predictor_mae: of the mean Kohn-Sham energy of each composition here as the answer, kcal/mol.
        forces_mae: of components, kcal/mol/Å.
        forces_rms: root mean square of Kohn-Sham's components, kcal/mol/Å.
        density_l1: ∫|ρ - ρ_fit| with the fitted Kohn-Sham density, electrons.
        dipole_error: mean length of the difference, Debye.
        dipole_floor: the same of the fitted Kohn-Sham densities, Debye.
    """

    conformers: int
    converged: float
    steps: float
    energy_mae: float
    energy_max: float
    relative_energy_mae: float
    mean_predictor_mae: float
    forces_mae: float
    forces_rms: float
    density_l1: float
    dipole_error: float
    dipole_floor: float


def evaluate_functional(
    conformers: Sequence[Conformer], options: DensityOptions, report: Callable[[int], None] = lambda done: None
) -> FunctionalErrors:
    """Minimise every conformer's density and compare with its labels.

    Args:
        conformers: labelled.
        options: functional, start, when to stop.
        report: is told how many are done.

    Raises:
        InputError: as `minimize_density`.
        WorkFailed: no density converged.
    """
    return functional_errors(conformers, minimize_density([one.system for one in conformers], options, report))


def functional_errors(conformers: Sequence[Conformer], found: Sequence[OrbitalFree]) -> FunctionalErrors:
    """Errors of minimised densities.

    Args:
        conformers: labelled.
        found: the minimum of each.

    Raises:
        WorkFailed: no density converged.
    """
    steps, tried = float(np.mean([one.iterations for one in found])), len(found)
    pairs = [(one, other) for one, other in zip(found, conformers, strict=True) if one.converged]
    if not pairs:
        raise WorkFailed(f"None of {tried} densities converged: allow more --steps, or take another functional.")
    kcal = HARTREE / KCAL_PER_MOL
    kinds = [formula(one.system.numbers) for one, _ in pairs]
    reference = kcal * np.array([other.energy for _, other in pairs])
    error = kcal * np.array([one.energy for one, _ in pairs]) - reference
    pull = kcal / BOHR * np.concatenate([-other.gradient.ravel() for _, other in pairs])
    forces = np.concatenate([np.ravel(one.system.labels.forces) for one, _ in pairs]) / KCAL_PER_MOL  # type: ignore[arg-type]
    return FunctionalErrors(
        conformers=tried,
        converged=len(pairs) / tried,
        steps=steps,
        energy_mae=float(np.abs(error).mean()),
        energy_max=float(np.abs(error).max()),
        relative_energy_mae=float(np.abs(_less_means(error, kinds)).mean()),
        mean_predictor_mae=float(np.abs(_less_means(reference, kinds)).mean()),
        forces_mae=float(np.abs(forces - pull).mean()),
        forces_rms=float(np.sqrt(np.mean(pull**2))),
        density_l1=float(np.mean([_apart(one, other) for one, other in pairs])),
        dipole_error=float(np.mean([np.linalg.norm(one.dipole - other.dipole) for one, other in pairs])),
        dipole_floor=float(np.mean([_dipole_of_fit(other) for _, other in pairs])),
    )


def _less_means(values: Float[np.ndarray, " C"], kinds: Sequence[str]) -> Float[np.ndarray, " C"]:
    """Values less the mean of their kind."""
    kind = np.unique(kinds, return_inverse=True)[1]
    return values - (np.bincount(kind, values) / np.bincount(kind))[kind]


def _dipole_of_fit(one: Conformer) -> float:
    """How far the dipole of the fitted density is from that of the orbitals, Debye."""
    with jax.enable_x64(True):
        basis, places = DensityBasis.of(one.system.numbers), jnp.asarray(one.system.positions / BOHR)
        found = dipole(basis, places, jnp.asarray(one.densities.coefficients[0])) * (BOHR / DEBYE)
        return float(np.linalg.norm(found - one.dipole))


def _apart(one: OrbitalFree, other: Conformer) -> float:
    """∫|ρ - ρ_fit|, electrons."""
    with jax.enable_x64(True):
        difference = one.coefficients - other.densities.coefficients[0]
        basis = DensityBasis.of(one.system.numbers)
        return float(_absolute(basis, one.system.positions / BOHR, difference))


@partial(jax.jit, static_argnums=0)
def _absolute(
    basis: DensityBasis, positions: Float[Array, "N 3"], coefficients: Float[Array, " F"]
) -> Float[Array, ""]:
    grid = make_grid(basis, positions, GridOptions(40, 23))
    return jnp.sum(grid.weights * jnp.abs(in_blocks(basis, positions, coefficients, grid.points)[0]))
