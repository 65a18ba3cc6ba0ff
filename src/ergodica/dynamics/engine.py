"""Molecular dynamics that stays on the device: blocks of steps, and between them the host's list of neighbours.

Several structures, or replicas of one, move side by side in one batch. Coordinates are not wrapped into the cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.dynamics.integrators import integrator_of
from ergodica.dynamics.momenta import first_momenta, freedom_of
from ergodica.dynamics.motion import (
    Block,
    Integrator,
    Matter,
    Motion,
    Search,
    Thermostat,
    make_block,
    physical_forces,
)
from ergodica.errors import InputError, WorkFailed
from ergodica.neighbors import (
    Capacity,
    Edges,
    Found,
    Grid,
    find_edges,
    find_pairs,
    list_neighbors,
    pack,
    plan_grid,
    round_up,
)
from ergodica.potentials.potential import Derivatives, ModelConfig, compiled_derivatives
from ergodica.prediction import placed_params, scope
from ergodica.system import Batch, Labels, System
from ergodica.trajectories.frame import Frame
from ergodica.units import FS, GPA, KB

if TYPE_CHECKING:
    from ergodica.dynamics.options import MDOptions
    from ergodica.potentials.potential import Potential

__all__ = ["Engine", "Stretch"]

SKIN = 0.6
"""Å beyond the cut-off within which neighbours are listed."""
LENGTH = 64
"""Most steps of a block."""
LARGE = 800
"""Atoms of a structure beyond which a CPU's neighbours are listed by the host."""
HEADROOM = 1.1
"""Room for neighbours in the next lists, relative to what the present one needs."""
SPARE = 2
"""Free slots of a narrow list when it is made: the densest place of a liquid fluctuates by a few neighbours."""
MARGIN = 0.2
"""Å beyond the cut-off: where there are no further neighbours, as between the shells of a crystal, no slot is free."""
WORTHWHILE = 0.9
"""A list is cut down to the cut-off where no more than this share of its slots is left."""


@dataclass(frozen=True)
class Stretch:
    """What happened on a stretch of steps.

    Attributes:
        temperature: of each step [N, B], K.
        conserved: of each step [N, B], eV.
        lists: how often neighbours were listed.
    """

    temperature: Float[np.ndarray, "N B"]
    conserved: Float[np.ndarray, "N B"]
    lists: int


