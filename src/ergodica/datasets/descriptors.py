"""A vector for each structure, near for structures that teach the same: composition, density and radial order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ergodica.elements import SYMBOLS
from ergodica.neighbors import find_edges
from ergodica.system import System

__all__ = ["describe"]

CUTOFF = 6.0
"""Reach of the radial functions, Å."""

CENTRES = np.linspace(0.8, CUTOFF, 24)
"""Centres of the radial functions, Å; their width is the distance of two."""


def describe(systems: Sequence[System]) -> Float[np.ndarray, "F D"]:
    """Descriptors of F structures, in which each of three blocks has a mean squared distance of about 2.

    The blocks are: shares of the elements; neighbours by distance, smeared out, divided by the distance squared and
    averaged over atoms, once plain and once weighted with the root of both atomic numbers; and the spread of the plain
    ones over the atoms, which tells disordered from ordered structures. Distances are in Å, so compression shows.

    Args:
        systems: structures.
    """
    rows = [_radial(system) for system in systems]
    shares = np.array([np.bincount(s.numbers, minlength=len(SYMBOLS)) / len(s) for s in systems])
    blocks = [shares, np.array([mean for mean, _ in rows]), np.array([spread for _, spread in rows])]
    return np.concatenate([_scaled(block) for block in blocks], axis=1)


def _radial(system: System) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " K"]]:
    """Mean over the atoms of both radial channels, and standard deviation of the first."""
    edges = find_edges(system, CUTOFF)
    vectors = (
        system.positions[edges.senders] - system.positions[edges.receivers] + edges.shifts.astype(float) @ system.cell
    )
    distances = np.linalg.norm(vectors, axis=1)
    width = CENTRES[1] - CENTRES[0]
    values = np.exp(-0.5 * ((distances[:, None] - CENTRES) / width) ** 2) / np.maximum(distances[:, None], 0.5) ** 2
    values *= 0.5 * (1 + np.cos(np.pi * distances[:, None] / CUTOFF))
    atoms = np.zeros((len(system), len(CENTRES)))
    np.add.at(atoms, edges.receivers, values)
    size = np.sqrt(system.numbers / 30.0)
    pairs = (size[edges.receivers] * size[edges.senders])[:, None] * values
    mean = np.concatenate([atoms.mean(axis=0), pairs.sum(axis=0) / len(system)])
    return mean, atoms.std(axis=0)


def _scaled(block: Float[np.ndarray, "F D"]) -> Float[np.ndarray, "F D"]:
    """Divided by the root of its total variance, so that two structures are √2 apart on average."""
    spread = float(np.sqrt(block.var(axis=0).sum()))
    return block / spread if spread > 1e-12 else 0.0 * block
