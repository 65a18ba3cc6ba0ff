"""One structure (`System`) and many of them packed for the device (`Batch`).

A `System` is plain NumPy in float64 and never enters `jit`; a `Batch` is a pytree of padded arrays whose shapes come
from a small set, so that a stream of different structures compiles a handful of times.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ergodica.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Batch", "Labels", "Neighbors", "System", "as_system", "as_systems", "charge_of", "unpaired_electrons"]

MAX_ATOMIC_NUMBER = 118

UNPAIRED = {"spin": 0, "uhf": 0, "multiplicity": 1}
"""What info may say of unpaired electrons, and by how much it says more."""

SOURCE = ("teacher", "level_of_theory")
"""What files say of where labels come from."""


@dataclass(frozen=True)
class Labels:
    """Reference values of one structure; what was not computed is None.

    Attributes:
        energy: total energy, eV.
        forces: forces [N, 3], eV/Å.
        stress: Cauchy stress [3, 3], eV/Å³, tension positive.
        teacher: program or model that computed them, with its version; empty where unknown.
        level_of_theory: what it computes or was trained on; empty where unknown.
    """

    energy: float | None = None
    forces: Float[np.ndarray, "N 3"] | None = None
    stress: Float[np.ndarray, "3 3"] | None = None
    teacher: str = ""
    level_of_theory: str = ""

    def value(self, label: str, name: str) -> Any:
        """A label, None where it is not known.

        Args:
            label: "energy", "forces" or "stress".
            name: of the structure, for the message.

        Raises:
            InputError: it is not finite.
        """
        value = getattr(self, label)
        if value is not None and not np.isfinite(value).all():
            raise InputError(f"{name}: the label '{label}' is not a finite number.")
        return value


@dataclass(frozen=True)
class System:
    """One structure: molecule, cluster, slab or crystal.

    Attributes:
        numbers: atomic numbers [N].
        positions: Cartesian coordinates [N, 3], Å.
        cell: lattice vectors as rows [3, 3], Å; zeros along directions without one.
        pbc: which of the three directions are periodic [3].
        charge: total charge, e.
        labels: reference energy, forces and stress, where known.
        name: where the structure came from, for messages ("water.xyz frame 3").
        info: what else is known of it ("kind", "temperature_K"): numbers and texts that files carry along.
        fixed: atoms that dynamics and relaxation leave where they are [N]; none by default.
        own_masses: of isotopes [N], u; empty where they are those of the elements.
        momenta: in ASE's units [N, 3]; empty where none are known.

    Raises:
        InputError: from `validate`, naming the first thing that no potential could digest.
    """

    numbers: Int[np.ndarray, " N"]
    positions: Float[np.ndarray, "N 3"]
    cell: Float[np.ndarray, "3 3"] = field(default_factory=lambda: np.zeros((3, 3)))
    pbc: Bool[np.ndarray, " 3"] = field(default_factory=lambda: np.zeros(3, bool))
    charge: float = 0.0
    labels: Labels = field(default_factory=Labels)
    name: str = "structure"
    info: Mapping[str, str | float] = field(default_factory=dict)
    fixed: Bool[np.ndarray, " N"] = field(default_factory=lambda: np.zeros(0, bool))
    own_masses: Float[np.ndarray, " M"] = field(default_factory=lambda: np.zeros(0))
    momenta: Float[np.ndarray, "M 3"] = field(default_factory=lambda: np.zeros((0, 3)))

    def __post_init__(self) -> None:
        if not np.size(self.fixed):
            object.__setattr__(self, "fixed", np.zeros(np.size(self.numbers), bool))
        arrays = (
            ("numbers", np.int32),
            ("positions", np.float64),
            ("cell", np.float64),
            ("pbc", bool),
            ("fixed", bool),
            ("own_masses", np.float64),
            ("momenta", np.float64),
        )
        for key, dtype in arrays:
            # a copy: ASE moves its arrays in place, and a neighbour list must not see its anchor move along
            object.__setattr__(self, key, np.array(getattr(self, key), dtype))
        self.validate()

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def masses(self) -> Float[np.ndarray, " N"]:
        """Of the atoms [N], u."""
        from ase.data import atomic_masses

        return self.own_masses if self.own_masses.size else atomic_masses[self.numbers]

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³ (0 for a system without three lattice vectors)."""
        return float(abs(np.linalg.det(self.cell)))

    @property
    def is_bulk(self) -> bool:
        """Periodic in all three directions, so that a stress is defined."""
        return bool(self.pbc.all())

    def validate(self) -> None:
        """Check what can be checked without a neighbour list; raise `InputError` with the mend."""
        n = len(self.numbers)
        if n == 0:
            raise InputError(f"{self.name} has no atoms: give a structure with at least one.")
        if self.positions.shape != (n, 3):
            raise InputError(f"{self.name}: positions have shape {self.positions.shape}, expected ({n}, 3).")
        if self.fixed.shape != (n,):
            raise InputError(f"{self.name}: 'fixed' has shape {self.fixed.shape}, expected ({n},): one for each atom.")
        if self.own_masses.size and (self.own_masses.shape != (n,) or not (self.own_masses > 0).all()):
            raise InputError(f"{self.name}: masses must be {n} positive numbers, or left out.")
        if self.momenta.size and (self.momenta.shape != (n, 3) or not np.isfinite(self.momenta).all()):
            raise InputError(f"{self.name}: momenta must be {n} times 3 finite numbers, or left out.")
        if self.cell.shape != (3, 3) or self.pbc.shape != (3,):
            raise InputError(f"{self.name}: the cell must be [3, 3] (rows are vectors) and pbc [3].")
        unknown = self.numbers[(self.numbers < 1) | (self.numbers > MAX_ATOMIC_NUMBER)]
        if unknown.size:
            raise InputError(
                f"{self.name} has an atom of unknown element (atomic number {unknown[0]}): "
                "replace dummy atoms by real elements."
            )
        if not np.isfinite(self.positions).all() or not np.isfinite(self.cell).all():
            bad = np.flatnonzero(~np.isfinite(self.positions).all(axis=1))
            where = f"position of atom {bad[0]}" if bad.size else "cell"
            raise InputError(f"{self.name}: the {where} is not a finite number; repair the coordinates.")
        self._validate_cell()

    def _validate_cell(self) -> None:
        periodic = self.cell[self.pbc]
        if not len(periodic):
            return
        spanned = np.sqrt(max(np.linalg.det(periodic @ periodic.T), 0.0))
        if spanned < 1e-6 * max(np.linalg.norm(periodic, axis=1).max(), 1e-3) ** len(periodic):
            raise InputError(
                f"{self.name} is periodic but its cell has zero volume: "
                "give independent lattice vectors or set pbc to F."
            )

    @classmethod
    def from_ase(cls, atoms: Atoms, name: str = "structure") -> System:
        """Take an `ase.Atoms` with what its calculator already holds, its `FixAtoms`, masses and momenta."""
        return cls(
            numbers=atoms.numbers,
            positions=atoms.positions,
            cell=atoms.cell.array,
            pbc=atoms.pbc,
            charge=charge_of(atoms, name),
            labels=_labels_of(atoms),
            name=name,
            info=_info_of(atoms),
            fixed=_fixed_of(atoms),
            own_masses=atoms.get_masses() if atoms.has("masses") else np.zeros(0),
            momenta=atoms.get_momenta() if atoms.has("momenta") else np.zeros((0, 3)),
        )

    def to_ase(self) -> Atoms:
        """The same structure as `ase.Atoms`, labels attached as a single-point calculator; at rest."""
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.constraints import FixAtoms
        from ase.stress import full_3x3_to_voigt_6_stress

        atoms = Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)
        labels = self.labels
        known = {"charge": self.charge, **{key: getattr(labels, key) for key in SOURCE}}
        atoms.info.update(self.info, **{key: value for key, value in known.items() if value})
        results: dict[str, Any] = {"energy": labels.energy, "forces": labels.forces}
        if labels.stress is not None:
            results["stress"] = full_3x3_to_voigt_6_stress(labels.stress)
        results = {key: value for key, value in results.items() if value is not None}
        if results:
            atoms.calc = SinglePointCalculator(atoms, **results)
        if self.own_masses.size:
            atoms.set_masses(self.own_masses)
        if self.fixed.any():
            atoms.set_constraint(FixAtoms(mask=self.fixed))
        return atoms

    def with_labels(self, labels: Labels) -> System:
        """The same structure with other reference values."""
        return replace(self, labels=labels)


