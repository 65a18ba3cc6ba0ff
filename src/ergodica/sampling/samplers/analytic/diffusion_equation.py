"""The equation that diffusion obeys, as a loss: physics-informed diffusion pre-training (PIDP).

Zheng et al. 2024 (doi:10.1038/s42256-024-00837-3, eq. 8; its program was never published). With τ = σ²/2 the density of
what noise is added to obeys the heat equation, ∂p/∂τ = Δp, so that its logarithm and the score s obey

    ∂ln p/∂τ = Δ ln p + |∇ ln p|²,    ∂s/∂τ = ∇(∇·s + |s|²).

Where there is no noise, the score is the force, and ln p the energy. The score alone, as in the paper, leaves open how
populations of modes apart compare: its equation holds in each of them, whatever the others weigh. The logarithm of the
density does not: the energy ties it in all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.sampling.samplers.molecule.network import InternalDenoiser

__all__ = ["Boundary", "density_residuals", "score_residuals"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Boundary:
    """States without noise, their forces and log-densities up to a constant that is the same for all."""

    x: Float[Array, "B D"]
    forces: Float[Array, "B D"]
    levels: Float[Array, " B"]


def score_residuals(
    denoiser: InternalDenoiser,
    x: Float[Array, "B D"],
    sigma: Float[Array, " B"],
    edge: Boundary,
    smallest: float,
) -> Float[Array, " B"]:
    """What the score misses the equation by, over ln σ and times σ, and the forces where there is no noise; of each.

    Args:
        denoiser: the model.
        x: states with noise.
        sigma: its width.
        edge: states without noise.
        smallest: level of noise that counts as none.
    """

    def score(x: Float[Array, " D"], log_sigma: Float[Array, ""]) -> Float[Array, " D"]:
        return (denoiser(x[None], jnp.exp(log_sigma))[0] - x) / jnp.exp(2 * log_sigma)

    def residual(x: Float[Array, " D"], log_sigma: Float[Array, ""]) -> Float[Array, " D"]:
        def rate(x: Float[Array, " D"]) -> Float[Array, ""]:
            return jnp.trace(jax.jacfwd(score)(x, log_sigma)) + jnp.sum(score(x, log_sigma) ** 2)

        flow = jnp.exp(2 * log_sigma) * jax.grad(rate)(x)
        return jnp.exp(log_sigma) * (jax.jacfwd(score, 1)(x, log_sigma) - flow)

    inside = jax.vmap(residual)(x, jnp.log(sigma))
    missed = jax.vmap(score, (0, None))(edge.x, jnp.log(smallest)) - edge.forces
    return _blunt(inside).sum(axis=1) + _blunt(_worth(edge)[:, None] * missed).sum(axis=1)


def density_residuals(
    denoiser: InternalDenoiser,
    x: Float[Array, "B D"],
    sigma: Float[Array, " B"],
    edge: Boundary,
    smallest: float,
) -> Float[Array, " B"]:
    """The same for a network that is a log-density, whose edge are energies and forces."""

    def level(x: Float[Array, " D"], log_sigma: Float[Array, ""]) -> Float[Array, ""]:
        return denoiser.log_density(x[None], jnp.exp(log_sigma))[0]

    slope = jax.grad(level)

    def residual(x: Float[Array, " D"], log_sigma: Float[Array, ""]) -> Float[Array, ""]:
        spread = jnp.trace(jax.jacfwd(slope)(x, log_sigma)) + jnp.sum(slope(x, log_sigma) ** 2)
        return jax.grad(level, 1)(x, log_sigma) - jnp.exp(2 * log_sigma) * spread

    low = jnp.log(smallest)
    inside = jax.vmap(residual)(x, jnp.log(sigma))
    levels, slopes = (jax.vmap(part, (0, None))(edge.x, low) for part in (level, slope))
    worth = _worth(edge)
    missed = _blunt(worth * (levels - edge.levels))
    return _blunt(inside) + missed + _blunt(worth[:, None] * (slopes - edge.forces)).sum(axis=1)


HIGH = 10.0
"""kT above the mean of all space from which on errors of energies and forces count in proportion to the energy."""


def _worth(edge: Boundary) -> Float[Array, " B"]:
    return 1 / (1 + jnp.maximum(0.0, -edge.levels) / HIGH)


def _blunt(error: Float[Array, "..."]) -> Float[Array, "..."]:
    """Squares that grow in proportion where errors are large: walls count, but not for everything."""
    return 2 * (jnp.sqrt(1 + error**2) - 1)
