"""Structures from molecular dynamics with any ASE calculator: frames apart in time, up to where the atoms fly apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.datasets.variants import acceptable
from ergodica.dynamics.ensembles import make_ensemble, thermalize
from ergodica.dynamics.options import MDOptions

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
    thermalize(atoms, options)
    try:
        ensemble = make_ensemble(atoms, options, 0)
        for step in range(1, options.steps + 1):
            with np.errstate(over="ignore", invalid="ignore"):  # it shows in the temperature
                ensemble.dynamics.step()
            if not ensemble.temperature() <= RUNAWAY * options.temperature or not np.isfinite(atoms.positions).all():
                return
            if step % options.every == 0:
                if not acceptable(atoms, share):
                    return
                frame = atoms.copy()
                frame.arrays.pop("momenta", None)
                yield frame
    except Exception:  # whatever a calculator raises where its model ends
        return
