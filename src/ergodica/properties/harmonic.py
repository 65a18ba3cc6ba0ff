"""Force constants from finite displacements, through phonopy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ergodica.dynamics.symmetry import no_symmetry
from ergodica.errors import InputError
from ergodica.properties.evaluation import Evaluate, require_crystals
from ergodica.properties.options import PhononOptions
from ergodica.system import System

__all__ = [
    "displaced",
    "forces_at_rest",
    "harmonic_crystals",
    "require_harmonic",
    "set_forces",
    "supercell_multiples",
]


def harmonic_crystals(
    evaluate: Evaluate, systems: Sequence[System], options: PhononOptions, volumes: int = 1
) -> list[Any]:
    """A `phonopy.Phonopy` with force constants for each structure; labels must hold the forces at rest, if any.

    Forces of the undisplaced crystal are subtracted, so that what is left of them after a relaxation does no harm.

    Args:
        evaluate: from `evaluator`.
        systems: the structures.
        options: how.
        volumes: so many structures in a row are one crystal at several volumes: they get the supercell of the smallest.
    """
    harmonics = []
    for first in range(0, len(systems), volumes):
        crystals = systems[first : first + volumes]
        lattice = _repeated(min(crystals, key=lambda one: one.volume), options)[0]
        multiples = options.supercell or supercell_multiples(np.asarray(lattice), options.length)
        harmonics += [displaced(system, options, multiples) for system in crystals]
    cells: list[System] = []
    for system, harmonic in zip(systems, harmonics, strict=True):
        cells += [_system_of(cell, system) for cell in harmonic.supercells_with_displacements]
    forces = iter([labels.forces for labels in evaluate(cells, stress=False)])
    for system, harmonic in zip(systems, harmonics, strict=True):
        own = np.array([next(forces) for _ in harmonic.supercells_with_displacements])
        set_forces(harmonic, own - forces_at_rest(system, harmonic))
    return harmonics


def require_harmonic(systems: Sequence[System], what: str) -> None:
    """Raise `InputError` for the first structure that can't be repeated and displaced; `what` is in its message."""
    require_crystals(systems, what)
    for system in systems:
        if system.charge:
            raise InputError(
                f"{system.name} has a charge of {system.charge:g}, of which a supercell would have many: {what} are of "
                "neutral crystals, so take it out."
            )
        _masses(system, system.numbers)


def set_forces(harmonic: Any, forces: Float[np.ndarray, "D A 3"], sum_rule: bool = True) -> None:
    """Make force constants from the forces on displaced supercells.

    Args:
        harmonic: a `phonopy.Phonopy` with displacements.
        forces: eV/Å.
        sum_rule: impose that a translation costs nothing and that force constants are symmetric.
    """
    harmonic.forces = forces
    harmonic.produce_force_constants(show_drift=False)
    if sum_rule:
        harmonic.symmetrize_force_constants(show_drift=False)


def displaced(system: System, options: PhononOptions, multiples: tuple[int, int, int] | None = None) -> Any:
    """Phonopy's object with displacements: of the cell as given, or of the conventional one.

    Args:
        system: the structure.
        options: how.
        multiples: of the cell, instead of those that the options lead to.
    """
    import phonopy
    from phonopy.structure.atoms import PhonopyAtoms
    from phonopy.structure.cells import guess_primitive_matrix

    lattice, places, numbers = _repeated(system, options)
    masses = _masses(system, numbers)
    cell = PhonopyAtoms(numbers=numbers, cell=lattice, scaled_positions=places, masses=masses)
    multiples = multiples or options.supercell or supercell_multiples(np.asarray(lattice), options.length)
    primitive = guess_primitive_matrix(cell, symprec=options.symprec)  # "auto" does the same, and warns of it
    harmonic = phonopy.Phonopy(cell, np.diag(multiples), primitive_matrix=primitive, symprec=options.symprec)
    harmonic.generate_displacements(distance=options.displacement)
    return harmonic


def _repeated(system: System, options: PhononOptions) -> tuple[Any, Any, Any]:
    """Lattice, fractional coordinates and numbers of the cell that is repeated."""
    crystal: Any = (system.cell, system.positions @ np.linalg.inv(system.cell), system.numbers)
    if options.supercell is None:
        import spglib

        try:
            crystal = spglib.standardize_cell(crystal, no_idealize=True, symprec=options.symprec)
        except Exception as error:  # which one depends on spglib's version; older ones return None
            raise no_symmetry(system.name, options.symprec) from error
        if crystal is None:
            raise no_symmetry(system.name, options.symprec)
    return crystal


def _masses(system: System, numbers: Int[np.ndarray, " N"]) -> list[float] | None:
    """Of isotopes, in another order of the atoms; None for those of the elements."""
    if not system.own_masses.size:
        return None
    known: dict[int, set[float]] = {}
    for number, mass in zip(system.numbers.tolist(), system.own_masses.tolist(), strict=True):
        known.setdefault(number, set()).add(mass)
    if any(len(masses) > 1 for masses in known.values()):
        raise InputError(f"{system.name}: atoms of one element have several masses; phonons need one for all of them.")
    return [min(known[int(number)]) for number in numbers]


def supercell_multiples(cell: Float[np.ndarray, "3 3"], length: float) -> tuple[int, int, int]:
    """Multiples of a cell whose opposite faces are at least `length` (Å) apart."""
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    a, b, c = (int(np.ceil(length / height - 1e-6)) for height in heights)
    return a, b, c


def _system_of(cell: Any, system: System) -> System:
    return System(cell.numbers, cell.positions, cell.cell, np.ones(3, bool), 0.0, name=f"supercell of {system.name}")


def forces_at_rest(system: System, harmonic: Any) -> Float[np.ndarray, "A 3"]:
    """Forces on the undisplaced supercell, from those of the structure; zero where it has none."""
    forces = system.labels.forces
    if forces is None:
        return np.zeros((len(harmonic.supercell), 3))
    # the atom of the structure of which each supercell's atom is an image
    inverse = np.linalg.inv(system.cell)
    gaps = (harmonic.supercell.positions[:, None] - system.positions) @ inverse
    gaps = (gaps - np.rint(gaps)) @ system.cell
    return forces[np.linalg.norm(gaps, axis=2).argmin(axis=1)]