def charge_of(atoms: Atoms, name: str = "structure") -> float:
    """The total charge that `info["charge"]` gives, e.

    Raises:
        InputError: it is no number.
    """
    value = atoms.info.get("charge", 0.0)
    try:
        charge = float(value)
    except (TypeError, ValueError):
        charge = float("nan")
    if not np.isfinite(charge):
        raise InputError(f"{name}: the charge '{value}' is not a number.")
    return charge


def unpaired_electrons(info: Mapping[str, Any], name: str = "structure") -> int | None:
    """What `info` says of the number of unpaired electrons, as "spin", "uhf" or "multiplicity"; None: nothing.

    Raises:
        InputError: what it says is no whole number.
    """
    for key, more in UNPAIRED.items():
        if key in info:
            try:
                if float(info[key]) == int(info[key]):
                    return int(info[key]) - more
            except (TypeError, ValueError):
                pass
            raise InputError(f"{name}: '{key}' of {info[key]!r} is no whole number.")
    return None


def _info_of(atoms: Atoms) -> dict[str, str | float]:
    """The plain numbers and texts among what ASE's reader found beside the atoms, as Python's own types."""
    plain = {key: getattr(value, "item", lambda value=value: value)() for key, value in atoms.info.items()
             if np.ndim(value) == 0 and key not in ("charge", *SOURCE)}  # fmt: skip
    return {str(key): value for key, value in plain.items() if isinstance(value, str | int | float)}


