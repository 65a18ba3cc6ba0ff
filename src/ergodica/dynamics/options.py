"""Options of the minimiser and of molecular dynamics; imports nothing heavy, so that the command's help is fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ergodica.errors import InputError

__all__ = ["MDOptions", "RelaxOptions"]


@dataclass(frozen=True)
class RelaxOptions:
    """How to bring structures to rest.

    Attributes:
        cell: relax the cell along with the atoms.
        pressure: external pressure, GPa; with `cell`.
        fmax: largest force allowed at the end, eV/Å.
        steps: steps after which to give up.
        optimizer: FIRE, LBFGS or BFGS.
        precision: floating-point numbers of the network.
    """

    cell: bool = False
    pressure: float = 0.0
    fmax: float = 0.01
    steps: int = 500
    optimizer: Literal["FIRE", "LBFGS", "BFGS"] = "FIRE"
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        if self.fmax <= 0 or self.steps < 0:
            raise InputError(f"fmax={self.fmax} must be positive and steps={self.steps} not negative.")
        if self.pressure and not self.cell:
            raise InputError("A pressure acts on the cell: relax the cell too (--cell), or leave the pressure away.")


@dataclass(frozen=True)
class MDOptions:
    """How to move a structure.

    Attributes:
        ensemble: "nve"; at constant temperature "langevin", "nose-hoover" or "csvr"; at constant pressure too, "npt".
        temperature: of the thermostat and of the first velocities, K.
        pressure: external pressure for "npt", GPa.
        timestep: time step, fs.
        steps: steps in all, counted from the beginning of the trajectory also when it is continued.
        every: steps between frames of the trajectory.
        thermostat_time: relaxation time of the thermostat, fs.
        barostat_time: relaxation time of the barostat, fs.
        replicas: copies run side by side; only 1 for now.
        seed: seed of velocities and noise.
        precision: floating-point numbers of the network.
        max_uncertainty: largest uncertainty of the force on an atom, eV/Å, looked at in every frame of the trajectory:
            the bound of a calibrated model, else the spread of the ensemble's members. None looks at nothing.
        on_uncertain: what to do beyond it: "stop", or "collect" the frame and go on.
    """

    ensemble: Literal["nve", "langevin", "nose-hoover", "csvr", "npt"] = "langevin"
    temperature: float = 300.0
    pressure: float = 0.0
    timestep: float = 0.5
    steps: int = 1000
    every: int = 10
    thermostat_time: float = 100.0
    barostat_time: float = 1000.0
    replicas: int = 1
    seed: int = 0
    precision: Literal["float32", "float64"] = "float32"
    max_uncertainty: float | None = None
    on_uncertain: Literal["stop", "collect"] = "stop"

    def __post_init__(self) -> None:
        positive = ("timestep", "every", "thermostat_time", "barostat_time")
        for key in positive:
            if not getattr(self, key) > 0:
                raise InputError(f"{key}={getattr(self, key)} must be positive.")
        if self.temperature < 0 or (self.temperature == 0 and self.ensemble != "nve") or self.steps < 0:
            raise InputError(f"temperature={self.temperature} K must be positive and steps={self.steps} not negative.")
        if self.replicas != 1:
            raise InputError(
                f"replicas={self.replicas}: this version runs one replica a command; start several with other seeds."
            )
        if self.pressure and self.ensemble != "npt":
            raise InputError(f"A pressure needs ensemble 'npt', not '{self.ensemble}'.")
        if self.max_uncertainty is not None and not self.max_uncertainty > 0:
            raise InputError(f"max_uncertainty={self.max_uncertainty} eV/Å must be positive.")
        if self.max_uncertainty is None and self.on_uncertain != "stop":
            raise InputError(
                "Collecting uncertain frames needs a limit: say max_uncertainty (--max-uncertainty), eV/Å."
            )
