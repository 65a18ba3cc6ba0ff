"""Batches that structures pass through: who has come to rest makes room for who waits.

Structures that need about as many neighbour slots an atom share a lane, a static shape. A lane that runs empty hands
the slow ones that are left to the next, wider one; so does a structure that has come to need more slots than its lane
has. Between blocks of steps the host lists neighbours, and only of those structures that have moved too far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ergodica.dynamics.descent import ASTRAY, MOVING, Block, Goal, make_descent
from ergodica.dynamics.minimizers import MINIMIZERS
from ergodica.dynamics.options import RelaxOptions
from ergodica.dynamics.walkers import Walker, cut, frame_of, join
from ergodica.errors import InputError
from ergodica.neighbors import Capacity, Edges, find_edges, pack, round_up
from ergodica.potentials.potential import ModelConfig
from ergodica.prediction import familiar, placed_params, plan, scope
from ergodica.system import Batch, System

if TYPE_CHECKING:
    from ergodica.potentials.potential import Potential

__all__ = ["Arrival", "Device", "Lane", "handed_on", "lanes_for"]

SKIN = {"cpu": 0.2}
"""Å beyond the cut-off within which neighbours are listed, where it is not `ELSEWHERE`: a list costs a processor less
than the slots of a wide skin."""
ELSEWHERE = 0.5
EVALUATIONS = 30
"""Steps of a structure, guessed: what a shape that fits well is worth."""
DENSEST = 1.0
"""Å³ an atom: a cell below it has collapsed."""
SPARE = 1.1
"""Room for neighbours in a lane that is opened for those who outgrew theirs."""
WIDTHS = tuple(range(4, 132, 4))
"""Numbers of neighbour slots of a lane."""


class Device:
    """A potential with its parameters placed, its options, and what they make of a batch."""

    def __init__(self, potential: Potential, options: RelaxOptions, operations: int) -> None:
        self.potential, self.options, self.operations = potential, options, operations
        self.minimizer = MINIMIZERS[options.optimizer.upper()]
        self.skin = SKIN.get(jax.default_backend(), ELSEWHERE)
        self.dtype = np.dtype(options.precision).type
        self._params = placed_params(potential, options.precision)
        self._goal = Goal(np.asarray(options.fmax, self.dtype), np.int32(options.steps))  # type: ignore[arg-type]

    def place(self, tree: Any) -> Any:
        """Host arrays on the device."""
        with scope(self.options.precision):
            return jax.device_put(tree)

    def listed(self, system: System) -> Edges:
        """Neighbours within cut-off and skin."""
        return find_edges(system, self.potential.cutoff + self.skin)

    def slots(self, edges: Edges) -> int:
        """Neighbour slots the fullest atom needs."""
        return max(int(np.bincount(edges.receivers, minlength=1).max()) + self.potential.config.loops, 1)

    def weights(self, walkers: Sequence[Walker]) -> Float[np.ndarray, " B"]:
        """Units of energy of the network's output for each structure, eV."""
        scale = self.potential.energy_scale
        return np.array([scale.scale / (len(walker) if scale.reduce == "mean" else 1) for walker in walkers])

    def run(self, batch: Any, frame: Any, walk: Any) -> Block:
        """A block of steps."""
        config: Any = self.potential.config
        with scope(self.options.precision):
            run = _descent(config, self.options.optimizer.upper())
            return run(self._params, batch, frame, walk, self._goal, jnp.asarray(self.skin, self.dtype))


@lru_cache(maxsize=16)
def _descent(config: ModelConfig, name: str) -> Any:
    return jax.jit(make_descent(config, MINIMIZERS[name]))


class Arrival(NamedTuple):
    """A structure that has stopped, and where its last good step led: positions [N, 3] and cell [3, 3], Å."""

    walker: Walker
    positions: Float[np.ndarray, "N 3"]
    cell: Float[np.ndarray, "3 3"]


