"""Energy over volume, and the equation of state through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ergodica.config import check_keys
from ergodica.properties.evaluation import Evaluate, Model, evaluator, require_crystals
from ergodica.properties.options import EosOptions
from ergodica.properties.relaxation import relax_together
from ergodica.system import System, as_systems
from ergodica.units import EV_PER_A3_IN_GPA, GPA

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["EosFit", "EquationOfState", "eos", "fit_eos"]

ROUNDS = 12
"""Windows of volumes that are tried before the minimum counts as not to be found."""


@dataclass(frozen=True)
class EosFit:
    """Parameters of an equation of state.

    Attributes:
        form: "birch-murnaghan" or "vinet".
        v0: volume of the minimum, Å³.
        e0: energy there, eV.
        b0: bulk modulus there, GPa.
        b1: its derivative with respect to pressure.
        rms: of the residuals, eV.
    """

    form: str
    v0: float
    e0: float
    b0: float
    b1: float
    rms: float

    def energy(self, volumes: Float[np.ndarray, " V"]) -> Float[np.ndarray, " V"]:
        """Energies at volumes (Å³), eV."""
        from ase.eos import birchmurnaghan, vinet

        function = vinet if self.form == "vinet" else birchmurnaghan
        return function(np.asarray(volumes, float), self.e0, self.b0 * GPA, self.b1, self.v0)

    def pressure(self, volumes: Float[np.ndarray, " V"]) -> Float[np.ndarray, " V"]:
        """Pressures at volumes (Å³), GPa, by central differences of the closed form."""
        volumes = np.asarray(volumes, float)
        step = 1e-5 * volumes
        return -(self.energy(volumes + step) - self.energy(volumes - step)) / (2 * step) * EV_PER_A3_IN_GPA


def fit_eos(
    volumes: Float[np.ndarray, " V"], energies: Float[np.ndarray, " V"], form: str = "birch-murnaghan"
) -> EosFit | None:
    """Fit an equation of state.

    Birch's third order is a cubic polynomial in V^(-2/3) (Phys. Rev. 71, 809 (1947)), so its fit is linear and needs no
    start; Vinet's (J. Phys. C 19, L467 (1986)) starts from it.

    Args:
        volumes: Å³, at least 4.
        energies: eV.
        form: "birch-murnaghan" or "vinet".

    Returns:
        the fit; None when the curve has no minimum.
    """
    volumes, energies = np.asarray(volumes, float), np.asarray(energies, float)
    unit, level = float(volumes.mean()), float(energies.mean())
    x = (volumes / unit) ** (-2 / 3)
    curve = np.polynomial.Polynomial.fit(x, energies - level, 3).convert()
    slope = curve.deriv()
    roots = [float(r.real) for r in slope.roots() if abs(r.imag) < 1e-9]
    roots = [root for root in roots if root > 0 and curve.deriv(2)(root) > 0]
    if not roots:
        return None
    x0 = min(roots, key=lambda root: abs(root - 1))
    v0 = float(unit * x0**-1.5)
    # dx/dV = -2x/(3V), so at the minimum V E'' = (4x²/9V) e'' and B' = -(V E'''/E'' + 1)
    second, third = float(curve.deriv(2)(x0)), float(curve.deriv(3)(x0))
    b0 = 4 * x0**2 * second / (9 * v0)
    b1 = 4 + 2 * x0 * third / (3 * second)
    fit = EosFit("birch-murnaghan", v0, float(curve(x0)) + level, float(b0) * EV_PER_A3_IN_GPA, float(b1), 0.0)
    if form == "vinet":
        fit = _vinet(fit, volumes, energies)
    return replace(fit, rms=float(np.sqrt(np.mean((fit.energy(volumes) - energies) ** 2))))


def _vinet(start: EosFit, volumes: Float[np.ndarray, " V"], energies: Float[np.ndarray, " V"]) -> EosFit:
    from scipy.optimize import least_squares

    def trial(p: Float[np.ndarray, " 4"]) -> EosFit:
        return EosFit("vinet", float(p[0] * start.v0), float(p[1] + start.e0), float(p[2] * start.b0), float(p[3]), 0.0)

    found = least_squares(
        lambda p: 1e3 * (trial(p).energy(volumes) - energies),
        [1.0, 0.0, 1.0, max(start.b1, 2.0)],
        xtol=1e-14,
        ftol=1e-14,
    )
    return trial(found.x)


@dataclass(frozen=True)
class EquationOfState:
    """Energy over volume of one crystal, for the cell as given.

    Attributes:
        system: the structure as given.
        volumes: of the points of the fit [V], Å³, ascending.
        energies: at these volumes [V], eV.
        cells: their structures, labelled.
        fit: the equation of state; None when no minimum was found.
        warnings: what to know before using it.
    """

    system: System
    volumes: Float[np.ndarray, " V"]
    energies: Float[np.ndarray, " V"]
    cells: tuple[System, ...]
    fit: EosFit | None
    warnings: tuple[str, ...]

    @property
    def found(self) -> bool:
        """Whether there is a minimum inside the sampled volumes."""
        return self.fit is not None

    def to_dict(self) -> dict[str, Any]:
        """The result in JSON's terms."""
        n, fit = len(self.system), self.fit
        return {
            "n_atoms": n,
            "form": fit.form if fit else None,
            "v0_A3": fit.v0 if fit else None,
            "v0_A3_per_atom": fit.v0 / n if fit else None,
            "e0_eV": fit.e0 if fit else None,
            "e0_eV_per_atom": fit.e0 / n if fit else None,
            "bulk_modulus_GPa": fit.b0 if fit else None,
            "bulk_modulus_derivative": fit.b1 if fit else None,
            "rms_residual_meV_per_atom": 1e3 * fit.rms / n if fit else None,
            "volumes_A3": self.volumes,
            "energies_eV": self.energies,
            "warnings": list(self.warnings),
        }


