"""Training of functionals with the one loop of the package: what is minimised, and the task the loop is given."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dft.labels.conformer import Conformer
from ergodica.dft.learned.astray import minima
from ergodica.dft.learned.atomic_reference import at_ground, mixed_shells
from ergodica.dft.learned.examples import Example, examples, fit_reference, less_reference
from ergodica.dft.learned.feed import DensityBatch, DensityTargets, ExampleFeed
from ergodica.dft.learned.functional import (
    FunctionalConfig,
    LearnedFunctional,
    Target,
    fresh_functional,
    load_functional,
    network_energies,
    save_functional,
)
from ergodica.dft.learned.layout import geometry, surroundings, tabulated
from ergodica.dft.learned.network import NetworkConfig
from ergodica.elements import formula, symbols_of
from ergodica.errors import InputError
from ergodica.nn.geometry import soft_norm
from ergodica.training.loop import Outcome, run_task
from ergodica.training.options import TaskOptions
from ergodica.units import BOHR, DEBYE

__all__ = ["KIND", "FunctionalTask", "FunctionalTraining", "train_functional"]

ROUNDED = 1e-6
"""Length of errors below which their norm is rounded off, Hartree."""


@dataclass(frozen=True)
class DensityData:
    """Where the labels are.

    Attributes:
        train: label files, each optionally with a selection ("water.h5@0:200").
        validation: files for choosing the best step.
        densities: labels of a conformer in a batch, the ground state among them.
        noise: standard deviation of random moves of densities, √Hartree (see `ExampleFeed`).
        focus: distance from the ground state at which a density counts half, √Hartree; 0 counts all alike.
    """

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    densities: int = 6
    noise: float = 0.003
    focus: float = 0.0

    def __post_init__(self) -> None:
        if min(self.densities, self.noise, self.focus) < 0:
            raise InputError("[data] densities, noise and focus must not be negative.")


@dataclass(frozen=True)
class DensityLoss:
    """Weighted sum of mean sizes of errors, all in Hartree (and Bohr).

    Attributes:
        energy: weight of the energy's error.
        gradient: weight of the size of the density gradient's error (√Hartree, see `FunctionalTask`).
        nuclear: weight of the norm of the error of an atom's nuclear gradient at the ground state.
        dipole: weight of the error of the dipole moment that the ground state's gradient leads to (first order, see
            `examples`), over the root of the polarisability: half its square is the energy that a field would need.
    """

    energy: float = 1.0
    gradient: float = 1.0
    nuclear: float = 1.0
    dipole: float = 0.0

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0 or sum(astuple(self)) <= 0:
            raise InputError("[loss] energy, gradient, nuclear and dipole must not be negative, and not all 0.")


@dataclass(frozen=True)
class DensityStart:
    """Start from a trained functional instead of from random parameters.

    Attributes:
        model: name or file; empty for a fresh start. Its reference is kept, and its target.
        astray: minimise the training conformers with it, and learn where that leads what it should have been, too; for
            labels of second order.
    """

    model: str = ""
    astray: bool = False


@dataclass(frozen=True, kw_only=True)
class FunctionalTraining(TaskOptions):
    """Everything that defines the training of a functional.

    Attributes:
        model: architecture; that of the start if there is one.
        target: what is learnt.
        general: it is for molecules of any composition of its elements, not only those it learns from.
        data: labels.
        loss: what is minimised.
        start: functional to go on from.
    """

    model: NetworkConfig = field(default_factory=NetworkConfig)
    target: Target = "T_S+E_XC"
    general: bool = False
    data: DensityData = field(default_factory=DensityData)
    loss: DensityLoss = field(default_factory=DensityLoss)
    start: DensityStart = field(default_factory=DensityStart)
    output: str = "runs/functional"

    def defining(self) -> dict[str, Any]:
        """What must not change between the parts of one run."""
        record = super().defining()
        if not self.start.model:  # checkpoints of before there were starts go on
            record.pop("start")
        elif not self.start.astray:  # nor was there this
            record["start"].pop("astray")
        return record


KIND = "density-functional"


def train_functional(
    config: FunctionalTraining,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Outcome:
    """Train a functional; arguments and errors are those of `ergodica.training.train`."""

    def make() -> FunctionalTask:
        sets = [_read(files) for files in (config.data.train, config.data.validation)]
        return FunctionalTask(config, *sets)

    return run_task(make, config.output, resume, overwrite, report)


def _read(files: Sequence[str]) -> list[Conformer]:
    from ergodica.dft.labels.file import read_labels

    return [conformer for file in files for conformer in read_labels(file)]


class Errors(NamedTuple):
    """Sums of errors over a batch and what to divide them by; Hartree and Bohr."""

    loss: Float[Array, ""]
    energy: Float[Array, ""]
    ground_energy: Float[Array, ""]
    gradient: Float[Array, ""]
    ground_gradient: Float[Array, ""]
    nuclear: Float[Array, ""]
    ground_dipole: Float[Array, ""]
    conformers: Float[Array, ""]
    batches: Float[Array, ""]


class FunctionalTask:
    """A functional and its labelled conformers.

    Args:
        config: what to do.
        train: conformers to learn from.
        validation: conformers to choose the best step by.

    Raises:
        InputError: there are no conformers, or those of the validation have elements that the others lack.
    """

    members = 0

    def __init__(self, config: FunctionalTraining, train: Sequence[Conformer], validation: Sequence[Conformer]) -> None:
        if not train or not validation:
            raise InputError("A functional needs labels to train on and to validate: set [data] train and validation.")
        if all(len(one.densities.kinetic) < 2 for one in train):
            raise InputError("The training labels are ground states alone: label more densities of each (--count).")
        self.config, self.fingerprint = config, _fingerprint([*train, *validation])
        start = load_functional(config.start.model)[0] if config.start.model else None
        functional = _begun(config, train, validation, start)
        fitted, checked = (examples(part, functional, _led(config.start, part)) for part in (train, validation))
        reference = start.reference if start else fit_reference(fitted, functional)
        self.fitted, self.checked = (less_reference(part, reference, functional) for part in (fitted, checked))
        if start is None:
            fresh = fresh_functional(functional, jax.random.key(config.run.seed))
            start = replace(fresh, reference=reference, scale=jnp.asarray(_scale(self.fitted)))
        self.functional = replace(start, config=functional)
        self.root_response = jnp.asarray(_inverse_roots(np.asarray(reference.curvature)), jnp.float32)
        self.params = jax.tree.map(np.asarray, self.functional.network)
        self.trainable = jax.tree.map(lambda _: 1.0, self.params)
        self.single = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), self.functional)
        self._heights = jax.jit(self._height)

    def loaders(self, devices: int) -> tuple[ExampleFeed, ExampleFeed]:
        """Batches to train on and to validate with."""
        run, data = self.config.run, self.config.data
        shape = (run.batch_size, data.densities, run.steps_per_call)
        training = ExampleFeed(self.fitted, *shape, devices, data.noise, data.focus)
        known = all(one.curvature is not None for one in self.checked)
        return training, ExampleFeed(self.checked, *shape, noise=data.noise if known else 0.0, focus=data.focus)

    def loss(self, params: Any, batch: DensityBatch, targets: DensityTargets, *_: Array) -> tuple[Array, Errors]:
        """Loss and errors of a batch."""
        functional = replace(self.single, network=params)
        energy, gradient, nuclear = jax.vmap(lambda one: _predicted(functional, one))(batch)
        gradient_error = jax.vmap(self._gradient_error)(batch, targets.normal, gradient - targets.gradient)
        moved = jnp.einsum("bf,bfi->bi", (gradient - targets.gradient)[:, 0], targets.polarity)
        dipole_error = soft_norm(moved, ROUNDED)
        nuclear_error = soft_norm(nuclear - targets.nuclear, ROUNDED) * batch.valid
        weight, atoms = targets.weight, batch.valid.sum(axis=1)
        size, by_nuclei = jnp.abs(energy - targets.energy), nuclear_error.sum(axis=1) / atoms
        of_energy, of_gradient = (jnp.mean(targets.share * one, axis=1) for one in (size, gradient_error))
        counted = (of_energy, of_gradient, by_nuclei, dipole_error / jnp.sqrt(targets.polarisability))
        weights = astuple(self.config.loss)
        total = jnp.sum(weight * sum(w * one for w, one in zip(weights, counted, strict=True)))
        loss = total / jnp.maximum(weight.sum(), 1.0)
        errors = Errors(
            loss=loss,
            energy=jnp.sum(weight * size.mean(axis=1)),
            ground_energy=jnp.sum(weight * size[:, 0]),
            gradient=jnp.sum(weight * gradient_error.mean(axis=1)),
            ground_gradient=jnp.sum(weight * gradient_error[:, 0]),
            nuclear=jnp.sum(weight * by_nuclei),
            ground_dipole=jnp.sum(weight * dipole_error),
            conformers=weight.sum(),
            batches=1.0 * (weight.sum() > 0),
        )
        return loss, errors

    def _gradient_error(
        self, one: DensityBatch, normal: Float[Array, " F"], errors: Float[Array, "S F"]
    ) -> Float[Array, " S"]:
        """Size of errors of the gradient, up to a multiple of the normal, in the metric of the response H⁻¹ (√Hartree).

        Half its square is about the energy that the error costs after the density has been minimised.
        """
        layout = self.functional.config.layout

        def answer(flat: Float[Array, " F"]) -> Float[Array, "N M K"]:
            return mixed_shells(self.root_response, layout, one.species, tabulated(flat, one.index))

        along, errors = answer(normal), jax.vmap(answer)(errors)
        share = jnp.einsum("nmk,snmk->s", along, errors) / jnp.sum(along**2)
        return soft_norm((errors - share[:, None, None, None] * along).reshape(len(errors), -1), ROUNDED)

    def summary(self, errors: Errors) -> dict[str, float]:
        """Means of summed errors by name and unit."""
        count = float(errors.conformers)
        return {
            "loss": float(errors.loss) / max(float(errors.batches), 1.0),
            "energy_mae_mHa": 1e3 * float(errors.energy) / count,
            "ground_energy_mae_mHa": 1e3 * float(errors.ground_energy) / count,
            "gradient_error_root_mHa": 1e3**0.5 * float(errors.gradient) / count,
            "ground_gradient_error_root_mHa": 1e3**0.5 * float(errors.ground_gradient) / count,
            "nuclear_gradient_error_mHa_per_Bohr": 1e3 * float(errors.nuclear) / count,
            "ground_dipole_error_D": BOHR / DEBYE * float(errors.ground_dipole) / count,
        }

    def save(self, path: Path, params: Any, errors: dict[str, float]) -> None:
        """Write the functional with its card, its energies levelled."""
        info, reference = self.config.info, self.functional.reference
        card = replace(info, elements=self.functional.config.elements, errors={**info.errors, **errors})
        constants = jnp.asarray(reference.energy).at[:, -1].add(-self._excess(params))
        levelled = replace(reference, energy=constants)
        save_functional(path, replace(self.functional, network=params, reference=levelled), card)

    def _excess(self, params: Any) -> Float[np.ndarray, " E"]:
        """Energy by which minima of the conformers to validate with are too high, as a sum over their atoms, Hartree.

        That a minimum lies below the energy of the right density is foreseen: by half of δg·A⁻¹ δg, with δg the
        gradient that should be zero and A the curvature of the whole energy, or of the reference where it isn't known.
        """
        feed = ExampleFeed(self.checked, 1, 1, 1)
        counts, above = [], []
        for number, one in enumerate(self.checked):
            batch, targets = feed.row(number)
            height, wrong, fall = jax.device_get(self._heights(params, batch, targets))
            if one.spread is not None:
                fall = 0.5 * np.sum((wrong[: len(one.normal)] @ one.spread) ** 2)
            counts.append(np.bincount(one.species, minlength=len(self.functional.config.elements)))
            above.append(float(height - fall))
        rows = np.array(counts, float)
        return np.linalg.solve(rows.T @ rows + np.eye(rows.shape[1]), rows.T @ np.array(above))

    def _height(self, params: Any, one: DensityBatch, targets: DensityTargets) -> tuple[Array, Array, Array]:
        """Errors of a ground state's energy and gradient, and by how much the latter lowers the minimum."""
        energy, gradient, _ = _predicted(replace(self.single, network=params), one)
        wrong = gradient - targets.gradient
        fall = 0.5 * self._gradient_error(one, targets.normal, wrong)[0] ** 2
        return (energy - targets.energy)[0], wrong[0], fall

    def load(self, path: Path) -> Any:
        """Parameters out of a model file."""
        return load_functional(path)[0].network


