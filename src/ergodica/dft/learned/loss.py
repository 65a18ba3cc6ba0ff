"""What the training of a functional minimises: errors of energy, gradient and curvature, sized by what they cost.

Random potentials have parts that no density answers to, so gradients are measured by the response of the density, which
the reference's curvature H gives: half the square of |H^(-1/2) δg| is about the energy that an error δg costs after the
density has been minimised, and an error δH of the curvature is |H^(-1/2) δH H^(-1/2)|, which is 1 where none is left.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dft.learned.atomic_reference import at_ground, mixed_shells
from ergodica.dft.learned.feed import DensityBatch, DensityTargets
from ergodica.dft.learned.functional import LearnedFunctional, network_energies
from ergodica.dft.learned.layout import Geometry, Layout, flattened, geometry, surroundings, tabulated
from ergodica.errors import InputError
from ergodica.nn.geometry import soft_norm
from ergodica.units import BOHR, DEBYE

__all__ = ["DensityLoss", "Errors", "ResponseMetric", "density_errors", "predicted"]

ROUNDED = 1e-6
"""Length of errors below which their norm is rounded off, Hartree."""
STEP = 5e-3
"""Length of the steps whose change of gradient tells of the curvature, √Hartree: a minimiser's last ones."""


@dataclass(frozen=True)
class DensityLoss:
    """Weighted sum of mean sizes of errors, all in Hartree (and Bohr).

    Attributes:
        energy: weight of the energy's error.
        gradient: weight of the size of the density gradient's error (√Hartree, see `ResponseMetric`).
        nuclear: weight of the norm of the error of an atom's nuclear gradient at the ground state.
        dipole: weight of the error of the dipole moment that the ground state's gradient leads to (first order, see
            `examples`), over the root of the polarisability: half its square is the energy that a field would need.
        curvature: weight of the largest error of the curvature at the ground state, in units of the curvature; for
            labels of second order.
    """

    energy: float = 1.0
    gradient: float = 1.0
    nuclear: float = 1.0
    dipole: float = 0.0
    curvature: float = 0.0

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0 or sum(astuple(self)) <= 0:
            raise InputError("[loss] weights must not be negative, and not all 0.")


class Errors(NamedTuple):
    """Sums of errors over a batch and what to divide them by; Hartree and Bohr."""

    loss: Float[Array, ""]
    energy: Float[Array, ""]
    ground_energy: Float[Array, ""]
    gradient: Float[Array, ""]
    ground_gradient: Float[Array, ""]
    nuclear: Float[Array, ""]
    ground_dipole: Float[Array, ""]
    curvature: Float[Array, ""]
    conformers: Float[Array, ""]
    batches: Float[Array, ""]

    def summary(self) -> dict[str, float]:
        """Means by name and unit."""
        count = float(self.conformers)
        return {
            "loss": float(self.loss) / max(float(self.batches), 1.0),
            "energy_mae_mHa": 1e3 * float(self.energy) / count,
            "ground_energy_mae_mHa": 1e3 * float(self.ground_energy) / count,
            "gradient_error_root_mHa": 1e3**0.5 * float(self.gradient) / count,
            "ground_gradient_error_root_mHa": 1e3**0.5 * float(self.ground_gradient) / count,
            "nuclear_gradient_error_mHa_per_Bohr": 1e3 * float(self.nuclear) / count,
            "ground_dipole_error_D": BOHR / DEBYE * float(self.ground_dipole) / count,
            "curvature_error": float(self.curvature) / count,
        }


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ResponseMetric:
    """Sizes of gradients by what the density answers to them.

    Attributes:
        root: H^(-1/2) by element and degree [E, L, K, K].
        layout: of the table.
    """

    root: Float[Array, "E L K K"]
    layout: Layout = field(metadata={"static": True})

    @classmethod
    def of(cls, curvature: Float[np.ndarray, "E L K K"], layout: Layout) -> ResponseMetric:
        """By a positive curvature, whose rows of absent shells stay zero."""
        values, vectors = np.linalg.eigh(curvature)
        roots = np.where(values > 1e-9, np.maximum(values, 1e-9) ** -0.5, 0.0)
        return cls(jnp.asarray(np.einsum("elik,elk,eljk->elij", vectors, roots, vectors), jnp.float32), layout)

    def answers(
        self, one: DensityBatch, normal: Float[Array, " F"], gradients: Float[Array, "S F"]
    ) -> Float[Array, "S N M K"]:
        """H^(-1/2) g in the table, less the part along the normal (∂N/∂q), to which no density answers."""

        def answer(flat: Float[Array, " F"]) -> Float[Array, "N M K"]:
            return mixed_shells(self.root, self.layout, one.species, tabulated(flat, one.index))

        along, found = answer(normal), jax.vmap(answer)(gradients)
        share = jnp.einsum("nmk,snmk->s", along, found) / jnp.sum(along**2)
        return found - share[:, None, None, None] * along

    def sizes(
        self, one: DensityBatch, normal: Float[Array, " F"], gradients: Float[Array, "S F"]
    ) -> Float[Array, " S"]:
        """|H^(-1/2) g| up to a multiple of the normal, √Hartree."""
        return soft_norm(self.answers(one, normal, gradients).reshape(len(gradients), -1), ROUNDED)

    def step(self, one: DensityBatch, unit: Float[Array, "N M K"]) -> Float[Array, " F"]:
        """The move of the density as long as `STEP` to which an answer of length 1 belongs."""
        moved = mixed_shells(self.root, self.layout, one.species, STEP * unit)
        return flattened(moved, one.index, one.natural.shape[1])


