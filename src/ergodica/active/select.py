"""Which frames are worth a label: uncertain ones that are unlike each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ergodica.neighbors import find_edges
from ergodica.system import System

__all__ = ["choose"]

REACH = 6.0
"""Distances beyond this, Å, are not looked at."""
CENTRES: Float[np.ndarray, " K"] = np.linspace(0.8, REACH, 24)


def choose(systems: Sequence[System], number: int, score: Float[np.ndarray, " F"]) -> list[int]:
    """Indices of at most `number` structures, each with the largest score times distance to those chosen before.

    Farthest-point sampling (Gonzalez 1985, doi:10.1016/0304-3975(85)90224-5) weighted by the score. Structures equal to
    a chosen one are left out.

    Args:
        systems: candidates.
        number: how many to choose.
        score: how much each is worth, not negative.
    """
    points = np.array([_describe(system) for system in systems])
    nearest = np.full(len(systems), np.inf)
    gain, chosen = np.asarray(score, float), list[int]()
    while len(chosen) < min(number, len(systems)) and gain.max() > 0:
        best = int(gain.argmax())
        chosen.append(best)
        nearest = np.minimum(nearest, np.linalg.norm(points - points[best], axis=1))
        nearest[best] = 0.0
        gain = score * np.where(nearest > 1e-6, nearest, 0.0)
    return chosen


def _describe(system: System) -> Float[np.ndarray, " D"]:
    """Neighbours by smeared distance, plain and weighted by both atomic numbers: mean and spread over the atoms."""
    edges = find_edges(system, REACH)
    ends = system.positions[edges.senders] - system.positions[edges.receivers]
    distance = np.linalg.norm(ends + edges.shifts.astype(float) @ system.cell, axis=1)[:, None]
    smeared = np.exp(-0.5 * ((distance - CENTRES) / (CENTRES[1] - CENTRES[0])) ** 2)
    values = smeared * 0.5 * (1 + np.cos(np.pi * distance / REACH)) / np.maximum(distance, 0.5) ** 2
    weight = np.sqrt(system.numbers[edges.senders] * system.numbers[edges.receivers])[:, None] / 30.0
    atoms = np.zeros((len(system), 2 * len(CENTRES)))
    np.add.at(atoms, edges.receivers, np.concatenate([values, weight * values], axis=1))
    return np.concatenate([atoms.mean(axis=0), atoms.std(axis=0)])
