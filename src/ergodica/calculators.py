"""The ASE calculator: a thin adapter that keeps compiled code, parameters and neighbour list between calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from ase.calculators.calculator import Calculator as ASECalculator
from ase.calculators.calculator import all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from ergodica.errors import InputError
from ergodica.neighbors import Capacity, Edges, VerletList, pack, round_up
from ergodica.potentials import Potential, load
from ergodica.potentials.ensemble import EnsembleConfig, Spread
from ergodica.potentials.potential import Derivatives, compiled_derivatives, compiled_spread
from ergodica.prediction import Precision, physical, placed_params, scope
from ergodica.system import Batch, System, charge_of
from ergodica.uncertainty import Uncertainty, physical_spread, require_spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ase import Atoms

__all__ = ["Calculator"]

WIDTHS = tuple(range(4, 257, 4))
"""Sizes of a row of neighbours: finer than those of mixed batches, as one shape serves a whole trajectory."""
SPREADS = ("energy_std", "forces_std", "stress_std")
"""What an ensemble gives on top, when asked by `get_property`."""
HEADROOM = 2
"""Free slots in a row when it is made: the densest place of a liquid fluctuates by a few neighbours."""
MARGIN = 0.2
"""Å beyond the cut-off: where there are no further neighbours, as between the shells of a crystal, no slot is free."""


class Calculator(ASECalculator):
    """Energies, forces and stresses for ASE's optimisers, filters and molecular dynamics.

    Nothing is compiled twice along a trajectory: the number of atoms is exact, and the room for neighbours only grows.
    Energies are in eV and float64; the stress (Voigt-6, eV/Å³, tension positive) exists for structures that are
    periodic in three directions.

    An ensemble also answers `get_uncertainty(atoms)`, or `get_property` of "energy_std" (eV), "forces_std" (each atom,
    eV/Å) and "stress_std" (Frobenius norm, eV/Å³); what is not asked for is not computed.

    Args:
        model: a potential, the name of a shipped model, or the path of a model file.
        precision: of the network, "float32" or "float64".
        device: "cpu", "gpu", "tpu", or one of several as "gpu:1"; JAX's default when None or "auto".
        skin: margin of the neighbour list, Å; larger means fewer rebuilds and more work between them.

    Raises:
        InputError: no such model or device, or a model that does not predict energies.
    """

    implemented_properties = ["energy", "free_energy", "energies", "forces", "stress"]  # noqa: RUF012 (ASE's type)

    def __init__(
        self,
        model: Potential | str | Path,
        *,
        precision: Precision = "float32",
        device: str | None = None,
        skin: float = 1.0,
    ) -> None:
        super().__init__()
        self.potential = model if isinstance(model, Potential) else load(model)
        if self.potential.config.head != "energy":
            raise InputError(
                f"Model '{self.potential.info.name}' predicts '{self.potential.config.head}', not energies: "
                "use ergodica.predict for it."
            )
        self.precision: Precision = precision
        self.device = device
        self.skin = skin
        self._uncertainty: Uncertainty | None = None
        self._prepare()

    @classmethod
    def from_checkpoint(cls, path: str | Path, **options: Any) -> Calculator:
        """A calculator from a model file; `options` are those of the constructor."""
        return cls(path, **options)

    @classmethod
    def from_potential(cls, potential: Potential, **options: Any) -> Calculator:
        """A calculator from a potential; `options` are those of the constructor."""
        return cls(potential, **options)

    @property
    def atomic_energies(self) -> dict[str, float]:
        """Reference energies of the elements, eV; the total energy contains them."""
        return dict(self.potential.energy_scale.reference)

    @property
    def compilations(self) -> int:
        """How many static shapes have been compiled for this architecture in this process."""
        return self._function._cache_size()

    def _get_name(self) -> str:
        return "ergodica"

    def _prepare(self) -> None:
        """Make what is not worth pickling: placed parameters, neighbour list, tables."""
        config: Any = self.potential.config
        self._function: Any = compiled_derivatives(config)
        if isinstance(config, EnsembleConfig):
            self.implemented_properties = [*type(self).implemented_properties, *SPREADS]
        self._params = placed_params(self.potential, self.precision, _find_device(self.device))
        self._table = self.potential.energy_scale.table()
        self._verlet = VerletList(self.potential.cutoff, self.skin)
        self._width = 0
        self._system: System | None = None
        self._packed: tuple[Edges, float, Batch] | None = None

    def __getstate__(self) -> dict[str, Any]:
        derived = ("_function", "_params", "_table", "_verlet", "_width", "_system", "_packed")
        return {key: value for key, value in self.__dict__.items() if key not in derived}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """What differs from the last calculation; exact, sees `info["charge"]`, and is cheaper than ASE's own test."""
        last = self.atoms
        if last is None:
            return list(all_changes)
        pairs = {
            "positions": (last.positions, atoms.positions),
            "numbers": (last.numbers, atoms.numbers),
            "cell": (last.cell.array, atoms.cell.array),
            "pbc": (last.pbc, atoms.pbc),
            "initial_charges": (charge_of(last), charge_of(atoms)),
        }
        return [name for name, (old, new) in pairs.items() if not np.array_equal(old, new)]

    def get_uncertainty(self, atoms: Atoms | None = None) -> Uncertainty:
        """How far to trust the prediction for `atoms`, or for those of the last call.

        Raises:
            InputError: the model is no ensemble.
        """
        require_spread(self.potential)
        self.get_property("forces_std", atoms)
        assert self._uncertainty is not None
        return self._uncertainty

    def export_properties(self) -> Any:
        """The results ASE has a name for."""
        from ase.outputs import Properties

        return Properties({name: value for name, value in self.results.items() if name not in SPREADS})

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results` for `atoms`; all properties come from one call of the network, the spreads if asked for.

        Raises:
            InputError: an unknown element, a bad cell, coordinates that are not finite, atoms on one place.
            WorkFailed: the model gave something that is not a finite number.
        """
        if atoms is not None:  # all that ASE's own method would do, but for making the working folder of a program
            self.atoms = atoms.copy()
        assert self.atoms is not None, "ASE hands the atoms over, now or in an earlier call"
        system = self._read(self.atoms)
        edges = self._verlet.update(system)
        spread: Spread | None = None
        with scope(self.precision):
            batch = self._batch_of(system, edges)
            if set(SPREADS) & set(properties):
                function = compiled_spread(self.potential.config)  # type: ignore[arg-type]
                output, spread = jax.tree.map(np.asarray, function(self._params, batch))
            else:
                output = jax.tree.map(np.asarray, self._function(self._params, batch))
        host = Derivatives(output.energies, output.forces, output.virial[0])
        found = physical(self.potential.energy_scale, self._table, system, host)
        self.results = {
            "energy": found.energy,
            "free_energy": found.energy,
            "energies": found.energies,
            "forces": found.forces,
        }
        if found.stress is not None:
            self.results["stress"] = full_3x3_to_voigt_6_stress(found.stress)
        self._uncertainty = None
        if spread is not None:
            self._keep(system, Spread(spread.energy[0], spread.forces, spread.virial[0]))

    def _keep(self, system: System, spread: Spread) -> None:
        """Add the spread to the results."""
        potential = self.potential
        known = self._uncertainty = physical_spread(potential.energy_scale, potential.calibration, system, spread)
        self.results.update(energy_std=known.energy, forces_std=known.forces)
        if known.stress is not None:
            self.results["stress_std"] = known.stress

    def _read(self, atoms: Atoms) -> System:
        """The structure alone: `System.from_ase` would look for labels in the very results being computed."""
        last = self._system
        same = last is not None and np.array_equal(last.numbers, atoms.numbers)
        name = last.name if last is not None and same else atoms.get_chemical_formula()
        system = System(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, charge_of(atoms, name), name=name)
        if not same:
            self.potential.check_elements(system.numbers, system.name)
            self._width = 0
        self._system = system
        return system

    def _batch_of(self, system: System, edges: Edges) -> Batch:
        """The packed structure; between two changes of the neighbours only positions travel to the device."""
        dtype = np.dtype(self.precision).type
        if self._packed is None or self._packed[0] is not edges or self._packed[1] != system.charge:
            capacity = Capacity(len(system), self._room(system, edges), 1)
            batch = pack([system], [edges], capacity, loops=self.potential.config.loops, dtype=dtype)
            self._packed = edges, system.charge, jax.device_put(batch, _find_device(self.device))
        centred = system.positions - system.positions.mean(axis=0)  # far from the origin float32 is coarse
        return replace(self._packed[2], positions=centred.astype(dtype))  # type: ignore[arg-type]

    def _room(self, system: System, edges: Edges) -> int:
        """Width of the rows of neighbours: as it was while it suffices, so that nothing is compiled again."""
        need = int(np.bincount(edges.receivers, minlength=1).max()) + self.potential.config.loops
        if need > self._width:
            near = self._verlet.most_neighbors(system, MARGIN) + self.potential.config.loops
            room = round_up(min(need + HEADROOM, max(near, need)), WIDTHS)
            # in a molecule no atom has more neighbours than there are other atoms
            self._width = room if system.pbc.any() else max(min(room, len(system)), need)
        return self._width


def _find_device(name: str | None) -> jax.Device | None:
    """The device of a name such as "cpu" or "gpu:1"; None leaves the choice to JAX."""
    if name in (None, "auto"):
        return None
    platform, _, number = str(name).partition(":")
    try:
        return jax.devices(platform)[int(number or 0)]
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(f"There is no device '{name}' here: choose 'cpu', 'gpu' or 'auto'.") from error
