"""The density of least energy: E[p] with w·p = N, by L-BFGS in natural coordinates q = S^(1/2) p.

In q the Hessian of the energy is better conditioned by orders of magnitude than in p (these are the coordinates of the
network of Zhang et al., Nat. Comput. Sci. 4, 210 (2024)). The constraint is a plane there, so gradient and steps are
projected onto it. A step is at most as long as a trust radius; one that leads uphill is not taken, yet its pair of step
and change of gradient tells of the curvature and is remembered (Nocedal & Wright, Numerical Optimization, 2nd ed.,
algorithm 7.4). Converged means that the projected gradient is small; what is reported is the last good point, not the
best by hindsight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ergodica.dft.functionals import Functional, energy_terms
from ergodica.dft.gaussians.integrals import charges
from ergodica.dft.molecule import Molecule, electron_normal, onto_plane
from ergodica.dft.natural import from_natural, to_natural
from ergodica.errors import InputError

__all__ = ["MinimizeOptions", "Minimum", "minimize"]

FLATTEST = 1e-4
"""A pair is kept when the gradient changed along the step by this share of its whole change."""
SHRINK, GROW = 0.3, 2.0
"""Of the trust radius, after a step uphill and after a good one."""
Vectors = Callable[[Float[Array, " F"]], Float[Array, " F"]]
SHORTEST = 1e-9
"""A trust radius at which nothing can be gained any more: the energy is not smooth here, or not precise enough."""


@dataclass(frozen=True)
class MinimizeOptions:
    """When to stop and how far to step.

    Attributes:
        gradient: norm of the projected gradient at which the density has converged, for one electron; that of N is √N
            times as long, Hartree.
        steps: most evaluations of the energy.
        radius: longest step in natural coordinates, for one electron likewise.
        history: pairs that L-BFGS remembers.

    Raises:
        InputError: a number makes no sense.
    """

    gradient: float = 3e-5
    steps: int = 1000
    radius: float = 0.03
    history: int = 20

    def __post_init__(self) -> None:
        if not (self.gradient > 0 and self.radius > 0 and self.steps >= 1 and self.history >= 1):
            raise InputError("A minimisation needs a tolerance and a radius above 0 and one step or more.")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Minimum:
    """Where a minimisation ended.

    Attributes:
        coefficients: p of the last point [F].
        energy: total energy, Hartree.
        terms: its terms by name, Hartree.
        gradient_norm: of the projected gradient in natural coordinates over √N, Hartree.
        iterations: evaluations of the energy.
        converged: the gradient norm is as small as asked for.
        electron_count_error: w·p - N.
    """

    coefficients: Float[Array, " F"]
    energy: Float[Array, ""]
    terms: dict[str, Float[Array, ""]]
    gradient_norm: Float[Array, ""]
    iterations: Int[Array, ""]
    converged: Bool[Array, ""]
    electron_count_error: Float[Array, ""]


@partial(jax.jit, static_argnames="options")
def minimize(
    molecule: Molecule,
    functional: Functional,
    start: Float[Array, " F"],
    electrons: Float[Array, ""] | float,
    options: MinimizeOptions = MinimizeOptions(),
) -> Minimum:
    """Minimise the energy of the density for a number of electrons.

    Args:
        molecule: with its integrals.
        functional: kinetic, exchange and correlation energy.
        start: coefficients to begin with, brought to the number of electrons first.
        electrons: N.
        options: when to stop.
    """
    back = partial(from_natural, molecule.natural)
    own_charges = jnp.asarray(charges(molecule.basis), start.dtype)
    normal = electron_normal(molecule)
    normal, level = normal / jnp.linalg.norm(normal), electrons / jnp.linalg.norm(normal)
    in_plane = partial(onto_plane, normal)

    def evaluate(q: Float[Array, " F"]) -> _Point:
        def total(q: Float[Array, " F"]) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
            terms = energy_terms(back(q), molecule, functional)
            return sum(terms.values(), jnp.zeros((), q.dtype)), terms

        (value, terms), slope = jax.value_and_grad(total, has_aux=True)(q)
        return _Point(q, value, in_plane(slope), terms)

    first = in_plane(to_natural(molecule.natural, molecule.overlap, start)) + level * normal
    size = jnp.sqrt(jnp.asarray(electrons, start.dtype))
    last, count = _descend(evaluate, in_plane, functional.softness(molecule), first, size, options)
    coefficients = back(last.x)
    norm = jnp.linalg.norm(last.gradient) / size
    return Minimum(
        coefficients=coefficients,
        energy=last.energy,
        terms=last.terms,
        gradient_norm=norm,
        iterations=count,
        converged=norm <= options.gradient,
        electron_count_error=own_charges @ coefficients - electrons,
    )


class _Point(NamedTuple):
    """Where the energy was evaluated, in natural coordinates, and what it is there; the gradient is projected."""

    x: Float[Array, " F"]
    energy: Float[Array, ""]
    gradient: Float[Array, " F"]
    terms: dict[str, Float[Array, ""]]


class _State(NamedTuple):
    """The last good point, the next one, and what L-BFGS remembers.

    `inverse` is 1 / (step · change) of a pair, 0 where there is none.
    """

    good: _Point
    trial: Float[Array, " F"]
    steps: Float[Array, "M F"]
    changes: Float[Array, "M F"]
    inverse: Float[Array, " M"]
    radius: Float[Array, ""]
    evaluations: Int[Array, ""]


def _descend(
    evaluate: Callable[[Array], _Point],
    in_plane: Vectors,
    soften: Vectors,
    start: Float[Array, " F"],
    size: Float[Array, ""],
    options: MinimizeOptions,
) -> tuple[_Point, Int[Array, ""]]:
    """L-BFGS steps until the gradient is small, the evaluations are spent or no step leads downhill.

    `size` is that of the molecule, by which the limits of the options grow.
    """
    limit, longest = options.gradient * size, options.radius * size
    nowhere = jax.tree.map(lambda leaf: jnp.full(leaf.shape, jnp.inf, leaf.dtype), jax.eval_shape(evaluate, start))
    pairs = jnp.zeros((options.history, len(start)), start.dtype)
    first = _State(nowhere._replace(x=start), start, pairs, pairs, pairs[:, 0], longest, jnp.asarray(0))

    def going(state: _State) -> Bool[Array, ""]:
        steep = jnp.linalg.norm(state.good.gradient) > limit
        return steep & (state.evaluations < options.steps) & (state.radius > SHORTEST)

    def step(state: _State) -> _State:
        old, new, fresh = state.good, evaluate(state.trial), state.evaluations == 0
        moved = new.x - old.x
        down = fresh | _is_downhill(old, new)
        radius = jnp.where(down, GROW * state.radius, SHRINK * jnp.linalg.norm(moved))
        state = _remember(state, moved, new.gradient - old.gradient)
        good = jax.tree.map(lambda a, b: jnp.where(down, a, b), new, old)
        radius = jnp.minimum(radius, longest)
        move = -in_plane(_inverse_hessian(state, soften, good.gradient))
        move = move * (radius / jnp.maximum(jnp.linalg.norm(move), radius))
        return state._replace(good=good, trial=good.x + move, radius=radius, evaluations=state.evaluations + 1)

    last = jax.lax.while_loop(going, step, first)
    return last.good, last.evaluations


def _is_downhill(old: _Point, new: _Point) -> Bool[Array, ""]:
    """Whether a step is a good one; where the energies can't tell for their rounding, the slope does."""
    noise = 8 * jnp.finfo(new.energy.dtype).eps * jnp.abs(old.energy)
    level = (new.energy <= old.energy + noise) & (new.gradient @ (new.x - old.x) <= 0)
    return jnp.isfinite(jnp.sum(new.gradient)) & ((new.energy <= old.energy - noise) | level)


