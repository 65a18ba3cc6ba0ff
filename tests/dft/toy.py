"""Conformers with made-up labels: a quadratic functional of the density, so that everything about it is known."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np

from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.integrals import charges
from ergodica.dft.labels.conformer import Conformer, DensityLabels
from ergodica.dft.labels.second_order import SecondOrder
from ergodica.dft.molecule import make_molecule
from ergodica.dft.run import OrbitalFree
from ergodica.dft.start import atomic_start
from ergodica.system import Labels, System
from ergodica.units import BOHR, HARTREE

prepared = jax.jit(make_molecule, static_argnums=0)


def conformers(count: int, labels: int = 4, numbers: tuple[int, ...] = (1, 1)) -> list[Conformer]:
    """Diatomic molecules of several lengths and directions; T + E_XC is half the square of q - q_SAD, and 1 - 1/R."""
    random, basis = np.random.default_rng(0), DensityBasis(numbers)
    with jax.enable_x64(True):
        return [_conformer(random, basis, labels) for _ in range(count)]


def _conformer(random: np.random.Generator, basis: DensityBasis, labels: int) -> Conformer:
    length, direction = random.uniform(0.7, 0.9), random.normal(size=3)
    positions = np.stack([np.zeros(3), length * direction / np.linalg.norm(direction)])
    molecule = jax.device_get(prepared(basis, positions / BOHR))
    first = atomic_start(basis, basis.electrons)
    root, inverse = molecule.natural[0].rows[0], molecule.natural[0].inverse_rows[0]
    normal = inverse @ charges(basis)
    move = 0.05 * random.normal(size=(labels, basis.size))
    move[0] = 0.0
    move -= np.outer(move @ normal, normal) / (normal @ normal)
    p = first + move @ inverse
    nothing = np.zeros(labels)
    densities = DensityLabels(
        coefficients=p,
        kinetic=1 - 1 / length + 0.5 * np.sum(move**2, axis=1),
        kinetic_gradient=move @ root,
        xc=nothing,
        xc_gradient=np.zeros_like(p),
        apbe=nothing,
        apbe_gradient=np.zeros_like(p),
        orbital_kinetic=nothing,
        perturbation=np.zeros((labels, 2)),
    )
    energy = Labels(float(densities.kinetic[0]) * HARTREE, np.zeros((2, 3)))
    second = SecondOrder(inverse @ inverse, np.zeros_like(inverse))
    return Conformer(System(np.array(basis.numbers), positions, labels=energy), np.zeros(3), densities, second)


def minimum(system: System, energy: float, converged: bool = True, extrapolated: bool = False) -> OrbitalFree:
    """What a minimisation might have found: an energy (Hartree), no forces, no density, no moments."""
    labels, nothing = (
        Labels(energy * HARTREE, np.zeros((len(system), 3))),
        np.zeros(DensityBasis.of(system.numbers).size),
    )
    found = replace(system, labels=labels), nothing, energy, {"kinetic+xc": energy}, converged, 3
    return OrbitalFree(*found, 0.0, 0.0, np.zeros(3), np.zeros((3, 3)), extrapolated)