def eos(
    model: Model,
    structures: System | Atoms | Sequence[System | Atoms],
    options: EosOptions | None = None,
    **changes: Any,
) -> list[EquationOfState]:
    """Equation of state of crystals.

    The window of volumes starts at the volume given and moves until it encloses the minimum, then is centred on it. All
    volumes of all structures that still need any are computed together.

    Args:
        model: a `Potential` or an ASE calculator.
        structures: one or many crystals.
        options: how.
        changes: fields of `EosOptions` by name, such as `points=11`.

    Returns:
        one result a structure, in the order given; one without a minimum says so in its warnings.

    Raises:
        InputError: a structure that is not periodic in three directions, or an element the model does not know.
        WorkFailed: the model failed.
    """
    check_keys(EosOptions, changes, "eos")
    options = replace(options or EosOptions(), **changes)
    systems = as_systems(structures)
    require_crystals(systems, "equation of state")
    evaluate = evaluator(model, options.precision)
    searches = [_Search(system, system.volume) for system in systems]
    for _ in range(ROUNDS):
        open_ = [search for search in searches if not search.done]
        if not open_:
            break
        cells = [cell for search in open_ for cell in search.window(options)]
        relaxed = _energies(evaluate, cells, options)
        for k, search in enumerate(open_):
            search.take(relaxed[k * options.points : (k + 1) * options.points], options)
    return [search.result(options) for search in searches]


def _energies(evaluate: Evaluate, cells: Sequence[System], options: EosOptions) -> list[tuple[System, bool]]:
    """The structures relaxed at their volumes and labelled; whether each converged."""
    if options.relax == "none":
        return [(c.with_labels(labels), True) for c, labels in zip(cells, evaluate(cells, stress=False), strict=True)]
    found = relax_together(
        evaluate, cells, cell="shape" if options.relax == "shape" else "fixed", fmax=options.fmax, steps=options.steps
    )
    return [(one.system, one.converged) for one in found]


@dataclass
class _Search:
    """The window of volumes of one structure, on its way to the minimum."""

    system: System
    centre: float
    done: bool = False
    moved: int = 0
    points: list[tuple[System, bool]] = field(default_factory=list)
    fit: EosFit | None = None

    def window(self, options: EosOptions) -> list[System]:
        """Copies of the structure at the volumes of the window."""
        volumes = self.centre * np.linspace(1 - options.span, 1 + options.span, options.points)
        return [scaled(self.system, volume) for volume in volumes]

    def take(self, points: list[tuple[System, bool]], options: EosOptions) -> None:
        """Fit the window, and either stop or say where the next one is."""
        self.points = points
        volumes, energies = _curve(points)
        lowest = int(energies.argmin())
        self.fit = fit_eos(volumes, energies, options.form) if 0 < lowest < len(points) - 1 else None
        if self.fit is not None and not volumes[0] < self.fit.v0 < volumes[-1]:
            self.fit = None
        # without a minimum inside, the next window lies beyond the lowest edge
        beyond = volumes[-1] / volumes[-2] if lowest else volumes[0] / volumes[1]
        aim = self.fit.v0 if self.fit is not None else float(volumes[lowest] * beyond ** (len(points) // 2))
        # a minimum in the outer half of the window is enclosed by too few points on one side
        self.done = self.fit is not None and abs(aim / self.centre - 1) <= options.span / 2
        if not self.done:
            self.centre, self.moved = aim, self.moved + 1

    def result(self, options: EosOptions) -> EquationOfState:
        volumes, energies = _curve(self.points)
        name, warnings = self.system.name, []
        if self.fit is None:
            warnings.append(
                f"{name}: no minimum of the energy was found between {volumes[0]:.4g} and {volumes[-1]:.4g} Å³ after "
                f"{ROUNDS} windows of volumes: the model does not bind this crystal, or the start is too far off."
            )
        elif self.moved:
            warnings.append(
                f"{name}: the minimum was {100 * (self.fit.v0 / self.system.volume - 1):+.1f} % from the volume given; "
                "the volumes were centred on it."
            )
        if not all(converged for _, converged in self.points):
            warnings.append(f"{name}: relaxations did not converge in {options.steps} steps at some volumes.")
        cells = tuple(cell for cell, _ in self.points)
        return EquationOfState(self.system, volumes, energies, cells, self.fit, tuple(warnings))


def scaled(system: System, volume: float) -> System:
    """The structure at another volume (Å³), fractional coordinates and shape kept."""
    factor = (volume / system.volume) ** (1 / 3)
    return replace(system, cell=system.cell * factor, positions=system.positions * factor)


def _curve(points: Sequence[tuple[System, bool]]) -> tuple[Float[np.ndarray, " V"], Float[np.ndarray, " V"]]:
    energies = [cell.labels.energy for cell, _ in points]
    return np.array([cell.volume for cell, _ in points]), np.array(energies, float)