@dataclass
class Engine:
    """Structures under way; `advance` moves them on.

    Args:
        potential: the model.
        systems: where to start; atoms that are `fixed` stay where they are.
        options: ensemble, temperature, time step, precision and seed; every structure is at the same temperature.
        skin: Å beyond the cut-off within which neighbours are listed.
        momenta: of all atoms in a row [N, 3], amu·Å/(Å·√(amu/eV)); as `options.velocities` says by default.

    Raises:
        InputError: an unknown element, atoms on one place, constant pressure for what is no crystal, a model of
            something else than energies, or a structure without the momenta that are to be kept.
    """

    potential: Potential
    systems: Sequence[System]
    options: MDOptions
    skin: float = SKIN
    momenta: Float[np.ndarray, "N 3"] | None = None
    motion: Motion = field(init=False)

    def __post_init__(self) -> None:
        self.potential.require_energies()
        for system in self.systems:
            self.potential.check_elements(system.numbers, system.name)
            if self.options.ensemble == "npt":
                _check_bulk(system)
        self._integrator = integrator_of(self.options)
        self._dtype = np.dtype(self.options.precision).type
        self._params = placed_params(self.potential, self.options.precision)
        self._sizes = np.array([len(system) for system in self.systems])
        self._width = 0
        self._grid = None if _better_on_host(self.potential, self.systems) else plan_grid(self.systems, self._reach)
        self._batch = self._listed(self.systems)
        self._slots = self._slots_within()
        with scope(self.options.precision):
            config: Any = self.potential.config
            found: Derivatives = compiled_derivatives(config)(self._params, self._batch)
            self._matter, self._bath = self._given(found.energies), self._surroundings()
            self.motion = self._started(found)
        self._starts = self._starting_energies()

    def _slots_within(self) -> int:
        """Slots of a list of the neighbours within the cut-off, with room for a few more; 0 for classical potentials.

        A network's time is proportional to the slots it gets, and cutting a list down takes a hundredth of it. A
        classical potential is done with a slot as soon as the cut is.
        """
        potential = self.potential
        if not potential.n_parameters:
            return 0
        need = near = 0
        for system in self.systems:
            first, _, distances = find_pairs(system, potential.cutoff + MARGIN)
            need = max(need, np.bincount(first[distances < potential.cutoff], minlength=1).max())
            near = max(near, np.bincount(first, minlength=1).max())
        return round_up(int(min(need + SPARE, near)) + potential.config.loops, WIDTHS)

    @property
    def _narrow(self) -> int | None:
        """Slots of the list that the network gets; None where it gets the list with the skin."""
        return self._slots if 0 < self._slots <= WORTHWHILE * self._width else None

    def _given(self, origin: Float[Array, " N"]) -> Matter:
        dtype, scale = self._dtype, self.potential.energy_scale
        moving = np.concatenate([~system.fixed for system in self.systems])
        parts = self._sizes if scale.reduce == "mean" else np.ones(len(self._sizes))
        return Matter(
            masses=jnp.asarray(np.concatenate([system.masses for system in self.systems]), dtype),
            free=jnp.asarray(moving, dtype),
            system=jnp.asarray(self._batch.system),
            freedom=jnp.asarray([freedom_of(system, self.options) for system in self.systems], dtype),
            scale=jnp.asarray(scale.scale / parts, dtype),
            origin=origin,
        )

    def _surroundings(self) -> Thermostat:
        options, dtype = self.options, self._dtype
        ends = (options.final_temperature, options.temperature), (options.final_pressure, options.pressure)
        heating, pressing = ((0.0 if end is None else end - begin) / max(options.steps, 1) for end, begin in ends)
        return Thermostat(
            timestep=jnp.asarray(options.timestep * FS, dtype),
            heat=jnp.full(len(self.systems), KB * options.temperature, dtype),
            time=jnp.asarray(options.thermostat_time * FS, dtype),
            pressure=jnp.asarray(options.pressure * GPA, dtype),
            cell_time=jnp.asarray(options.barostat_time * FS, dtype),
            compressibility=jnp.asarray(options.compressibility / GPA, dtype),
            key=jax.random.key(options.seed),
            ramp=(jnp.asarray(heating * KB, dtype), jnp.asarray(pressing * GPA, dtype), jnp.int32(options.steps)),
        )

    def _started(self, found: Derivatives) -> Motion:
        momenta = self.momenta
        if momenta is None:
            momenta = first_momenta(self.systems, self.options)
        here = physical_forces(found, self._matter)
        motion = Motion(
            positions=jnp.asarray(self._batch.positions),
            momenta=jnp.asarray(momenta, self._dtype) * self._matter.free[:, None],
            cell=jnp.asarray(self._batch.cell),
            forces=here.forces,
            energy=here.energy,
            virial=here.virial,
            extra=(),
            step=jnp.zeros((), jnp.int32),
        )
        return replace(motion, extra=self._integrator.init(motion, self._matter, self._bath))

    @property
    def _reach(self) -> float:
        return self.potential.cutoff + self.skin

    def _listed(self, systems: Sequence[System]) -> Batch:
        """The structures with their neighbours within cut-off and skin, on the device."""
        # in the engine's precision, so that a restart, which knows no other, lists the same
        systems = [replace(system, positions=system.positions.astype(self._dtype)) for system in systems]
        edges = [find_edges(system, self._reach) for system in systems]
        loops = self.potential.config.loops
        need = max((_fullest(one) for one in edges), default=0) + loops
        if need > self._width:
            self._width = need if self._width == 0 and len(systems[0]) == need + 1 - loops else round_up(
                int(np.ceil(HEADROOM * need)), WIDTHS)  # fmt: skip
        self._width = max(self._width, 1 + loops)
        capacity = Capacity(int(self._sizes.sum()), self._width, len(systems))
        with scope(self.options.precision):
            batch = jax.device_put(pack(systems, edges, capacity, loops=loops, dtype=self._dtype))
            return batch if self._grid is None else self._listed_there(batch, systems)

    def _listed_there(self, batch: Batch, systems: Sequence[System]) -> Batch:
        """The same lists in the order of the device, so that it does not matter who made them."""
        found = self._search(batch)
        if not bool(found.complete):  # a cell has changed, or a bin is too full
            self._grid = plan_grid(systems, self._reach)
            found = self._search(batch)
        if not bool(found.complete):  # rounding at the very edge of the grid
            self._grid = None
            return batch
        kinds = jax.tree.map(lambda new, old: new.astype(old.dtype), found.neighbors, batch.neighbors)
        return replace(batch, neighbors=kinds)

    def _search(self, batch: Batch) -> Found:
        reach = jnp.asarray(self._reach, self._dtype)
        return _list(batch, self._pbc, reach, self._grid, self._width, self.potential.config.loops)

    @property
    def _pbc(self) -> Array:
        return jnp.asarray(np.stack([system.pbc for system in self.systems]))

    def advance(self, steps: int) -> Stretch:
        """Make so many steps.

        Raises:
            WorkFailed: the atoms fly apart; `motion` is that of the last good step.
        """
        done, lists, fresh = 0, 0, False
        logs: list[tuple[np.ndarray, np.ndarray]] = []
        while done < steps:
            wanted = min(LENGTH, steps - done)
            block = self._block(wanted)
            made = int(block.done)
            self.motion, self._batch = block.motion, block.batch
            lists += int(block.lists)
            logs.append((np.asarray(block.temperature)[:made], np.asarray(block.conserved)[:made]))
            done += made
            if (need := int(block.need)) > 0:  # the step is made again with more room, from the same lists
                self._slots = round_up(need + SPARE, WIDTHS)
                continue
            if made == 0 and fresh:
                raise WorkFailed(
                    f"An atom moves more than {self.skin / 2:g} Å, or nowhere, in step {int(self.motion.step) + 1}: "
                    "use a shorter time step, relax first, or use another model."
                )
            fresh = made < wanted
            if fresh:
                self._batch = self._listed(self.current())
                lists += 1
        temperature, conserved = (np.concatenate(parts) for parts in zip(*logs, strict=True))
        return Stretch(temperature, conserved, lists)

    def _block(self, steps: int) -> Block:
        with scope(self.options.precision):
            config: Any = self.potential.config
            integrator: Any = self._integrator
            run = _block(config, integrator, self._grid, self._narrow)
            skin = jnp.asarray(self.skin, self._dtype)
            given = (self._params, self._batch, self._matter, self._bath, self.motion)
            return run(*given, jnp.int32(steps), skin, self._pbc)

    def compile(self) -> None:
        """Make the device ready without a step."""
        jax.block_until_ready(self._block(0).done)

    def current(self) -> list[System]:
        """The structures as they are now, without labels."""
        return [replace(frame.system, labels=Labels()) for frame in self.frames(self.motion)]

    def frames(self, motion: Motion) -> list[Frame]:
        """The structures of a motion of this engine, with energies, forces, stresses and velocities."""
        potential, step = self.potential, int(motion.step)
        positions, forces, momenta, cells, energies, virials = (
            np.asarray(leaf, np.float64)
            for leaf in (motion.positions, motion.forces, motion.momenta, motion.cell, motion.energy, motion.virial)
        )
        found = []
        for k, (system, rows) in enumerate(zip(self.systems, self._rows(), strict=True)):
            cell = cells[k] if system.is_bulk else system.cell
            volume = abs(float(np.linalg.det(cell)))
            labels = Labels(
                energy=self._starts[k] + float(energies[k]),
                forces=forces[rows],
                stress=virials[k] / volume if system.is_bulk else None,
                level_of_theory=potential.info.level_of_theory if potential.info.level_of_theory != "unknown" else "",
            )
            now = replace(system, positions=positions[rows], cell=cell, labels=labels, momenta=momenta[rows])
            found.append(Frame(now, step, step * self.options.timestep))
        return found

    def energy(self) -> float:
        """Potential energy of all structures, eV."""
        return float(np.asarray(self.motion.energy, np.float64).sum()) + sum(self._starts)

    def _rows(self) -> list[slice]:
        ends = np.cumsum(self._sizes)
        return [slice(int(end - size), int(end)) for size, end in zip(self._sizes, ends, strict=True)]

    def _starting_energies(self) -> list[float]:
        """Total energies where the run began, reference energies included, summed in float64, eV."""
        scale, origin = self.potential.energy_scale, np.asarray(self._matter.origin, np.float64)
        table, factors = scale.table(), np.asarray(self._matter.scale, np.float64)
        means = self._sizes if scale.reduce == "mean" else np.ones(len(self._sizes))
        return [
            float(factor * origin[rows].sum() + table[system.numbers].sum() / mean + scale.shift)
            for system, rows, factor, mean in zip(self.systems, self._rows(), factors, means, strict=True)
        ]

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on with the same bits: the motion, and where its neighbours were listed."""
        grid = (0,) * 7 if self._grid is None else (*self._grid.bins, *self._grid.reach, self._grid.capacity)
        return {
            "motion": self.motion,
            "origin": self._matter.origin,
            "anchor": self._batch.positions,
            "anchor_cells": self._batch.cell,
            "width": np.array(self._width),
            "slots": np.array(self._slots),
            "grid": np.array(grid),
            "numbers": np.concatenate([system.numbers for system in self.systems]),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self._width, self._slots = int(state["width"]), int(state["slots"])
        grid = [int(number) for number in state["grid"]]
        self._grid = Grid((grid[0], grid[1], grid[2]), (grid[3], grid[4], grid[5]), grid[6]) if any(grid) else None
        parts = zip(self.systems, self._rows(), np.asarray(state["anchor_cells"], np.float64), strict=True)
        self._batch = self._listed(
            [
                replace(system, positions=state["anchor"][rows], cell=cell if system.is_bulk else system.cell)
                for system, rows, cell in parts
            ]
        )
        with scope(self.options.precision):
            self._matter = replace(self._matter, origin=jnp.asarray(state["origin"]))
            self.motion = jax.tree.map(jnp.asarray, state["motion"])
        self._starts = self._starting_energies()


WIDTHS = tuple(range(4, 132, 4))
"""Numbers of neighbour slots that lists are padded to."""


def _fullest(edges: Edges) -> int:
    return int(np.bincount(edges.receivers, minlength=1).max())


def _check_bulk(system: System) -> None:
    if not system.is_bulk:
        raise InputError(f"{system.name} is not periodic in three directions: constant pressure needs a full cell.")
    if system.fixed.any():
        raise InputError(f"{system.name} has fixed atoms, which a cell that changes would move: use another ensemble.")


def _better_on_host(potential: Potential, systems: Sequence[System]) -> bool:
    """Whether neighbours are better listed by the host: on a CPU, unless listing takes as long as computing forces.

    A list of 32 atoms takes a CPU 0.85 ms on the host's way and 0.18 on the device's, 500 atoms 4.4 and 2.1, 4000 atoms
    32 and 34. A network takes many times that for every step and needs a list every twenty or so, and the search
    takes a second to compile.
    """
    classical = potential.n_parameters == 0 and max(map(len, systems)) <= LARGE
    return jax.default_backend() == "cpu" and not classical


@lru_cache(maxsize=16)
def _block(config: ModelConfig, integrator: Integrator, grid: Grid | None, narrow: int | None) -> Any:
    search = None if grid is None else Search(grid, config.loops)
    return jax.jit(make_block(config, integrator, LENGTH, search, narrow))


_list = jax.jit(list_neighbors, static_argnames=("grid", "width", "loops"))