def _led(start: DensityStart, conformers: Sequence[Conformer]) -> list[Float[np.ndarray, " F"]]:
    """Coefficients p at which the start ends, if that is to be learnt from."""
    if start.astray and not start.model:
        raise InputError("[start] astray asks another functional: name it as [start] model.")
    return minima(load_functional(start.model)[0], conformers) if start.astray else []


def _begun(
    config: FunctionalTraining,
    train: Sequence[Conformer],
    validation: Sequence[Conformer],
    start: LearnedFunctional | None,
) -> FunctionalConfig:
    """What is trained: the start's elements, target and network if there is one, for the compositions trained on."""
    elements, others = ({int(z) for one in part for z in one.system.numbers} for part in (train, validation))
    if others - elements:
        raise InputError(f"No training conformer holds {symbols_of(others - elements)[0]}, one to validate does.")
    formulas = () if config.general else tuple(sorted({formula(one.system.numbers) for one in train}))
    if start is None:
        return FunctionalConfig(symbols_of(elements), config.target, config.model, formulas)
    unknown = sorted(set(symbols_of(elements)) - set(start.config.elements))
    if unknown:
        raise InputError(f"'{config.start.model}' was not trained on {unknown[0]}: leave it out, or start afresh.")
    return replace(start.config, formulas=formulas)


