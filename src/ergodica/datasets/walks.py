"""Structures from molecular dynamics with any ASE calculator: frames apart in time, up to where the atoms fly apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.datasets.variants import acceptable
from ergodica.dynamics.momenta import momenta_at
from ergodica.dynamics.options import MDOptions
from ergodica.system import System
from ergodica.units import FS

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["walk"]

RUNAWAY = 5.0
"""Times the temperature asked for at which a run is given up."""


def walk(atoms: Atoms, calculator: Any, options: MDOptions, share: float) -> Iterator[Atoms]:
    """Frames of a run, every `options.every` steps from the first of them on; fewer when it blows up.

    A run ends when atoms come closer than `share` of the sum of their covalent radii, when it gets `RUNAWAY` times as
    hot as asked for, or when the calculator fails: such frames teach nothing that a teacher knows.

    Args:
        atoms: where to start; it is left as it is.
        calculator: an ASE calculator.
        options: ensemble, temperature, time step, length and distance of the frames; its seed draws the velocities.
        share: closest approach in units of the sum of the covalent radii.
    """
    atoms = atoms.copy()
    atoms.calc = calculator
    rng = np.random.default_rng(options.seed)
    atoms.set_momenta(momenta_at(System.from_ase(atoms), options, rng))
    try:
        dynamics = _dynamics(atoms, options, rng)
        for step in range(1, options.steps + 1):
            with np.errstate(over="ignore", invalid="ignore"):  # it shows in the temperature
                dynamics.step()
            if not atoms.get_temperature() <= RUNAWAY * options.temperature or not np.isfinite(atoms.positions).all():
                return
            if step % options.every == 0:
                if not acceptable(atoms, share):
                    return
                frame = atoms.copy()
                frame.arrays.pop("momenta", None)
                yield frame
    except Exception:  # whatever a calculator raises where its model ends
        return


def _dynamics(atoms: Atoms, options: MDOptions, rng: np.random.Generator) -> Any:
    """ASE's integrator, as the calculator is ASE's."""
    from ase.md.bussi import Bussi
    from ase.md.langevinbaoab import LangevinBAOAB
    from ase.md.verlet import VelocityVerlet

    timestep, time = options.timestep * FS, options.thermostat_time * FS
    if options.ensemble == "nve":
        return VelocityVerlet(atoms, timestep)
    if options.ensemble == "csvr":
        return Bussi(atoms, timestep, options.temperature, time, rng=rng)
    return LangevinBAOAB(atoms, timestep, temperature_K=options.temperature, T_tau=time, rng=rng)
