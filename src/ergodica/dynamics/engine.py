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
from jaxtyping import Float

from ergodica.dynamics.integrators import INTEGRATORS
from ergodica.dynamics.motion import Block, Forces, Matter, Motion, Thermostat, make_block, make_start
from ergodica.errors import InputError, WorkFailed
from ergodica.neighbors import Capacity, Edges, find_edges, pack, round_up
from ergodica.potentials.potential import ModelConfig
from ergodica.prediction import placed_params, scope
from ergodica.system import Batch, System
from ergodica.units import FS, GPA, KB

if TYPE_CHECKING:
    from ergodica.dynamics.options import MDOptions
    from ergodica.potentials.potential import Potential

__all__ = ["Engine", "Stretch", "momenta_at"]

SKIN = 0.6
"""Å beyond the cut-off within which neighbours are listed."""
LENGTH = 64
"""Most steps of a block."""
HEADROOM = 1.1
"""Room for neighbours in the next lists, relative to what the present one needs."""


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
        systems: where to start.
        options: ensemble, temperature, time step, precision and seed; every structure is at the same temperature.
        skin: Å beyond the cut-off within which neighbours are listed.
        momenta: of all atoms in a row [N, 3], amu·Å/(Å·√(amu/eV)); drawn at the temperature by default.
        step: number of the step they stand at.

    Raises:
        InputError: an unknown element, atoms on one place, or an ensemble that the engine does not have.
    """

    potential: Potential
    systems: Sequence[System]
    options: MDOptions
    skin: float = SKIN
    momenta: Float[np.ndarray, "N 3"] | None = None
    step: int = 0
    motion: Motion = field(init=False)

    def __post_init__(self) -> None:
        if self.options.ensemble not in INTEGRATORS:
            raise InputError(f"The engine has no ensemble '{self.options.ensemble}': use {', '.join(INTEGRATORS)}.")
        for system in self.systems:
            self.potential.check_elements(system.numbers, system.name)
        self._integrator = INTEGRATORS[self.options.ensemble]
        self._dtype = np.dtype(self.options.precision).type
        self._params = placed_params(self.potential, self.options.precision)
        self._count = sum(len(system) for system in self.systems)
        self._width = 0
        self._scale = float(self.potential.energy_scale.scale)
        self._batch = self._listed(self.systems)
        with scope(self.options.precision):
            self._matter, self._bath = self._given()
            self.motion = self._started()

    def _given(self) -> tuple[Matter, Thermostat]:
        from ase.data import atomic_masses

        options, dtype = self.options, self._dtype
        numbers = np.asarray(self._batch.numbers)
        sizes = np.array([len(system) for system in self.systems])
        masses = np.where(numbers > 0, atomic_masses[numbers], 1.0)
        matter = Matter(
            masses=jnp.asarray(masses, dtype),
            free=jnp.asarray(numbers > 0, dtype),
            system=jnp.asarray(self._batch.system),
            freedom=jnp.asarray(freedom_of(sizes, options.ensemble), dtype),
        )
        bath = Thermostat(
            timestep=jnp.asarray(options.timestep * FS, dtype),
            heat=jnp.full(len(sizes), KB * options.temperature, dtype),
            time=jnp.asarray(options.thermostat_time * FS, dtype),
            pressure=jnp.asarray(options.pressure * GPA, dtype),
            cell_time=jnp.asarray(options.barostat_time * FS, dtype),
            key=jax.random.key(options.seed),
        )
        return matter, bath

    def _started(self) -> Motion:
        momenta = self.momenta
        if momenta is None:
            rng = np.random.default_rng(self.options.seed)
            momenta = np.concatenate([momenta_at(s, self.options.temperature, self.options.ensemble, rng)
                                      for s in self.systems])  # fmt: skip
        padded = np.zeros((len(self._batch.numbers), 3), self._dtype)
        padded[: self._count] = momenta
        config: Any = self.potential.config
        found: Forces = _start(config, self._scale)(self._params, self._batch)
        motion = Motion(
            positions=jnp.asarray(self._batch.positions),
            momenta=jnp.asarray(padded),
            cell=jnp.asarray(self._batch.cell),
            forces=found.forces,
            energy=found.energy,
            virial=found.virial,
            extra=(),
            step=jnp.asarray(self.step, jnp.int32),
        )
        return replace(motion, extra=self._integrator.init(motion, self._matter, self._bath))

    def _listed(self, systems: Sequence[System]) -> Batch:
        """The structures with their neighbours within cut-off and skin, on the device."""
        edges = [find_edges(system, self.potential.cutoff + self.skin) for system in systems]
        loops = self.potential.config.loops
        need = max((_fullest(one) for one in edges), default=0) + loops
        if need > self._width:
            self._width = need if self._width == 0 and len(systems[0]) == need + 1 - loops else round_up(
                int(np.ceil(HEADROOM * need)), WIDTHS)  # fmt: skip
        capacity = Capacity(self._count, max(self._width, 1), len(systems))
        with scope(self.options.precision):
            return jax.device_put(pack(systems, edges, capacity, loops=loops, dtype=self._dtype))

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
            self.motion = block.motion
            logs.append((np.asarray(block.temperature)[:made], np.asarray(block.conserved)[:made]))
            done += made
            if made == 0 and fresh:
                raise WorkFailed(
                    f"An atom moves more than {self.skin / 2:g} Å in step {int(self.motion.step) + 1}: "
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
            run = _block(config, self._scale, self.options.ensemble)
            skin = jnp.asarray(self.skin, self._dtype)
            return run(self._params, self._batch, self._matter, self._bath, self.motion, jnp.int32(steps), skin)

    def current(self) -> list[System]:
        """The structures as they are now, without labels."""
        positions = np.asarray(self.motion.positions, np.float64)[: self._count]
        parts = np.split(positions, np.cumsum([len(system) for system in self.systems])[:-1])
        cells = np.asarray(self.motion.cell, np.float64)
        return [
            replace(system, positions=part, cell=cell if system.is_bulk else system.cell)
            for system, part, cell in zip(self.systems, parts, cells, strict=True)
        ]

    def velocities(self) -> list[Float[np.ndarray, "N 3"]]:
        """Velocities of the atoms of each structure, Å/fs."""
        momenta, masses = (np.asarray(leaf, np.float64) for leaf in (self.motion.momenta, self._matter.masses))
        found = (momenta / masses[:, None])[: self._count] * FS
        return np.split(found, np.cumsum([len(system) for system in self.systems])[:-1])


WIDTHS = tuple(range(4, 132, 4))
"""Numbers of neighbour slots that lists are padded to."""


def _fullest(edges: Edges) -> int:
    return int(np.bincount(edges.receivers, minlength=1).max())


def freedom_of(sizes: np.ndarray, ensemble: str) -> np.ndarray:
    """Degrees of freedom that hold heat: all of them under Langevin, else those beside the centre of mass."""
    return np.where((ensemble == "langevin") | (sizes == 1), 3.0 * sizes, 3.0 * sizes - 3.0)


def momenta_at(system: System, temperature: float, ensemble: str, rng: np.random.Generator) -> Float[np.ndarray, "N 3"]:
    """Momenta of exactly the temperature (K), the centre of mass at rest except under Langevin."""
    from ase.data import atomic_masses

    masses = atomic_masses[system.numbers][:, None]
    momenta = rng.standard_normal((len(system), 3)) * np.sqrt(masses * KB * temperature)
    freedom = float(freedom_of(np.array(len(system)), ensemble))
    if freedom < 3 * len(system):
        momenta -= masses * momenta.sum(axis=0) / masses.sum()
    found = float((momenta**2 / masses).sum()) / (freedom * KB)
    return momenta * np.sqrt(temperature / found) if found > 0 else momenta


@lru_cache(maxsize=16)
def _block(config: ModelConfig, scale: float, ensemble: str) -> Any:
    return jax.jit(make_block(config, scale, INTEGRATORS[ensemble], LENGTH))


@lru_cache(maxsize=16)
def _start(config: ModelConfig, scale: float) -> Any:
    return jax.jit(make_start(config, scale))
