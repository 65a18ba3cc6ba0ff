"""Samplers: solvers of the reverse process, given the denoiser D(x, σ) = E[data | x], so that ∇log p_σ = (D - x)/σ².

Each is a step from one level of noise to the next, run by one `scan`. Whatever noise is left at the last level is
removed by one last evaluation of the denoiser.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.spaces import Space, noise_like

__all__ = ["SOLVERS", "Denoiser", "sample"]

Denoiser: TypeAlias = Callable[[Float[Array, "B ..."], Float[Array, ""]], Float[Array, "B ..."]]
"""Noisy samples and their level of noise in, expected clean samples out."""


class _Step(NamedTuple):
    """One step: between which levels, the log-ratio of them and of the levels of the step before, and fresh noise."""

    high: Array
    low: Array
    before: Array
    noise: Array


def sample(
    denoiser: Denoiser,
    space: Space,
    key: Array,
    count: int,
    *,
    noise: Noise,
    evaluations: int = 30,
    solver: str = "dpm",
) -> Float[Array, "B ..."]:
    """Draw samples.

    The prior is centred on the origin, so the mean of the data must be there, too: a mean of m leaves the weights of
    modes wrong by some m / noise.largest.

    Args:
        denoiser: the model.
        space: where samples live.
        key: of the random numbers.
        count: how many samples.
        noise: levels of noise that the denoiser knows.
        evaluations: of the denoiser for each sample, the last one included.
        solver: one of `SOLVERS`: "dpm" (DPM-Solver++ 2M, Lu et al. 2022, arXiv:2211.01095) and "heun" (Karras et al.
            2022, algorithm 1) solve the probability-flow equation, "sde" the reverse stochastic one (Song et al. 2021,
            arXiv:2011.13456) by the stochastic form of DPM-Solver++ 2M; all to second order.

    Raises:
        InputError: the solver is unknown or has too few evaluations for a step.
    """
    if solver not in SOLVERS:
        raise InputError(f"There is no solver {solver!r}: choose one of {', '.join(SOLVERS)}.")
    step, cost = SOLVERS[solver]
    steps = (evaluations - 1) // cost
    if steps < 1:
        raise InputError(f"{evaluations} evaluations are not one step of {solver}: it needs at least {cost + 1}.")
    levels = noise.levels(steps)
    first, *rest = jax.random.split(key, 1 + steps)
    start = space.prior(first, count, noise.largest)
    before = jnp.concatenate([levels[:1], levels[:-2]])

    def move(state: tuple[Array, Array], given: _Step) -> tuple[tuple[Array, Array], None]:
        fresh = noise_like(space, given.noise, count) if solver == "sde" else jnp.zeros_like(start)
        return step(denoiser, state, given._replace(noise=fresh)), None

    given = _Step(levels[:-1], levels[1:], before, jnp.stack(rest))
    (end, _), _ = jax.lax.scan(move, (start, jnp.zeros_like(start)), given)
    return denoiser(end, levels[-1])


State: TypeAlias = tuple[Array, Array]
"""Samples, and what the denoiser said at the step before."""


def _heun(denoiser: Denoiser, state: State, at: _Step) -> State:
    x, change = state[0], at.low - at.high
    slope = (x - denoiser(x, at.high)) / at.high
    ahead = x + change * slope
    clean = denoiser(ahead, at.low)
    return x + 0.5 * change * (slope + (ahead - clean) / at.low), clean


def _extrapolated(denoiser: Denoiser, state: State, at: _Step) -> tuple[Array, Array, Array]:
    """What the denoiser says here, that carried on to the middle of the step in log σ, and the length of the step."""
    clean, step = denoiser(state[0], at.high), jnp.log(at.high / at.low)
    ratio = step / jnp.where(at.before > at.high, jnp.log(at.before / at.high), jnp.inf)  # 0 in the first step
    return clean, clean + 0.5 * ratio * (clean - state[1]), step


def _dpm(denoiser: Denoiser, state: State, at: _Step) -> State:
    clean, middle, _ = _extrapolated(denoiser, state, at)
    return middle + at.low / at.high * (state[0] - middle), clean


def _sde(denoiser: Denoiser, state: State, at: _Step) -> State:
    clean, middle, step = _extrapolated(denoiser, state, at)
    kept = jnp.exp(-2 * step)
    return middle + kept * (state[0] - middle) + at.low * jnp.sqrt(1 - kept) * at.noise, clean


SOLVERS: dict[str, tuple[Callable[[Denoiser, State, _Step], State], int]] = {
    "dpm": (_dpm, 1),
    "heun": (_heun, 2),
    "sde": (_sde, 1),
}
"""Steps of the samplers by name, and how often each asks the denoiser."""