@dataclass
class Lane:
    """A static shape and who passes through it.

    Attributes:
        device: the potential.
        capacity: the shape.
        waiting: who has not entered yet, in order.
        inside: who has, in the order of the batch.
        left: who must go on in another lane.
    """

    device: Device
    capacity: Capacity
    waiting: list[Walker]
    inside: list[Walker] = field(default_factory=list)
    left: list[Walker] = field(default_factory=list)
    _on_device: tuple[Any, Any, Any] | None = None

    def run(self, last: bool) -> Iterator[list[Arrival]]:
        """Blocks of steps until nobody is inside, or until half of the lane is empty and it is not the last one.

        Yields:
            who has stopped in a block.
        """
        while True:
            self._admit()
            sparse = not self.waiting and 2 * sum(map(len, self.inside)) < self.capacity.atoms
            if sparse and not last:
                self.left += self.inside
                self._take_out(self.inside)
            if not self.inside:
                return
            yield self._advance()

    def largest_force(self) -> float:
        """Of those inside, eV/Å."""
        return max((float(walker.state.force[0]) for walker in self.inside), default=0.0)

    def _admit(self) -> None:
        """Let in who fits, and put everybody inside on the device."""
        room, seats = self.capacity.atoms - sum(map(len, self.inside)), self.capacity.systems - len(self.inside)
        entering: list[Walker] = []
        staying: list[Walker] = []
        for walker in self.waiting:
            fits = len(entering) < seats and len(walker) <= room
            (entering if fits else staying).append(walker)
            room -= len(walker) if fits else 0
        if entering:
            self._take_out(())
            self.inside, self.waiting = self.inside + entering, staying
        if self._on_device is None and self.inside:
            device, capacity = self.device, self.capacity
            frame = frame_of(self.inside, capacity, device.options, device.weights(self.inside), device.operations)
            walk = join(self.inside, capacity, device.minimizer, device.dtype)
            self._on_device = self._listed(), *device.place((frame, walk))

    def _take_out(self, who: Sequence[Walker]) -> None:
        """Give everybody their own part of the walk, and empty the places of some."""
        if self._on_device is not None:
            cut(self._on_device[2], self.inside, self.capacity)
        self._on_device = None
        gone = {walker.index for walker in who}
        self.inside = [walker for walker in self.inside if walker.index not in gone]

    def _listed(self) -> Batch:
        """The batch with the neighbours of everybody inside."""
        systems, edges = [w.anchor for w in self.inside], [w.edges for w in self.inside]
        loops, dtype = self.device.potential.config.loops, self.device.dtype
        return self.device.place(pack(systems, edges, self.capacity, loops=loops, dtype=dtype))

    def _advance(self) -> list[Arrival]:
        """One block; whoever has stopped leaves, and so does who needs more slots."""
        assert self._on_device is not None
        block = self.device.run(*self._on_device)
        self._on_device = (*self._on_device[:2], block.walk)
        status, stale = np.asarray(block.walk.status), np.asarray(block.stale)
        arrays = [np.asarray(a, np.float64) for a in (block.positions, block.cell, *block.rest)]
        stopped, wide, end = [], [], 0
        for row, walker in enumerate(self.inside):
            own = slice(end, end := end + len(walker))
            if stale[row]:
                self._relist(walker, arrays[0][own], arrays[1][row])
            elif status[row] == ASTRAY:
                walker.failure = "the model's answer is not a finite number"
            if status[row] != MOVING or walker.failure:
                stopped.append(Arrival(walker, arrays[2][own], arrays[3][row]))
            elif self.device.slots(walker.edges) > self.capacity.width:
                wide.append(walker)
        self.left += wide
        if stopped or wide:
            self._take_out([*(one.walker for one in stopped), *wide])
        elif stale.any():
            self._on_device = (self._listed(), *self._on_device[1:])
        return stopped

    def _relist(self, walker: Walker, positions: np.ndarray, cell: np.ndarray) -> None:
        """List the neighbours of a structure where it is now, unless no structure should be there."""
        start = walker.start
        try:
            walker.anchor = replace(start, positions=positions, cell=cell if start.is_bulk else start.cell)
            if start.is_bulk and walker.anchor.volume < DENSEST * len(walker):
                raise InputError(f"its cell collapsed to {walker.anchor.volume:.3g} Å³")
            walker.edges = self.device.listed(walker.anchor)
        except InputError as error:
            walker.failure = str(error)


def lanes_for(device: Device, walkers: Sequence[Walker], shapes: list[Capacity] | None) -> list[Lane]:
    """Who goes together, narrow lanes first.

    Args:
        device: the potential.
        walkers: structures whose neighbours are listed.
        shapes: static shapes of earlier calls, taken again where they fit; new ones are added.
    """
    sizes = np.array([len(walker) for walker in walkers], int)
    slots = np.array([device.slots(walker.edges) for walker in walkers], int)
    groups: dict[Capacity, list[int]] = {}
    for members, capacity in plan(sizes, slots, times=EVALUATIONS) if len(walkers) else ():
        groups.setdefault(capacity, []).extend(members)
    lanes = []
    for capacity, members in groups.items():
        tight = replace(capacity, width=round_up(int(slots[members].max()), WIDTHS))
        shape = tight if shapes is None else familiar(tight, shapes)
        lanes.append(Lane(device, shape, [walkers[k] for k in members]))
    return sorted(lanes, key=lambda lane: lane.capacity.width)


def handed_on(left: Sequence[Walker], lanes: Sequence[Lane], device: Device) -> list[Lane]:
    """The lanes that are still to come, with those who go on in them; one more for those who fit none."""
    strays: list[Walker] = []
    for walker in left:
        need = device.slots(walker.edges)
        fitting = [lane for lane in lanes if lane.capacity.width >= need and lane.capacity.atoms >= len(walker)]
        (fitting[0].waiting if fitting else strays).append(walker)
    if not strays:
        return list(lanes)
    width = round_up(int(np.ceil(SPARE * max(device.slots(walker.edges) for walker in strays))))
    atoms = round_up(sum(len(walker) for walker in strays))
    return [*lanes, Lane(device, Capacity(atoms, width, round_up(len(strays))), strays)]
