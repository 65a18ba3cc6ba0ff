"""Neighbours found on the host: triclinic cells, cells thinner than the cut-off, partial periodicity, none at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ergodica.errors import InputError
from ergodica.system import System

__all__ = ["Edges", "VerletList", "box_of", "completed", "find_edges", "find_pairs"]

OVERLAP = 1e-3
"""Two atoms closer than this (Å) are on one place: no potential has a force there."""


@dataclass(frozen=True)
class Edges:
    """Directed edges sorted by receiver.

    Attributes:
        receivers: atom i [E].
        senders: atom j [E].
        shifts: lattice translation of j, in cell vectors [E, 3].
        reverse: row of the opposite edge [E].
    """

    receivers: Int[np.ndarray, " E"]
    senders: Int[np.ndarray, " E"]
    shifts: Int[np.ndarray, "E 3"]
    reverse: Int[np.ndarray, " E"]

    def __len__(self) -> int:
        return len(self.receivers)

    def select(self, keep: Bool[np.ndarray, " E"]) -> Edges:
        """The edges where `keep` holds; `keep` must treat an edge and its opposite alike."""
        row = np.cumsum(keep) - 1
        return Edges(self.receivers[keep], self.senders[keep], self.shifts[keep], row[self.reverse[keep]])


def find_edges(system: System, cutoff: float) -> Edges:
    """All directed pairs closer than `cutoff` (Å), periodic images included.

    Raises:
        InputError: two atoms lie on one place.
    """
    receivers, senders, shifts, distances = _pairs(system, box_of(system), cutoff)
    if distances.size and distances.min() < OVERLAP:
        first = int(distances.argmin())
        raise InputError(
            f"{system.name}: atoms {receivers[first]} and {senders[first]} are on one place "
            f"({distances[first]:.1e} Å apart); remove one of them."
        )
    order = np.argsort(receivers, kind="stable")
    receivers, senders, shifts = (np.asarray(a)[order].astype(np.int64) for a in (receivers, senders, shifts))
    return Edges(receivers, senders, shifts, _reverse(receivers, senders, shifts))


def find_pairs(system: System, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms i and j and their distance, Å, of all directed pairs closer than `cutoff` (Å), in no order.

    Periodic images are counted, an atom's own among them. Unlike `find_edges`, atoms may lie on one place.
    """
    first, second, _, distances = _pairs(system, box_of(system), cutoff)
    return first, second, distances


def _pairs(system: System, box: Float[np.ndarray, "3 3"], cutoff: float) -> tuple[np.ndarray, ...]:
    """Receivers, senders, shifts and distances from vesin, or from ASE (slower) where vesin would crash."""
    if _too_flat_for_vesin(system, box, cutoff):
        from ase.neighborlist import primitive_neighbor_list

        return primitive_neighbor_list("ijSd", system.pbc, box, system.positions, cutoff)
    import vesin

    return vesin.NeighborList(cutoff=cutoff, full_list=True, sorted=True).compute(
        points=system.positions, box=box, periodic=system.pbc, quantities="ijSd"
    )


def _too_flat_for_vesin(system: System, box: Float[np.ndarray, "3 3"], cutoff: float) -> bool:
    """Whether a structure is at once vast and thin: vesin 0.6.2 then ends the process by a division by zero.

    Above 1e5 cells it shrinks the number along all directions by one factor, and a direction with few gets none. A film
    in a box of 1000 Å or two fragments that fly apart are enough.
    """
    heights = 1.0 / np.linalg.norm(np.linalg.inv(box), axis=0)[system.pbc]
    _, _, basis = np.linalg.svd(np.where(system.pbc[:, None], box, 0.0))
    free = system.positions @ basis[int(system.pbc.sum()) :].T  # coordinates across the periodic directions
    spread = np.ptp(free @ np.linalg.eigh(np.cov(free.T, bias=True).reshape(2 * [free.shape[1]]))[1], axis=0)
    # vesin's axes across are others than these principal ones, so its count is only known from above and from below
    most = np.maximum(np.append(heights, np.full(len(spread), np.linalg.norm(spread))) / cutoff, 1.0).prod()
    least = max(min(*heights, *spread) / cutoff, 1.0)
    return bool(most > 5e4 and least < 4.0 * (most / 5e4) ** (1 / 3))


