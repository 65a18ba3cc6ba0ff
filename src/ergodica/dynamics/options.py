"""Options of the minimiser and of molecular dynamics; imports nothing heavy, so that the command's help is fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from ergodica.errors import InputError

__all__ = ["STRAINS", "MDOptions", "NEBOptions", "RelaxOptions"]


DETERMINISTIC = ("nve", "nose-hoover")
"""Ensembles without noise."""
OF_CELL = ("cell", "cell_axes", "barostat_time", "compressibility")
"""Options that act under constant pressure alone."""
STRAINS = ("xx", "yy", "zz", "yz", "xz", "xy")
"""Components of a strain."""


@dataclass(frozen=True)
class RelaxOptions:
    """How to bring structures to rest.

    Attributes:
        cell: relax the cell along with the atoms.
        pressure: external pressure, GPa; with `cell`.
        fmax: largest force allowed at the end, eV/Å; with `cell`, stresses must come below 0.02 Å⁻² of it.
        steps: steps after which to give up.
        optimizer: LBFGS or FIRE.
        precision: floating-point numbers of the network.
        constant_volume: relax the shape of the cell only; with `cell`.
        strain: components of the strain that the cell may take, out of xx, yy, zz, yz, xz, xy; with `cell`.
        symmetry: make the symmetry of the crystal exact and keep it; needs spglib.
        symprec: how far atoms may be from their symmetric places, Å.
    """

    cell: bool = False
    pressure: float = 0.0
    fmax: float = 0.01
    steps: int = 500
    optimizer: Literal["LBFGS", "FIRE"] = "LBFGS"
    precision: Literal["float32", "float64"] = "float32"
    constant_volume: bool = False
    strain: tuple[str, ...] = STRAINS
    symmetry: bool = False
    symprec: float = 0.01

    def __post_init__(self) -> None:
        if self.fmax <= 0 or self.steps < 0:
            raise InputError(f"fmax={self.fmax} must be positive and steps={self.steps} not negative.")
        if self.symprec <= 0:
            raise InputError(f"symprec={self.symprec} Å must be positive.")
        if self.symprec != RelaxOptions.symprec and not self.symmetry:
            raise InputError("symprec says how symmetric a crystal is, and here none is kept so: add --symmetry.")
        if self.pressure and not self.cell:
            raise InputError("A pressure acts on the cell: relax the cell too (--cell), or leave the pressure away.")
        if self.pressure and self.constant_volume:
            raise InputError("A pressure does nothing at constant volume: choose one of the two.")
        if (self.constant_volume or set(self.strain) != set(STRAINS)) and not self.cell:
            raise InputError("The cell is not relaxed, so nothing can be said of how: relax it too (--cell).")
        if not set(self.strain) <= set(STRAINS):
            raise InputError(f"strain={', '.join(self.strain)}: its components are {', '.join(STRAINS)}.")
        if self.optimizer.upper() not in ("LBFGS", "FIRE"):
            raise InputError(
                f"There is no optimizer '{self.optimizer}': choose LBFGS (which takes about as few steps as BFGS) "
                "or FIRE."
            )


@dataclass(frozen=True)
class NEBOptions:
    """How to find the path between two minima.

    Attributes:
        images: between the two ends; a path that is given as a whole keeps its own.
        climb: let the highest image climb to the saddle.
        fmax: largest force allowed at the end across the path, and in all directions on the climbing image, eV/Å.
        spring: constant of the springs that keep images apart, eV/Å².
        steps: steps after which to give up.
        relax_ends: bring start and end to rest first.
        start: "idpp" or "linear", the path to begin with.
        precision: floating-point numbers of the network.
    """

    images: int = 5
    climb: bool = True
    fmax: float = 0.05
    spring: float = 1.0
    steps: int = 1000
    relax_ends: bool = False
    start: Literal["idpp", "linear"] = "idpp"
    precision: Literal["float32", "float64"] = "float32"

    def __post_init__(self) -> None:
        if self.images < 1:
            raise InputError(f"images={self.images}: a path needs at least one image between its ends.")
        if self.fmax <= 0 or self.steps < 0:
            raise InputError(f"fmax={self.fmax} must be positive and steps={self.steps} not negative.")
        if self.spring <= 0:
            raise InputError(f"spring={self.spring} eV/Å² must be positive.")
        if self.start not in ("idpp", "linear"):
            raise InputError(f"There is no start '{self.start}': choose idpp or linear.")


@dataclass(frozen=True)
class MDOptions:
    """How to move a structure.

    Attributes:
        ensemble: "nve"; at constant temperature "langevin", "nose-hoover" or "csvr"; at constant pressure too, "npt".
        temperature: of the thermostat and of the first velocities, K.
        final_temperature: what the thermostat's temperature has become, step by step, after `steps`; K.
        pressure: external pressure for "npt", GPa.
        final_pressure: what it has become after `steps`, GPa.
        cell: what the cell may do under "npt": "isotropic" (keeps its shape), "orthorhombic" (its lengths change, each
            by itself) or "triclinic".
        cell_axes: Cartesian directions in which the cell may change.
        fix_com: keep the centre of mass at rest under "langevin", too; the other ensembles always do.
        timestep: time step, fs.
        steps: steps in all, counted from the beginning of the trajectory also when it is continued.
        every: steps between frames of the trajectory.
        thermostat_time: relaxation time of the thermostat, fs.
        barostat_time: relaxation time of the volume of a structure with this compressibility, fs.
        compressibility: of the structures, roughly, 1/GPa; sets nothing but the pace of the cell. A metal has 0.01,
            water 0.45, liquid argon 2.
        replicas: copies of every structure, run side by side.
        velocities: "draw" the first ones at the temperature, or "keep" those of the structure.
        seed: seed of velocities and noise.
        precision: floating-point numbers of the network.
        max_uncertainty: largest uncertainty of the force on an atom that moves, eV/Å, in every frame of the trajectory:
            the bound of a calibrated model, else the spread of the ensemble's members. None looks at nothing.
        on_uncertain: what to do beyond it: "stop", or "collect" the frame and go on.
    """

    ensemble: Literal["nve", "langevin", "nose-hoover", "csvr", "npt"] = "langevin"
    temperature: float = 300.0
    final_temperature: float | None = None
    pressure: float = 0.0
    final_pressure: float | None = None
    cell: Literal["isotropic", "orthorhombic", "triclinic"] = "isotropic"
    cell_axes: Literal["xyz", "xy", "xz", "yz", "x", "y", "z"] = "xyz"
    fix_com: bool = False
    timestep: float = 0.5
    steps: int = 1000
    every: int = 10
    thermostat_time: float = 100.0
    barostat_time: float = 1000.0
    compressibility: float = 0.02
    replicas: int = 1
    velocities: Literal["draw", "keep"] = "draw"
    seed: int = 0
    precision: Literal["float32", "float64"] = "float32"
    max_uncertainty: float | None = None
    on_uncertain: Literal["stop", "collect"] = "stop"

    def __post_init__(self) -> None:
        known = get_args(get_type_hints(MDOptions)["ensemble"])
        if self.ensemble not in known:
            raise InputError(f"There is no ensemble '{self.ensemble}': choose one of {', '.join(known)}.")
        positive = ("timestep", "every", "thermostat_time", "barostat_time", "compressibility")
        for key in positive:
            if not getattr(self, key) > 0:
                raise InputError(f"{key}={getattr(self, key)} must be positive.")
        if self.replicas < 1 or self.seed < 0:
            raise InputError(f"replicas={self.replicas} must be at least 1, and seed={self.seed} not negative.")
        if self.velocities not in ("draw", "keep"):
            raise InputError(f"velocities='{self.velocities}': draw them, or keep those of the structure.")
        if self.replicas > 1 and self.velocities == "keep" and self.ensemble in DETERMINISTIC:
            raise InputError(f"Replicas with the same velocities stay the same under '{self.ensemble}': draw them.")
        if self.max_uncertainty is not None and not self.max_uncertainty > 0:
            raise InputError(f"max_uncertainty={self.max_uncertainty} eV/Å must be positive.")
        if self.max_uncertainty is None and self.on_uncertain != "stop":
            raise InputError(
                "Collecting uncertain frames needs a limit: say max_uncertainty (--max-uncertainty), eV/Å."
            )
        self._check_ensemble()

    def _check_ensemble(self) -> None:
        """Refuse conditions that the ensemble does not have."""
        if self.temperature < 0 or (self.temperature == 0 and self.ensemble != "nve") or self.steps < 0:
            raise InputError(f"temperature={self.temperature} K must be positive and steps={self.steps} not negative.")
        if (self.pressure or self.final_pressure is not None) and self.ensemble != "npt":
            raise InputError(f"A pressure needs ensemble 'npt', not '{self.ensemble}'.")
        if self.final_temperature is not None and (self.ensemble == "nve" or not self.final_temperature > 0):
            raise InputError(
                f"final_temperature={self.final_temperature} K must be positive and needs a thermostat, not 'nve'."
            )

    def idle(self) -> list[str]:
        """Options that were changed and that the ensemble does not look at."""
        unseen = () if self.ensemble == "npt" else OF_CELL
        unseen = (*unseen, "thermostat_time") if self.ensemble == "nve" else unseen
        return [key for key in unseen if getattr(self, key) != getattr(MDOptions, key)]
