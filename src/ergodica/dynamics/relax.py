"""Relaxation of atoms and cells: many structures at once, by minimisers that run on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ergodica.config import check_keys
from ergodica.dynamics.descent import RESTED
from ergodica.dynamics.lanes import Arrival, Device, handed_on, lanes_for
from ergodica.dynamics.minimizers import MINIMIZERS
from ergodica.dynamics.options import RelaxOptions
from ergodica.dynamics.walkers import walker_of
from ergodica.errors import WorkFailed
from ergodica.neighbors import Capacity
from ergodica.potentials.potential import Derivatives
from ergodica.prediction import physical
from ergodica.system import Labels, System, as_systems

if TYPE_CHECKING:
    from ase import Atoms

    from ergodica.potentials.potential import Potential

__all__ = ["Progress", "Relaxed", "iter_relaxed", "relax"]


@dataclass(frozen=True)
class Relaxed:
    """A relaxed structure.

    Attributes:
        system: the structure, its labels the model's energy, forces and stress.
        converged: whether forces (and stress, with the cell) came below the limit.
        steps: steps taken.
        fmax: largest force on a free atom, eV/Å; NaN when the model never gave one.
        failure: why it could not go on: a sentence, empty where nothing failed. `system` is then what its last good
            step led to.
    """

    system: System
    converged: bool
    steps: int
    fmax: float
    failure: str = ""


class Progress(NamedTuple):
    """How far a relaxation has come.

    Attributes:
        done: structures that have stopped.
        moving: structures of the present batch that move.
        fmax: largest force on an atom of these, eV/Å.
    """

    done: int
    moving: int
    fmax: float


Report = Callable[[Progress], None]


def relax(
    potential: Potential,
    structures: System | Atoms | Sequence[System | Atoms],
    options: RelaxOptions | None = None,
    **changes: Any,
) -> list[Relaxed]:
    """Relax structures side by side.

    Atoms that ASE's `FixAtoms` or `System.fixed` holds stay where they are; where the cell moves they move along.

    Args:
        potential: the model.
        structures: one or many.
        options: how.
        changes: fields of `RelaxOptions` by name, such as `cell=True, fmax=1e-3`.

    Returns:
        the relaxed structures in the order given; one that did not converge, or failed, says so.

    Raises:
        InputError: a model without energies, an element it does not know, atoms on one place, or `cell` for a structure
            that is not fully periodic.
    """
    found = dict(iter_relaxed(potential, as_systems(structures), options, **changes))
    return [found[index] for index in range(len(found))]


def iter_relaxed(
    potential: Potential,
    systems: Sequence[System],
    options: RelaxOptions | None = None,
    report: Report | None = None,
    shapes: list[Capacity] | None = None,
    **changes: Any,
) -> Iterator[tuple[int, Relaxed]]:
    """Like `relax`, index and result of each structure as it stops.

    Args:
        potential: the model.
        systems: the structures.
        options: how.
        report: told about the progress now and then.
        shapes: static shapes of earlier calls, taken again where they fit; new ones are added.
        changes: fields of `RelaxOptions` by name.
    """
    check_keys(RelaxOptions, changes, "relax")
    options = replace(options or RelaxOptions(), **changes)
    potential.require_energies()
    for system in systems:  # all are looked at before the first is worked on
        potential.check_elements(system.numbers, system.name)
    return _finished(potential, systems, options, report or (lambda _: None), shapes)


def _finished(
    potential: Potential,
    systems: Sequence[System],
    options: RelaxOptions,
    report: Report,
    shapes: list[Capacity] | None,
) -> Iterator[tuple[int, Relaxed]]:
    """Index and result of each structure as it stops."""
    minimizer = MINIMIZERS[options.optimizer.upper()]
    walkers = [walker_of(index, system, options, minimizer) for index, system in enumerate(systems)]
    device = Device(potential, options, max((len(walker.operations) for walker in walkers), default=1))
    for walker in walkers:
        walker.edges = device.listed(walker.start)
    table, done = potential.energy_scale.table(), 0
    lanes = lanes_for(device, walkers, shapes)
    while lanes:
        lane, *lanes = lanes
        for arrivals in lane.run(last=not lanes):
            done += len(arrivals)
            report(Progress(done, len(lane.inside), lane.largest_force()))
            for one in arrivals:
                yield one.walker.index, _relaxed(potential, table, one, options)
        lanes = handed_on(lane.left, lanes, device)


def _relaxed(potential: Potential, table: np.ndarray, arrival: Arrival, options: RelaxOptions) -> Relaxed:
    """The result for one structure."""
    walker, state = arrival.walker, arrival.walker.state
    start, count, steps = walker.start, len(walker), int(state.steps[0])
    still = start.fixed[:, None] & (not options.cell)  # to the last bit, whatever the precision
    positions = np.where(still, start.positions, arrival.positions)
    system = replace(start, positions=positions, cell=arrival.cell if options.cell else start.cell)
    name, failure = start.name, walker.failure
    if not np.any(state.energies) and failure:  # the first answer was none
        return Relaxed(start.with_labels(Labels()), False, steps, float("nan"), _astray(name, steps, failure))
    output = Derivatives(state.energies[:count], state.pulls[:count], state.pulls[count:])
    try:
        found = physical(potential.energy_scale, table, system, output)
    except WorkFailed as error:
        return Relaxed(system.with_labels(Labels()), False, steps, float("nan"), str(error))
    labels = Labels(found.energy, found.forces, found.stress)
    converged = int(state.status[0]) == RESTED and not failure
    sentence = _astray(name, steps, failure) if failure else ""
    return Relaxed(system.with_labels(labels), converged, steps, float(state.force[0]), sentence)


def _astray(name: str, steps: int, why: str) -> str:
    return f"The relaxation of {name} went astray at step {steps}: {why.rstrip('.')}."