def _predicted(
    functional: LearnedFunctional, one: DensityBatch
) -> tuple[Float[Array, " S"], Float[Array, "S F"], Float[Array, "N 3"]]:
    """The network's energies and gradients ∂E/∂q of a conformer's densities, and ∂E/∂R of the first at fixed p."""
    layout, radial = functional.config.layout, functional.config.network.radial

    def seen(positions: Float[Array, "N 3"]) -> Any:
        place = geometry(layout, radial, one.species, one.valid, positions)
        around = surroundings(layout, place)
        return place, around, at_ground(functional.reference.coefficients, layout, one.species, around)

    def energy(natural: Float[Array, " F"], nuclei: Any) -> Float[Array, ""]:
        place, around, ground = nuclei
        away = tabulated(natural, one.index) - ground
        return jnp.sum(network_energies(functional, place, around, away))

    first = jax.value_and_grad(lambda q, places: energy(q, seen(places)), argnums=(0, 1))
    value, (slope, pull) = first(one.natural[0], one.positions)
    values, slopes = jax.vmap(jax.value_and_grad(energy), (0, None))(one.natural[1:], seen(one.positions))
    energies, gradients = jnp.append(value, values), jnp.concatenate([slope[None], slopes])
    return energies, gradients, pull + jnp.einsum("f,fni->ni", slope, one.jacobian)


def _inverse_roots(matrices: Float[np.ndarray, "E L K K"]) -> Float[np.ndarray, "E L K K"]:
    """Of symmetric matrices, whose rows of absent shells stay zero."""
    values, vectors = np.linalg.eigh(matrices)
    roots = np.where(values > 1e-9, np.maximum(values, 1e-9) ** -0.5, 0.0)
    return np.einsum("elik,elk,eljk->elij", vectors, roots, vectors)


def _scale(fitted: Sequence[Example]) -> float:
    """Energies by which labels differ for what gradients are left: these ask more of the network than energies do."""
    shares = [np.mean(np.abs(((one.natural - one.natural[0]) * one.gradient).sum(axis=1))) for one in fitted]
    return float(np.mean(shares))


def _fingerprint(conformers: Sequence[Conformer]) -> str:
    """A hash of all conformers and labels."""
    found = hashlib.sha256()
    for one in conformers:
        second = () if one.second is None else vars(one.second).values()
        for value in (one.system.numbers, one.system.positions, one.gradient, *vars(one.densities).values(), *second):
            found.update(np.ascontiguousarray(value).tobytes())
    return found.hexdigest()
