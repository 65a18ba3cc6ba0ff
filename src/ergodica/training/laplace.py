"""The uncertainty of a single model: the Laplace approximation to the posterior of its last layer.

The energy is linear in the parameters of the last layer, so given all others their posterior is Gaussian with the
inverse covariance H + α: H is the Gauss-Newton matrix of the squared errors of energies and forces over their
variances, α the precision of the prior, found by maximising the evidence (MacKay 1992, doi:10.1162/neco.1992.4.3.415;
Daxberger et al. 2021, arXiv:2106.14806; for potentials Bigi et al. 2024, arXiv:2403.02251). Samples of it, centred on
the trained parameters, are the members of an ensemble that predicts just what the model did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Float

from ergodica.errors import InputError
from ergodica.potentials.ensemble import EnsembleConfig, varying
from ergodica.potentials.potential import Potential, member_derivatives
from ergodica.prediction import Prediction, batches, placed_params, predict, scope
from ergodica.system import System, as_systems
from ergodica.training.metrics import check_labels

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["posterior_ensemble"]

AT_ONCE = 16
"""Parameters whose features are computed in one call: more take more memory and no less time."""


def posterior_ensemble(
    potential: Potential, structures: Sequence[System | Atoms], *, samples: int = 16, seed: int = 0
) -> Potential:
    """An ensemble whose mean is the model and whose spread is that of the posterior of its last layer.

    Its spread costs as many backward passes as there are samples, its predictions no more than the model's.

    Args:
        potential: a single model that predicts energies.
        structures: labelled ones, best those it was trained on.
        samples: members of the ensemble; the relative error of the spread is about 1 / √(2 · samples).
        seed: of the samples.

    Raises:
        InputError: an ensemble, a model without energies, no labels, or too few samples.
    """
    if isinstance(potential.config, EnsembleConfig):
        raise InputError(f"Model '{potential.info.name}' is an ensemble already.")
    if not potential.params:
        raise InputError(f"Model '{potential.info.name}' is a classical one: it has no parameters to be uncertain of.")
    config = EnsembleConfig(potential.config, samples, varied=potential.config.last_layer)
    systems = as_systems(structures)
    check_labels(systems)
    features = _Features(potential)
    matrix = features.gauss_newton(systems)
    deviations = _samples(matrix, features.values, samples, np.random.default_rng(seed))
    params = features.params_with(features.values + deviations)
    info = replace(
        potential.info, notes=f"{potential.info.notes} Posterior of the last layer, {samples} samples.".strip()
    )
    return Potential(config, params, potential.energy_scale, info)


def _samples(
    matrix: Float[np.ndarray, "P P"], values: Float[np.ndarray, " P"], count: int, rng: np.random.Generator
) -> Float[np.ndarray, "M P"]:
    """Deviations from the mean of the posterior, their own mean zero and their mean square the variance."""
    live = np.flatnonzero(np.diag(matrix) > 0)  # the energy does not depend on the others
    curvature, axes = np.linalg.eigh(matrix[np.ix_(live, live)])
    curvature = np.maximum(curvature, 0.0)
    prior = _evidence(curvature, axes.T @ values[live])
    noise = rng.standard_normal((count, len(live)))
    noise = (noise - noise.mean(axis=0)) * np.sqrt(count / (count - 1))
    deviations = np.zeros((count, len(values)))
    deviations[:, live] = noise / np.sqrt(curvature + prior) @ axes.T
    return deviations


def _evidence(curvature: Float[np.ndarray, " P"], values: Float[np.ndarray, " P"]) -> float:
    """Precision of the prior that maximises the evidence: α |w|² = Σ λ / (λ + α), by iteration (MacKay 1992)."""
    square = float(values @ values) or 1.0
    prior = len(values) / square
    for _ in range(200):
        prior = float(np.sum(curvature / (curvature + prior))) / square or prior
    return prior


class _Features:
    """Derivatives of energies and forces with respect to the parameters of the last layer.

    As the energy is linear in them, the derivative is what the network gives with a unit vector for its last layer,
    less what it gives without (a repulsive core).

    Args:
        potential: a single model.
    """

    def __init__(self, potential: Potential) -> None:
        self.potential = potential
        leaves, self._structure = jax.tree.flatten(potential.params)
        config = EnsembleConfig(potential.config, AT_ONCE, varied=potential.config.last_layer)
        self._config = config
        self._varies = jax.tree.leaves(varying(config, potential.params))
        self._leaves = leaves
        last = [leaf for leaf, varies in zip(leaves, self._varies, strict=True) if varies]
        self.values = np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in last])

    def params_with(self, rows: Float[np.ndarray, "M P"]) -> Any:
        """The parameters with one last layer a row."""
        start, leaves = 0, []
        for leaf, varies in zip(self._leaves, self._varies, strict=True):
            if varies:
                own = rows[:, start : start + np.size(leaf)].reshape(len(rows), *np.shape(leaf))
                start += np.size(leaf)
            leaves.append(own.astype(leaf.dtype) if varies else leaf)
        return jax.tree.unflatten(self._structure, leaves)

    def gauss_newton(self, systems: Sequence[System]) -> Float[np.ndarray, "P P"]:
        """Sum over the labels of the outer product of their features, over the variance of the errors."""
        total = len(self.values)
        padded = (total // AT_ONCE + 1) * AT_ONCE  # at least one row of zeros
        units = np.eye(padded, total).reshape(-1, AT_ONCE, total)
        groups = [placed_params(self.potential.with_params(self.params_with(rows)), "float32") for rows in units]
        energy_variance, forces_variance = self._variances(systems)
        matrix = np.zeros((total, total))
        function, scale = _compiled(self._config), self.potential.energy_scale
        for members, batch in batches(self.potential, systems):
            with scope("float32"):
                found = [[np.asarray(leaf) for leaf in function(params, batch)[:2]] for params in groups]
            energies, forces = (
                scale.scale * (every[:total] - every[total]).astype(np.float64)
                for every in (np.concatenate(parts) for parts in zip(*found, strict=True))
            )
            start = 0
            for system in (systems[index] for index in members):
                own = slice(start, start + len(system))
                start += len(system)
                weight = len(system) if scale.reduce == "mean" else 1
                per_atom = energies[:, own].mean(axis=1) / weight
                rows = forces[:, own].reshape(total, -1) / weight
                if system.labels.energy is not None:
                    matrix += np.outer(per_atom, per_atom) / energy_variance
                if system.labels.forces is not None:
                    matrix += rows @ rows.T / forces_variance
        return matrix

    def _variances(self, systems: Sequence[System]) -> tuple[float, float]:
        """Mean square errors of energies per atom and of force components: what the noise is taken to be."""
        found: list[Prediction] = predict(self.potential, systems)  # type: ignore[assignment]
        pairs = [(p, s.labels, len(s)) for p, s in zip(found, systems, strict=True)]
        energy = [((p.energy - at.energy) / n) ** 2 for p, at, n in pairs if at.energy is not None]
        forces = [np.square(p.forces - at.forces).ravel() for p, at, _ in pairs if at.forces is not None]
        tiny = np.finfo(np.float64).tiny
        return (
            max(float(np.mean(energy)), tiny) if energy else 1.0,
            max(float(np.concatenate(forces).mean()), tiny) if forces else 1.0,
        )


@lru_cache(maxsize=8)
def _compiled(config: EnsembleConfig) -> Any:
    return jax.jit(lambda params, batch: member_derivatives(config, params, batch))