def _remember(state: _State, move: Array, change: Array) -> _State:
    """One more pair in the place of the oldest, if both ends are known and the function is convex between them."""
    curvature = move @ change
    kept = jnp.isfinite(curvature) & (curvature > FLATTEST * jnp.linalg.norm(move) * jnp.linalg.norm(change))
    newest = (move, change, 1 / jnp.where(kept, curvature, 1.0))
    old = (state.steps, state.changes, state.inverse)
    new = (jnp.concatenate([a[1:], b[None]]) for a, b in zip(old, newest, strict=True))
    steps, changes, inverse = (jnp.where(kept, b, a) for a, b in zip(old, new, strict=True))
    return state._replace(steps=steps, changes=changes, inverse=inverse)


def _inverse_hessian(state: _State, soften: Vectors, vector: Float[Array, " F"]) -> Float[Array, " F"]:
    """Approximate inverse Hessian times a vector, by the two loops; pairs that are missing change nothing.

    What no pair tells of is left to `soften`, made to agree with the newest one.
    """

    def first(vector: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        step, change, inverse = pair
        weight = inverse * (step @ vector)
        return vector - weight * change, weight

    def second(vector: Array, pair: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
        step, change, inverse, weight = pair
        return vector + (weight - inverse * (change @ vector)) * step, None

    pairs = (state.steps, state.changes, state.inverse)
    vector, weights = jax.lax.scan(first, vector, pairs, reverse=True)
    newest = state.changes[-1]
    too_soft = state.inverse[-1] * (newest @ soften(newest))
    vector = soften(vector) / jnp.where(too_soft > 0, too_soft, 1.0)
    return jax.lax.scan(second, vector, (*pairs, weights))[0]
