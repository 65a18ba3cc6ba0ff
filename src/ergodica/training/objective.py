"""What a training step minimises, and the step itself: pure functions of state and batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.nn.geometry import edge_vectors
from ergodica.potentials.ensemble import EnsembleConfig
from ergodica.potentials.potential import (
    Derivatives,
    ModelConfig,
    atom_energies,
    derivatives,
    derivatives_of_member,
)
from ergodica.potentials.property import PropertyConfig
from ergodica.system import Batch
from ergodica.training.data import Chunk, Targets
from ergodica.training.optimizer import LearningRate, make_transformation
from ergodica.training.options import LossOptions, OptimizerOptions

__all__ = [
    "Errors",
    "TrainState",
    "loss_and_errors",
    "make_chunk_step",
    "make_evaluate",
]


class Errors(NamedTuple):
    """Sums of absolute and squared errors over a batch and the counts to divide them by."""

    energy: Float[Array, ""]
    energy_per_atom: Float[Array, ""]
    energy_count: Float[Array, ""]
    forces: Float[Array, ""]
    forces_squared: Float[Array, ""]
    forces_count: Float[Array, ""]
    stress: Float[Array, ""]
    stress_count: Float[Array, ""]
    loss: Float[Array, ""]
    batches: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TrainState:
    """Everything a step changes.

    Attributes:
        params: parameters.
        optimizer: state of the optimiser.
        ema: moving average of the parameters.
        step: steps done.
        rate_factor: factor on the learning rate, lowered on plateaus.
    """

    params: Any
    optimizer: Any
    ema: Any
    step: Array
    rate_factor: Array


def penalty(error: Array, kind: str, delta: float) -> Array:
    """Loss of an error: its square, its size, or Huber's (quadratic below delta, slope 1 above)."""
    if kind == "mse":
        return error * error
    size = jnp.abs(error)
    if kind == "mae":
        return size
    return jnp.where(size < delta, 0.5 * error * error / delta, size - 0.5 * delta)


def _mean(values: Array, weight: Array) -> Array:
    weight = jnp.broadcast_to(weight.reshape(weight.shape + (1,) * (values.ndim - weight.ndim)), values.shape)
    return jnp.sum(values * weight) / jnp.maximum(jnp.sum(weight), 1.0)


def loss_and_errors(
    config: ModelConfig,
    scale: float,
    options: LossOptions,
    params: Any,
    batch: Batch,
    targets: Targets,
    member: Array | None = None,
) -> tuple[Array, Errors]:
    """Loss of one batch and its errors in physical units; of one member where its number is given."""
    if isinstance(config, PropertyConfig):
        energies = atom_energies(config, params, batch, edge_vectors(batch), recompute=False)
        output = Derivatives(energies, jnp.zeros_like(batch.positions), jnp.zeros_like(targets.stress))
    elif member is not None and isinstance(config, EnsembleConfig):
        output = derivatives_of_member(config, member, params, batch, recompute=False)
    else:
        output = derivatives(config, params, batch, recompute=False)
    energy = scale * jax.ops.segment_sum(output.energies, batch.system, batch.n_systems)
    energy_error = energy - targets.energy
    forces_error = scale * output.forces - targets.forces
    stress_error = scale * output.virial / targets.volume[:, None, None] - targets.stress
    per_atom = energy_error / targets.atoms
    terms = (
        (options.energy, per_atom, targets.has_energy, options.energy_delta),
        (options.forces, forces_error, targets.has_forces, options.forces_delta),
        (options.stress, stress_error, targets.has_stress, options.stress_delta),
    )
    loss = sum(
        (weight * _mean(penalty(error, options.kind, delta), mask) for weight, error, mask, delta in terms if weight),
        start=jnp.zeros(()),
    )
    forces_mask, stress_mask = targets.has_forces[:, None], targets.has_stress[:, None, None]
    return loss, Errors(
        energy=jnp.sum(jnp.abs(energy_error) * targets.has_energy),
        energy_per_atom=jnp.sum(jnp.abs(per_atom) * targets.has_energy),
        energy_count=targets.has_energy.sum(),
        forces=jnp.sum(jnp.abs(forces_error) * forces_mask),
        forces_squared=jnp.sum(forces_error**2 * forces_mask),
        forces_count=3 * targets.has_forces.sum(),
        stress=jnp.sum(jnp.abs(stress_error) * stress_mask),
        stress_count=9 * targets.has_stress.sum(),
        loss=loss,
        batches=1.0 * (targets.has_energy.sum() + targets.has_forces.sum() + targets.has_stress.sum() > 0),
    )


