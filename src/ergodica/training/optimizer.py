"""Learning-rate schedules and gradient transformations, chosen by `OptimizerOptions`."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ergodica.training.options import OptimizerOptions

__all__ = ["LearningRate", "learning_rate", "make_transformation", "orthogonalize"]

# quintic Newton-Schulz iteration that takes every singular value to about 1 in five rounds (Jordan et al. 2024)
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
ROUNDS = 5
MOMENTUM = 0.95
# size of an update's entries, that of Adam's: so both take the same learning rates (Liu et al. 2025, arXiv:2502.16982)
MUON_RMS = 0.2


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LearningRate:
    """Learning rate by step and plateau factor, never below the floor (but for the very first step of a warm-up).

    Its numbers are data of the compiled step, so that runs of another length or rate are not compiled anew.

    Attributes:
        peak: after the warm-up.
        floor: at the end of a cosine.
        warmup: steps from 0 to the peak.
        rest: steps after that.
        cosine: whether it falls from peak to floor over the rest, or stays.
    """

    peak: Float[Array, ""] | float
    floor: Float[Array, ""] | float
    warmup: Float[Array, ""] | float
    rest: Float[Array, ""] | float
    cosine: bool = field(metadata={"static": True})

    def __call__(self, step: Array, factor: Array) -> Array:
        """At a step."""
        after = jnp.asarray(self.peak)
        if self.cosine:
            part = jnp.clip((step - self.warmup) / self.rest, 0.0, 1.0)
            after = self.floor + 0.5 * (self.peak - self.floor) * (1 + jnp.cos(jnp.pi * part))
        rate = jnp.where(step < self.warmup, self.peak * step / jnp.maximum(self.warmup, 1.0), after)
        return jnp.maximum(rate * factor, self.floor * (step > 0))


def learning_rate(options: OptimizerOptions, total_steps: int) -> LearningRate:
    """Warm-up, over a tenth of the run at most; then constant, or a cosine over the rest of the run."""
    warmup = min(options.warmup, total_steps // 10)
    return LearningRate(
        peak=options.learning_rate,
        floor=options.min_learning_rate,
        warmup=float(warmup),
        rest=float(max(total_steps - warmup, 1)),
        cosine=options.schedule == "cosine",
    )


def make_transformation(options: OptimizerOptions) -> optax.GradientTransformation:
    """Clipping, Muon, Adam or AMSGrad, decoupled decay; the learning rate is applied by the step.

    Muon moves the matrices between hidden features; embeddings, biases, norms and single rows are Adam's.
    """
    rule = optax.scale_by_amsgrad() if options.kind == "amsgrad" else optax.scale_by_adam()
    if options.kind == "muon":
        muon = optax.chain(optax.trace(MOMENTUM, nesterov=True), optax.stateless(_orthogonal_updates))
        rule = optax.partition({"muon": muon, "adam": rule}, _muon_labels)
    clip = [optax.clip_by_global_norm(options.clip)] if options.clip else []
    decay = [optax.add_decayed_weights(options.weight_decay)] if options.weight_decay else []
    return optax.chain(*clip, rule, *decay)


def _muon_labels(params: Any) -> Any:
    def label(path: Any, leaf: Array) -> str:
        matrix = leaf.ndim > 1 and min(leaf.shape[0], leaf.shape[-1]) > 1 and path[-1].key == "kernel"
        return "muon" if matrix else "adam"

    return jax.tree_util.tree_map_with_path(label, params)


def _orthogonal_updates(updates: Any, _: Any) -> Any:
    """Orthogonalise every matrix of a tree, those of one shape together."""
    leaves, structure = jax.tree.flatten(updates)
    # kernels are [in, out], or [in, pieces, out] where several layers share an input
    stacks = [leaf[None] if leaf.ndim == 2 else jnp.moveaxis(leaf, 1, 0) for leaf in leaves]
    by_shape = defaultdict(list)
    for position, stack in enumerate(stacks):
        by_shape[stack.shape[1:]].append(position)
    # on CPUs one small matrix after another stays in the cache and keeps the fast matrix product
    apply = jax.lax.map if jax.default_backend() == "cpu" else lambda f, x: jax.vmap(f)(x)
    for shape, positions in by_shape.items():
        found = apply(orthogonalize, jnp.concatenate([stacks[p] for p in positions])) * (MUON_RMS * max(shape) ** 0.5)
        parts = jnp.split(found, np.cumsum([len(stacks[p]) for p in positions])[:-1])
        for position, part in zip(positions, parts, strict=True):
            leaves[position] = part[0] if leaves[position].ndim == 2 else jnp.moveaxis(part, 0, 1)
    return jax.tree.unflatten(structure, leaves)


def orthogonalize(matrix: Float[Array, "M N"]) -> Float[Array, "M N"]:
    """The nearest matrix with orthonormal rows or columns, roughly: all singular values between 0.7 and 1.2.

    Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon): steepest descent in the spectral norm.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix) / (jnp.linalg.norm(matrix) + 1e-20)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.T if tall else x
