"""Ensembles as pairs of pure functions, one a file; see `ergodica.dynamics.motion.Integrator`."""

from __future__ import annotations

from ergodica.dynamics.integrators.csvr import CSVR
from ergodica.dynamics.integrators.langevin import Langevin
from ergodica.dynamics.integrators.nose_hoover import NoseHoover
from ergodica.dynamics.integrators.npt import NPT
from ergodica.dynamics.integrators.nve import NVE
from ergodica.dynamics.motion import Integrator

__all__ = ["CSVR", "INTEGRATORS", "NPT", "NVE", "Langevin", "NoseHoover"]

INTEGRATORS: dict[str, Integrator] = {
    "nve": NVE(),
    "langevin": Langevin(),
    "nose-hoover": NoseHoover(),
    "csvr": CSVR(),
    "npt": NPT(),
}
"""Integrators by the name of their ensemble."""
