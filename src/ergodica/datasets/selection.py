"""Which structures are worth a label: those on which models disagree and that are unlike each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from ergodica.datasets.descriptors import describe
from ergodica.errors import InputError
from ergodica.system import System

if TYPE_CHECKING:
    from ergodica.potentials.potential import Potential

__all__ = ["Disagreement", "choose", "disagreement", "farthest"]

SAME = 0.02
"""Descriptor distance below which two structures are duplicates; two at random are about 2.4 apart."""


@dataclass(frozen=True)
class Disagreement:
    """How far the models of a committee are apart on F structures.

    Attributes:
        forces: largest over the atoms of the root mean square deviation of the force from the committee's mean [F],
            eV/Å.
        energy: standard deviation of the energy over the committee [F], eV/atom; each model's own mean over all
            structures is taken off where the models have other reference energies.
    """

    forces: Float[np.ndarray, " F"]
    energy: Float[np.ndarray, " F"]


def disagreement(potentials: Sequence[Potential], systems: Sequence[System], **options: Any) -> Disagreement:
    """The model deviation of DP-GEN (Y. Zhang et al., Comput. Phys. Commun. 253, 107206 (2020), eq. 2).

    Args:
        potentials: the committee: two or more models, or one ensemble, which knows the spread of its members.
        systems: structures.
        options: those of `ergodica.predict`.

    Raises:
        InputError: fewer than two models, or an element that one of them does not know.
        WorkFailed: a model's answer is not a finite number.
    """
    from ergodica.prediction import predict

    if len(potentials) == 1 and hasattr(potentials[0].config, "members"):
        known: list[Any] = list(predict(potentials[0], systems, **{**options, "uncertainty": True}))
        spread = [(one.uncertainty.forces.max(), one.uncertainty.energy / len(one.energies)) for one in known]
        return Disagreement(*np.array(spread).T)
    if len(potentials) < 2:
        raise InputError("One model can't disagree with itself: name two or more (-m A -m B), or none at all.")
    answers: list[list[Any]] = [list(predict(potential, systems, **options)) for potential in potentials]
    forces = [_deviation(np.array([answer[i].forces for answer in answers])) for i in range(len(systems))]
    energies = np.array([[one.energy / len(s) for one, s in zip(a, systems, strict=True)] for a in answers])
    energies = energies - energies.mean(axis=1, keepdims=True)
    return Disagreement(np.array(forces), energies.std(axis=0))


def _deviation(forces: Float[np.ndarray, "M N 3"]) -> float:
    squares = np.square(forces - forces.mean(axis=0)).sum(axis=-1).mean(axis=0)
    return float(np.sqrt(squares.max()))


def choose(
    systems: Sequence[System],
    number: int,
    score: Float[np.ndarray, " F"] | None = None,
    *,
    floor: float = 0.0,
    ceiling: float = np.inf,
    same: float = SAME,
) -> Int[np.ndarray, " C"]:
    """Indices of the chosen structures, the best first; fewer than asked for when the rest are duplicates.

    Args:
        systems: candidates.
        number: how many to choose.
        score: how much each is worth, such as `Disagreement.forces`; all alike when None.
        floor: structures of a lower score are known well enough.
        ceiling: structures of a higher score are hopeless: torn apart or overlapping.
        same: descriptor distance below which two structures are duplicates.

    Raises:
        InputError: nothing to choose from.
    """
    if number < 1:
        raise InputError(f"n={number} must be at least 1.")
    score = np.ones(len(systems)) if score is None else np.asarray(score, float)
    allowed = np.flatnonzero((score >= floor) & (score <= ceiling))
    if not len(allowed):
        raise InputError(
            f"No structure has a disagreement between {floor:g} and {ceiling:g} eV/Å "
            f"(they go from {score.min():.3g} to {score.max():.3g}): move the limits."
        )
    chosen = farthest(describe([systems[int(i)] for i in allowed]), score[allowed], number, same)
    return allowed[chosen]


def farthest(
    points: Float[np.ndarray, "F D"], weights: Float[np.ndarray, " F"], number: int, same: float = 0.0
) -> Int[np.ndarray, " C"]:
    """Greedy choice of the point with the largest weight times distance to what is chosen already.

    With equal weights it is farthest-point sampling (T. F. Gonzalez, Theor. Comput. Sci. 38, 293 (1985)). The cost is
    `number` passes over the points.

    Args:
        points: the candidates.
        weights: at least 0.
        number: how many to choose.
        same: points nearer than this to a chosen one are left out.
    """
    points = np.asarray(points, np.float32)
    squares = np.square(points).sum(axis=1)
    nearest = np.full(len(points), np.inf, np.float32)
    chosen: list[int] = []
    gain = np.asarray(weights, float)
    while len(chosen) < min(number, len(points)):
        best = int(np.argmax(gain))
        if gain[best] < 0:
            break
        chosen.append(best)
        distance = squares + squares[best] - 2 * (points @ points[best])
        distance[best] = 0.0
        nearest = np.minimum(nearest, np.sqrt(np.maximum(distance, 0.0)))
        gain = np.where(nearest <= same, -1.0, weights * nearest)
        gain[chosen] = -1.0
    return np.array(chosen, int)
