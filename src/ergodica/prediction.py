"""Energies, forces and stresses of many structures: packed into few static shapes, answered in the order given.

Structures are sorted by the number of neighbour slots their atoms need and cut into groups, each with one static shape
(`plan`). The cut weighs the padding a further shape would save against what it costs to compile it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from jaxtyping import Float, Int

from ergodica.buckets import cheapest_ranges
from ergodica.errors import InputError, WorkFailed
from ergodica.neighbors import Capacity, find_edges, pack, round_up
from ergodica.potentials.ensemble import Spread
from ergodica.potentials.potential import (
    Derivatives,
    EnergyScale,
    Potential,
    compiled_derivatives,
    compiled_spread,
    property_function,
)
from ergodica.potentials.property import PropertyConfig
from ergodica.runtime import keep_freed_memory
from ergodica.system import Batch, System, as_systems
from ergodica.uncertainty import Uncertainty, physical_spread, require_spread

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "Precision",
    "Prediction",
    "PropertyPrediction",
    "batches",
    "compilations",
    "familiar",
    "iter_predictions",
    "physical",
    "placed_params",
    "plan",
    "predict",
    "scope",
]

Precision = Literal["float32", "float64"]

COMPILE_COST = 100_000
"""Neighbour slots that are computed in about the time that one more shape takes to compile."""
CPU_SLOTS = 1 << 13
"""Neighbour slots (atoms times width) of one batch on a CPU: larger ones fall out of its cache and run slower."""
DEVICE_SLOTS = 1 << 15
"""The same on an accelerator: enough to fill it, little enough for its memory."""


@dataclass(frozen=True)
class Prediction:
    """What an energy model says of one structure, in float64.

    Attributes:
        energy: total energy, eV.
        energies: its parts by atom, reference energies included [N], eV.
        forces: [N, 3], eV/Å.
        stress: Cauchy stress [3, 3], eV/Å³, tension positive; None unless periodic in three directions.
        uncertainty: how far to trust these, where it was asked for.
    """

    energy: float
    energies: Float[np.ndarray, " N"]
    forces: Float[np.ndarray, "N 3"]
    stress: Float[np.ndarray, "3 3"] | None
    uncertainty: Uncertainty | None = None


@dataclass(frozen=True)
class PropertyPrediction:
    """What a model with another head says of one structure.

    Attributes:
        kind: the head: "dipole", "extent", "vector", or the name of a learnt property.
        value: a number, or one vector an atom [N, 3], in the units the model was trained on.
    """

    kind: str
    value: float | Float[np.ndarray, "N 3"]


def predict(
    potential: Potential,
    structures: System | Atoms | Sequence[System | Atoms],
    *,
    precision: Precision = "float32",
    uncertainty: bool = False,
    max_atoms: int = 4096,
    shapes: list[Capacity] | None = None,
) -> list[Prediction] | list[PropertyPrediction]:
    """Predict every structure, in the order given.

    Args:
        potential: the model.
        structures: one or many `System` or `ase.Atoms`.
        precision: of the network; totals are summed in float64 either way.
        uncertainty: say how far to trust each prediction; for ensembles.
        max_atoms: largest number of atoms in a batch of several structures.
        shapes: static shapes of earlier calls, taken again where they fit; new ones are added. Who calls many times,
            as a minimiser does, keeps one list and compiles little.

    Raises:
        InputError: an element the model does not know, atoms on one place, or the uncertainty of a single model.
        WorkFailed: the model gave something that is not a finite number.
    """
    options: dict[str, Any] = {"precision": precision, "max_atoms": max_atoms, "shapes": shapes}
    found = dict(iter_predictions(potential, structures, uncertainty=uncertainty, **options))
    return [found[index] for index in range(len(found))]  # type: ignore[return-value]


def iter_predictions(
    potential: Potential,
    structures: System | Atoms | Sequence[System | Atoms],
    *,
    precision: Precision = "float32",
    uncertainty: bool = False,
    max_atoms: int = 4096,
    shapes: list[Capacity] | None = None,
) -> Iterator[tuple[int, Prediction | PropertyPrediction]]:
    """As `predict`, yielding (index, prediction) as batches finish, in the order that suits the device."""
    if uncertainty:
        require_spread(potential)
    systems = as_systems(structures)
    params = placed_params(potential, precision)
    running: tuple[Sequence[int], Any] | None = None
    for members, batch in batches(potential, systems, precision, max_atoms, shapes):
        with scope(precision):  # starts the computation; the result arrives when it is read
            output = _function(potential, uncertainty)(params, batch)
        if running is not None:  # the device works on this batch while the host unpacks the last one
            yield from _collect(potential, systems, *running)
        running = members, output
    if running is not None:
        yield from _collect(potential, systems, *running)


def batches(
    potential: Potential,
    systems: Sequence[System],
    precision: Precision = "float32",
    max_atoms: int = 4096,
    shapes: list[Capacity] | None = None,
) -> Iterator[tuple[Sequence[int], Batch]]:
    """Structures packed for a potential, as (indices, batch), in the order that suits the device; see `predict`.

    Raises:
        InputError: an element the model does not know, or atoms on one place.
    """
    for system in systems:
        potential.check_elements(system.numbers, system.name)
    widths = np.array([_width(system, potential) for system in systems], int)
    for members, capacity in plan(np.array([len(s) for s in systems], int), widths, max_atoms):
        chosen = [systems[index] for index in members]
        edges = [find_edges(system, potential.cutoff) for system in chosen]
        dtype = np.dtype(precision).type
        shape = capacity if shapes is None else familiar(capacity, shapes)
        yield members, pack(chosen, edges, shape, loops=potential.config.loops, dtype=dtype, centred=True)


def _width(system: System, potential: Potential) -> int:
    """Neighbour slots the fullest atom needs."""
    counts = np.bincount(find_edges(system, potential.cutoff).receivers, minlength=1)
    return max(int(counts.max()) + potential.config.loops, 1)


def plan(
    sizes: Int[np.ndarray, " S"], widths: Int[np.ndarray, " S"], max_atoms: int = 4096, times: int = 1
) -> list[tuple[list[int], Capacity]]:
    """Batches as (indices of structures, static shape); structures of one group of widths share one shape.

    Args:
        sizes: atoms of each structure.
        widths: neighbour slots an atom each structure needs.
        max_atoms: largest number of atoms in a batch of several structures.
        times: how often each batch will be computed.
    """
    buckets = np.array([round_up(int(width)) for width in widths], int)
    batches = []
    for low, high in _groups(times * sizes, buckets):
        members = np.flatnonzero((buckets >= low) & (buckets <= high))
        batches += _fill(members, sizes, high, max_atoms)
    return batches


def _groups(sizes: Int[np.ndarray, " S"], buckets: Int[np.ndarray, " S"]) -> list[tuple[int, int]]:
    """Ranges of widths that share a shape: the partition with the least padded slots plus cost of compiling."""
    levels, inverse = np.unique(buckets, return_inverse=True)
    before = np.concatenate([[0], np.cumsum(np.bincount(inverse, weights=sizes, minlength=len(levels)))])

    def cost(start: int, end: int) -> float:
        return float((before[end] - before[start]) * levels[end - 1] + COMPILE_COST)

    return [(int(levels[start]), int(levels[end - 1])) for start, end in cheapest_ranges(len(levels), cost)]


def _fill(
    members: Int[np.ndarray, " M"], sizes: Int[np.ndarray, " S"], width: int, max_atoms: int
) -> list[tuple[list[int], Capacity]]:
    """Pack structures into bins of equal capacity, the largest first, each into the first bin with room."""
    total, largest = int(sizes[members].sum()), int(sizes[members].max())
    slots = CPU_SLOTS if jax.default_backend() == "cpu" else DEVICE_SLOTS
    limit = max(min(slots // width, max_atoms), 1)
    atoms = round_up(max(largest, -(-total // -(-total // limit))))
    bins: list[list[int]] = []
    room: list[int] = []
    for index in members[np.argsort(-sizes[members], kind="stable")]:
        size = int(sizes[index])
        place = next((k for k, free in enumerate(room) if free >= size), len(bins))
        if place == len(bins):
            bins.append([])
            room.append(atoms)
        bins[place].append(int(index))
        room[place] -= size
    capacity = Capacity(atoms, width, round_up(max(map(len, bins))))
    return [(chosen, capacity) for chosen in bins]


def familiar(capacity: Capacity, shapes: list[Capacity]) -> Capacity:
    """The tightest of the shapes that hold this one without much more padding; itself, and remembered, if none does."""
    slots = capacity.atoms * capacity.width
    fitting = [
        shape
        for shape in shapes
        if shape.atoms >= capacity.atoms
        and shape.width >= capacity.width
        and shape.systems >= capacity.systems
        and shape.atoms * shape.width <= max(2 * slots, CPU_SLOTS // 2)
    ]
    if fitting:
        return min(fitting, key=lambda shape: shape.atoms * shape.width)
    shapes.append(capacity)
    return capacity


@contextmanager
def scope(precision: Precision) -> Iterator[None]:
    """Compile and run in this precision, without the shortened products (TF32) some devices take for float32."""
    with ExitStack() as stack:
        stack.enter_context(jax.enable_x64(precision == "float64"))
        stack.enter_context(jax.default_matmul_precision("highest"))
        yield


def placed_params(potential: Potential, precision: Precision, device: jax.Device | None = None) -> Any:
    """The parameters in this precision on a device (JAX's default when None)."""
    if precision not in ("float32", "float64"):
        raise InputError(f"precision '{precision}' is not known: choose 'float32' or 'float64'.")
    keep_freed_memory()
    with scope(precision):
        return jax.device_put(jax.tree.map(lambda leaf: np.asarray(leaf, precision), potential.params), device)


def compilations(potential: Potential, uncertainty: bool = False) -> int:
    """How many static shapes this architecture has been compiled for in this process."""
    return _function(potential, uncertainty)._cache_size()


def _function(potential: Potential, uncertainty: bool = False) -> Any:
    config: Any = potential.config
    if config.head != "energy":
        return property_function(config, potential.energy_scale.scale, potential.energy_scale.reduce)
    return compiled_spread(config) if uncertainty else compiled_derivatives(config)


def _collect(
    potential: Potential, systems: Sequence[System], members: Sequence[int], output: Any
) -> Iterator[tuple[int, Prediction | PropertyPrediction]]:
    """Cut the output of one batch into its structures."""
    scale = potential.energy_scale
    table = scale.table()
    output = jax.tree.map(np.asarray, output)
    output, spread = output if type(output) is tuple else (output, None)  # `Derivatives` is a tuple with names
    start = 0
    for row, index in enumerate(members):
        system = systems[index]
        atoms = slice(start, start + len(system))
        start += len(system)
        if isinstance(output, Derivatives):
            one = Derivatives(output.energies[atoms], output.forces[atoms], output.virial[row])
            found = physical(scale, table, system, one)
            if spread is not None:
                own = Spread(spread.energy[row], spread.forces[atoms], spread.virial[row])
                found = replace(found, uncertainty=physical_spread(scale, potential.calibration, system, own))
            yield index, found
        else:
            value = output[atoms] if potential.config.head == "vector" else output[row]
            yield index, _property(potential, system, value)


def physical(scale: EnergyScale, table: Float[np.ndarray, " Z"], system: System, output: Derivatives) -> Prediction:
    """From the network's output for one structure to physical numbers, in float64.

    Args:
        scale: of the potential.
        table: `scale.table()`, which is worth keeping.
        system: the structure.
        output: its own part of the output: [N], [N, 3] and [3, 3], on the host.

    Raises:
        WorkFailed: something is not a finite number.
    """
    n = len(system)
    weight = 1.0 / n if scale.reduce == "mean" else 1.0
    factor = weight * scale.scale
    energies = factor * np.asarray(output.energies, np.float64) + weight * table[system.numbers] + scale.shift / n
    forces = factor * np.asarray(output.forces, np.float64)
    energy = float(energies.sum())
    stress = factor / system.volume * np.asarray(output.virial, np.float64) if system.is_bulk else None
    _check_finite(system, energies, forces, stress)
    return Prediction(energy, energies, forces, stress)


def _property(potential: Potential, system: System, value: Any) -> PropertyPrediction:
    config, scale = potential.config, potential.energy_scale
    value = np.asarray(value, np.float64) + scale.shift
    if isinstance(config, PropertyConfig):
        value = (value + scale.table()[system.numbers].sum()) / (len(system) if config.average else 1)
    _check_finite(system, value)
    return PropertyPrediction(config.head, value if value.ndim else float(value))


def _check_finite(system: System, *values: Any) -> None:
    # a sum is finite only when all its terms are
    if not all(value is None or isfinite(np.sum(value)) for value in values):
        raise WorkFailed(
            f"{system.name}: the model's answer is not a finite number; the structure is far from what it was trained "
            "on (atoms too close?) or its parameters are damaged."
        )