def make_chunk_step(
    loss_function: Callable[..., tuple[Array, Errors]],
    options: OptimizerOptions,
    rate: LearningRate,
    trainable: Any,
    devices: int,
    members: int = 0,
) -> Callable[[TrainState, Chunk], tuple[TrainState, Errors]]:
    """One call of the device: a `lax.scan` over the steps of a chunk.

    Args:
        loss_function: (params, batch, targets) → (loss, errors), and for an ensemble the number of the member, too.
        options: optimiser.
        rate: learning rate by step and factor.
        trainable: tree of 0/1 factors on the updates (frozen parameters have 0).
        devices: size of the device axis; the gradient is the mean over those that hold data.
        members: of an ensemble, whose parameters have a leading axis; 0 for a single model.
    """
    transformation = make_transformation(options)

    def batch_loss(params: Any, batch: Batch, targets: Targets, *member: Array) -> tuple[Array, Errors]:
        def loss(batch: Batch, targets: Targets) -> tuple[Array, Errors]:
            return loss_function(params, batch, targets, *member)

        if devices == 1:
            return loss(batch, targets)
        losses, errors = jax.vmap(loss)(batch, targets)
        # a device that only fills the step counts for nothing
        return losses.sum() / jnp.maximum(errors.batches.sum(), 1.0), jax.tree.map(jnp.sum, errors)

    def update(
        rate: LearningRate, state: TrainState, batch: Batch, targets: Targets, *member: Array
    ) -> tuple[TrainState, Errors]:
        (_, errors), gradient = jax.value_and_grad(batch_loss, has_aux=True)(state.params, batch, targets, *member)
        gradient = jax.tree.map(lambda g, m: g * m, gradient, trainable)
        updates, optimizer = transformation.update(gradient, state.optimizer, state.params)
        factor = rate(state.step, state.rate_factor)
        params = jax.tree.map(lambda p, u, m: p - factor * m * u, state.params, updates, trainable)
        decay = jnp.minimum(options.ema, (1.0 + state.step) / (10.0 + state.step))
        ema = jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), state.ema, params)  # exact where p = e
        return TrainState(params, optimizer, ema, state.step + 1, state.rate_factor), errors

    def update_each(rate: LearningRate, state: TrainState, batch: Batch, targets: Targets) -> tuple[TrainState, Errors]:
        """Every member as if it were alone with the batch: own loss, own clipping, own moments."""

        def one(own: tuple[Any, Any, Any, Array]) -> tuple[tuple[Any, Any, Any], Errors]:
            params, optimizer, ema, number = own
            before = TrainState(params, optimizer, ema, state.step, state.rate_factor)
            after, errors = update(rate, before, batch, targets, number)
            return (after.params, after.optimizer, after.ema), errors

        many = state.params, state.optimizer, state.ema, jnp.arange(members)
        (params, optimizer, ema), errors = jax.lax.map(one, many)
        after = TrainState(params, optimizer, ema, state.step + 1, state.rate_factor)
        return after, jax.tree.map(lambda e: e.mean(axis=0), errors)

    step = update_each if members else update

    def body(rate: LearningRate, state: TrainState, part: Chunk) -> tuple[TrainState, Any]:
        found = jax.eval_shape(step, rate, state, part.batch, part.targets)[1]
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), found)
        return jax.lax.cond(
            part.active, lambda s: step(rate, s, part.batch, part.targets), lambda s: (s, nothing), state
        )

    @partial(jax.jit, donate_argnums=0)
    def run(state: TrainState, chunk: Chunk, rate: LearningRate) -> tuple[TrainState, Errors]:
        state, errors = jax.lax.scan(partial(body, rate), state, chunk)
        return state, jax.tree.map(jnp.sum, errors)

    return partial(run, rate=rate)


def make_evaluate(
    loss_function: Callable[[Any, Batch, Targets], tuple[Array, Errors]],
) -> Callable[[Any, Chunk], Errors]:
    """Errors summed over the batches of a chunk (no device axis)."""

    def run(params: Any, chunk: Chunk) -> Errors:
        def body(carry: None, part: Chunk) -> tuple[None, Errors]:
            _, errors = loss_function(params, part.batch, part.targets)
            return carry, jax.tree.map(lambda e: e * part.active, errors)

        return jax.tree.map(jnp.sum, jax.lax.scan(body, None, chunk)[1])

    return jax.jit(run)