def _unit(answer: Float[Array, "N M K"]) -> Float[Array, "N M K"]:
    """An answer made as long as 1, or 0."""
    return answer * jax.lax.rsqrt(jnp.sum(answer**2) + ROUNDED**2)


def density_errors(
    functional: LearnedFunctional,
    metric: ResponseMetric,
    weights: DensityLoss,
    batch: DensityBatch,
    targets: DensityTargets,
) -> tuple[Float[Array, ""], Errors]:
    """Loss and errors of a batch."""
    energy, gradient, nuclear = jax.vmap(lambda one: predicted(functional, one))(batch)
    wrong = gradient - targets.gradient
    gradient_error = jax.vmap(metric.sizes)(batch, targets.normal, wrong)
    dipole_error = soft_norm(jnp.einsum("bf,bfi->bi", wrong[:, 0], targets.polarity), ROUNDED)
    nuclear_error = soft_norm(nuclear - targets.nuclear, ROUNDED) * batch.valid
    weight, atoms = targets.weight, batch.valid.sum(axis=1)
    size, by_nuclei = jnp.abs(energy - targets.energy), nuclear_error.sum(axis=1) / atoms
    of_energy, of_gradient = (jnp.mean(targets.share * one, axis=1) for one in (size, gradient_error))
    curved = jnp.zeros_like(by_nuclei)
    if batch.probe.shape[1]:
        curved = jax.vmap(lambda *one: _curvature_error(functional, metric, *one))(batch, targets)
    counted = (of_energy, of_gradient, by_nuclei, dipole_error / jnp.sqrt(targets.polarisability), curved)
    total = jnp.sum(weight * sum(w * one for w, one in zip(astuple(weights), counted, strict=True)))
    loss = total / jnp.maximum(weight.sum(), 1.0)
    errors = Errors(
        loss=loss,
        energy=jnp.sum(weight * size.mean(axis=1)),
        ground_energy=jnp.sum(weight * size[:, 0]),
        gradient=jnp.sum(weight * gradient_error.mean(axis=1)),
        ground_gradient=jnp.sum(weight * gradient_error[:, 0]),
        nuclear=jnp.sum(weight * by_nuclei),
        ground_dipole=jnp.sum(weight * dipole_error),
        curvature=jnp.sum(weight * curved),
        conformers=weight.sum(),
        batches=1.0 * (weight.sum() > 0),
    )
    return loss, errors


def _curvature_error(
    functional: LearnedFunctional, metric: ResponseMetric, one: DensityBatch, target: DensityTargets
) -> Float[Array, ""]:
    """About the largest error of the curvature D at a ground state, in the metric of the reference's.

    One direction of hundreds along which the energy falls weighs next to nothing in the errors of moved densities, but
    a minimiser finds it. So do two steps of the power method: the gradient's error after a random step says where the
    curvature is most wrong. D (D - 1) grows where it is too low, which matters, and not where it is too high by less
    than 1.
    """
    slope, first = partial(jax.grad(_energy, 2), functional, one), one.natural[0]
    nuclei = _seen(functional, one, one.positions)
    ground = slope(first, nuclei)

    def answer(step: Float[Array, " F"]) -> Float[Array, "N M K"]:
        error = slope(first + step, nuclei) - ground - target.curvature @ step
        return metric.answers(one, target.normal, error[None])[0]

    error = _unit(answer(STEP * one.probe))
    lower = answer(metric.step(one, error)) / STEP - error
    steepest = jax.lax.stop_gradient(metric.step(one, _unit(lower)))
    return soft_norm(answer(steepest).ravel(), ROUNDED) / STEP


_Nuclei = tuple[Geometry, Array, Array]


def _seen(functional: LearnedFunctional, one: DensityBatch, positions: Float[Array, "N 3"]) -> _Nuclei:
    """Geometry, surroundings, and the coefficients that the reference expects."""
    layout, radial = functional.config.layout, functional.config.network.radial
    place = geometry(layout, radial, one.species, one.valid, positions)
    around = surroundings(layout, place)
    return place, around, at_ground(functional.reference.coefficients, layout, one.species, around)


def _energy(
    functional: LearnedFunctional, one: DensityBatch, natural: Float[Array, " F"], nuclei: _Nuclei
) -> Float[Array, ""]:
    """The network's energy of a density of a conformer."""
    place, around, ground = nuclei
    return jnp.sum(network_energies(functional, place, around, tabulated(natural, one.index) - ground))


def predicted(
    functional: LearnedFunctional, one: DensityBatch
) -> tuple[Float[Array, " S"], Float[Array, "S F"], Float[Array, "N 3"]]:
    """The network's energies and gradients ∂E/∂q of a conformer's densities, and ∂E/∂R of the first at fixed p."""
    energy = partial(_energy, functional, one)
    first = jax.value_and_grad(lambda q, places: energy(q, _seen(functional, one, places)), argnums=(0, 1))
    value, (slope, pull) = first(one.natural[0], one.positions)
    nuclei = _seen(functional, one, one.positions)
    values, slopes = jax.vmap(jax.value_and_grad(energy), (0, None))(one.natural[1:], nuclei)
    energies, gradients = jnp.append(value, values), jnp.concatenate([slope[None], slopes])
    return energies, gradients, pull + jnp.einsum("f,fni->ni", slope, one.jacobian)