def box_of(system: System) -> Float[np.ndarray, "3 3"]:
    """A cell that is invertible; directions without a lattice vector get an orthogonal unit one."""
    if abs(np.linalg.det(system.cell)) > 1e-12:
        return system.cell
    return completed(system.cell, system.pbc)


def completed(cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, " 3"]) -> Float[np.ndarray, "3 3"]:
    """The periodic vectors of a cell, and unit vectors across them."""
    box = np.where(pbc[:, None], cell, 0.0)
    if not pbc.any():
        return np.eye(3)
    _, _, basis = np.linalg.svd(box)
    box[~pbc] = basis[int(pbc.sum()) :]
    return box


def _reverse(
    receivers: Int[np.ndarray, " E"], senders: Int[np.ndarray, " E"], shifts: Int[np.ndarray, "E 3"]
) -> Int[np.ndarray, " E"]:
    """Row of the edge (j, i, -S) for every edge (i, j, S)."""
    if not len(receivers):
        return np.zeros(0, np.int64)
    reach = int(np.abs(shifts).max()) + 1
    base = 2 * reach + 1
    n = int(max(receivers.max(), senders.max())) + 1

    def key(i: np.ndarray, j: np.ndarray, s: np.ndarray) -> np.ndarray:
        code = ((s[:, 0] + reach) * base + s[:, 1] + reach) * base + s[:, 2] + reach
        return (i * n + j) * base**3 + code

    forward = np.argsort(key(receivers, senders, shifts), kind="stable")
    backward = np.argsort(key(senders, receivers, -shifts), kind="stable")
    reverse = np.empty(len(receivers), np.int64)
    reverse[backward] = forward
    return reverse


class VerletList:
    """Edges along a trajectory: found once with a skin, then filtered until an atom has moved half of it.

    The filtered list is exact at every step, so the skin costs the network nothing. A change of the cell, of the
    elements or of the periodicity rebuilds the list. While no pair crosses the cut-off, `update` returns one and the
    same object, so that what was made from it can be kept.

    Args:
        cutoff: radius of interaction, Å.
        skin: extra radius of the kept list, Å.
    """

    def __init__(self, cutoff: float, skin: float = 1.0) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self.builds = 0
        self._anchor: System | None = None
        self._edges: Edges | None = None
        self._offsets: Float[np.ndarray, "E 3"] = np.zeros((0, 3))
        self._kept: tuple[Bool[np.ndarray, " E"], Edges] | None = None

    def update(self, system: System) -> Edges:
        """Edges of `system` shorter than the cut-off."""
        if self._edges is None or not self._valid(system):
            self._edges = find_edges(system, self.cutoff + self.skin)
            self._anchor, self._kept = system, None
            self._offsets = self._edges.shifts @ system.cell
            self.builds += 1
        edges, squared = self._edges, self._squared(system)
        if squared.size and squared.min() < OVERLAP**2:
            find_edges(system, self.cutoff)  # raises with the names of the atoms
        keep = squared < self.cutoff**2
        keep &= keep[edges.reverse]  # rounding may tell an edge from its opposite at the very cut-off
        if self._kept is None or not np.array_equal(keep, self._kept[0]):
            self._kept = keep, edges.select(keep)
        return self._kept[1]

    def most_neighbors(self, system: System, margin: float) -> int:
        """Neighbours of the fullest atom within the cut-off and a margin (Å) no wider than the skin.

        Args:
            system: the structure of the last update.
            margin: Å.
        """
        assert self._edges is not None, "update comes first"
        near = self._squared(system) < (self.cutoff + margin) ** 2
        return int(np.bincount(self._edges.receivers[near], minlength=1).max())

    def _squared(self, system: System) -> Float[np.ndarray, " E"]:
        """Squared lengths of the edges of the kept list, Å²."""
        assert self._edges is not None
        vectors = system.positions[self._edges.senders] - system.positions[self._edges.receivers] + self._offsets
        return np.einsum("ei,ei->e", vectors, vectors)

    def _valid(self, system: System) -> bool:
        anchor = self._anchor
        if anchor is None or len(anchor) != len(system):
            return False
        same = (
            np.array_equal(anchor.numbers, system.numbers)
            and np.array_equal(anchor.cell, system.cell)
            and np.array_equal(anchor.pbc, system.pbc)
        )
        moved = np.square(system.positions - anchor.positions).sum(axis=1).max() if same else np.inf
        return bool(moved < (0.5 * self.skin) ** 2)
