"""Ensembles as pairs of pure functions, one a file; see `ergodica.dynamics.motion.Integrator`."""

from __future__ import annotations

from ergodica.dynamics.integrators.csvr import CSVR
from ergodica.dynamics.integrators.langevin import Langevin
from ergodica.dynamics.integrators.nose_hoover import NoseHoover
from ergodica.dynamics.integrators.npt import NPT
from ergodica.dynamics.integrators.nve import NVE
from ergodica.dynamics.motion import Integrator
from ergodica.dynamics.options import MDOptions

__all__ = ["CSVR", "NPT", "NVE", "Langevin", "NoseHoover", "integrator_of"]


def integrator_of(options: MDOptions) -> Integrator:
    """The integrator of an ensemble."""
    integrators: dict[str, Integrator] = {
        "nve": NVE(),
        "langevin": Langevin(options.fix_com),
        "nose-hoover": NoseHoover(),
        "csvr": CSVR(),
        "npt": NPT(options.cell, options.cell_axes),
    }
    return integrators[options.ensemble]