def _fixed_of(atoms: Atoms) -> Bool[np.ndarray, " N"]:
    """The atoms that ASE's `FixAtoms` hold; of other constraints it is warned that they are left out."""
    fixed = np.zeros(len(atoms), bool)
    for constraint in atoms.constraints:
        kind = type(constraint).__name__
        if kind == "FixAtoms":
            fixed[constraint.index] = True
        else:
            warnings.warn(f"{kind} is left out: of ASE's constraints Ergodica keeps FixAtoms alone.", stacklevel=2)
    return fixed


def _labels_of(atoms: Atoms) -> Labels:
    """Labels an ASE reader attached; only finished results are read, nothing is computed."""
    from ase.stress import voigt_6_to_full_3x3_stress

    results = {} if atoms.calc is None or atoms.calc.calculation_required(atoms, []) else atoms.calc.results
    energy, forces, stress = (results.get(key) for key in ("energy", "forces", "stress"))
    if stress is not None:
        stress = np.asarray(stress, float)
        stress = voigt_6_to_full_3x3_stress(stress) if stress.shape == (6,) else stress.reshape(3, 3)
        stress = stress if np.isfinite(stress).all() else None
    return Labels(
        energy=None if energy is None else float(energy),
        forces=None if forces is None else np.asarray(forces, float),
        stress=stress,
        **{key: str(atoms.info.get(key, "")) for key in SOURCE},
    )


def as_system(structure: System | Atoms, name: str = "structure") -> System:
    """A `System` from a `System` or an `ase.Atoms`."""
    return structure if isinstance(structure, System) else System.from_ase(structure, name)


def as_systems(structures: System | Atoms | Sequence[System | Atoms]) -> list[System]:
    """A list of `System` from one or many `System` or `ase.Atoms`."""
    if isinstance(structures, System) or hasattr(structures, "get_positions"):
        return [as_system(structures)]  # type: ignore[arg-type]
    return [as_system(one, f"structure {index}") for index, one in enumerate(structures)]  # type: ignore[arg-type]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Neighbors:
    """Directed edges in a dense layout: row i holds the neighbours of atom i, at most K of them.

    A fixed width makes every sum over neighbours a plain reduction, and the slot of the opposite edge (`reverse`) makes
    every transpose a gather: no scatter is needed in the forward pass or in any derivative (see `ergodica.nn.pairs`).

    Attributes:
        index: sender j of each edge j → i [A, K]; empty slots point at atom i itself.
        shift: lattice translation of the sender, in cell vectors [A, K, 3].
        mask: True where the slot holds an edge [A, K].
        reverse: flat slot (row·K + column) of the edge i → j [A, K]; empty slots point at themselves.
    """

    index: Int[Array, "A K"]
    shift: Float[Array, "A K 3"]
    mask: Bool[Array, "A K"]
    reverse: Int[Array, "A K"]

    @property
    def width(self) -> int:
        """Slots of a row, K."""
        return self.index.shape[1]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Batch:
    """Several structures padded to static shapes: A atoms, K neighbour slots an atom, B structures.

    Attributes:
        numbers: atomic numbers [A]; 0 marks padding.
        positions: Cartesian coordinates [A, 3], Å.
        system: which structure an atom belongs to [A], ascending; padding atoms go with the last.
        cell: lattice vectors as rows [B, 3, 3], Å; the unit matrix where there is none.
        bulk: periodic in three directions [B], so that a stress exists.
        charge: total charge [B], e.
        neighbors: the edges.
    """

    numbers: Int[Array, " A"]
    positions: Float[Array, "A 3"]
    system: Int[Array, " A"]
    cell: Float[Array, "B 3 3"]
    bulk: Bool[Array, " B"]
    charge: Float[Array, " B"]
    neighbors: Neighbors

    @property
    def n_systems(self) -> int:
        """Number of structures, padding included."""
        return self.cell.shape[0]
