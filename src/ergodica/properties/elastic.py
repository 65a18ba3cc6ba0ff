"""Elastic constants of crystals from the stresses of strained cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ergodica.config import check_keys
from ergodica.errors import InputError
from ergodica.properties.evaluation import Evaluate, Model, evaluator, require_crystals
from ergodica.properties.moduli import SOFT, Moduli, born_eigenvalues, moduli
from ergodica.properties.options import ElasticOptions
from ergodica.properties.relaxation import at_rest, relax_together
from ergodica.properties.symmetry import CrystalSymmetry, crystal_symmetry, from_voigt_strain, to_voigt
from ergodica.report.probes import moved
from ergodica.system import System, as_systems
from ergodica.units import EV_PER_A3_IN_GPA

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Elasticity", "elastic"]

MISFIT = 0.05
"""Stresses that no tensor of the crystal's symmetry explains, relative to the largest constant, that are warned of."""


@dataclass(frozen=True)
class Elasticity:
    """Elastic constants of one crystal.

    Attributes:
        system: the structure they belong to, relaxed where asked for.
        symmetry: its symmetry, with the standard axes and the independent constants.
        tensor: elastic constants in Voigt's matrix form [6, 6] (xx, yy, zz, yz, xz, xy), GPa, in the standard axes: x
            along a, y in the plane of a and b, z along c* of the conventional cell.
        eigenvalues: of the tensor in Mandel's form [6], GPa, ascending.
        moduli: averages and what follows from them.
        misfit: root mean square of the stresses that the tensor leaves unexplained, per strain, GPa.
        warnings: what to know before using it.
    """

    system: System
    symmetry: CrystalSymmetry
    tensor: Float[np.ndarray, "6 6"]
    eigenvalues: Float[np.ndarray, " 6"]
    moduli: Moduli
    misfit: float
    warnings: tuple[str, ...]

    @property
    def stable(self) -> bool:
        """Born's criterion: every strain raises the energy."""
        return bool(self.eigenvalues[0] > SOFT * np.abs(self.eigenvalues).max())

    @property
    def independent(self) -> dict[str, float]:
        """The constants that fix all others, GPa."""
        return {name: float(self.tensor[int(name[1]) - 1, int(name[2]) - 1]) for name in self.symmetry.independent}

    def to_dict(self) -> dict[str, Any]:
        """The result in JSON's terms."""
        return {
            "space_group": self.symmetry.space_group,
            "crystal_system": self.symmetry.system,
            "laue_class": self.symmetry.laue,
            "independent_GPa": self.independent,
            "elastic_tensor_GPa": self.tensor,
            "axes": "x along a, y in the plane of a and b, z along c* of the conventional cell",
            "rotation_to_axes": self.symmetry.axes,
            "stable": self.stable,
            "eigenvalues_GPa": self.eigenvalues,
            **self.moduli.to_dict(),
            "misfit_GPa": self.misfit,
            "volume_A3": self.system.volume,
            "n_atoms": len(self.system),
            "cell_A": self.system.cell,
            "positions_A": self.system.positions,
            "warnings": list(self.warnings),
        }


def elastic(
    model: Model,
    structures: System | Atoms | Sequence[System | Atoms],
    options: ElasticOptions | None = None,
    **changes: Any,
) -> list[Elasticity]:
    """Elastic constants of crystals of any symmetry.

    Each cell gets the fewest strains that fix all constants its point group allows, with both signs and several
    amplitudes; the derivative of the Cauchy stress with respect to each strain is fitted, and the tensor is the least
    squares solution among those with the crystal's symmetry. The strained cells of all structures go together.

    Args:
        model: a `Potential` or an ASE calculator.
        structures: one or many crystals.
        options: how.
        changes: fields of `ElasticOptions` by name, such as `clamped=True`.

    Returns:
        one result a structure, in the order given.

    Raises:
        InputError: a structure that is not periodic in three directions, an element the model does not know, a model
            without stress, or spglib is not installed.
        WorkFailed: the model failed.
    """
    check_keys(ElasticOptions, changes, "elastic")
    options = replace(options or ElasticOptions(), **changes)
    systems = as_systems(structures)
    require_crystals(systems, "elastic constants")
    evaluate = evaluator(model, options.precision)
    rested = at_rest(evaluate, systems, options.relax, options.fmax, options.steps, options.symprec)
    plans = [_Plan.of(system, options) for system, _ in rested]
    stresses = iter(_stresses(evaluate, plans, options))
    found = []
    for (system, warnings), plan in zip(rested, plans, strict=True):
        own = [next(stresses) for _ in plan.cells]
        found.append(_solve(system, plan, own, warnings))
    return found


@dataclass(frozen=True)
class _Plan:
    """The strained cells of one structure: strain by strain, amplitude by amplitude."""

    symmetry: CrystalSymmetry
    strains: tuple[int, ...]
    amplitudes: tuple[float, ...]
    cells: tuple[System, ...]

    @classmethod
    def of(cls, system: System, options: ElasticOptions) -> _Plan:
        symmetry = crystal_symmetry(system, options.symprec)
        strains = symmetry.strains()
        amplitudes = tuple(sign * size for size in options.strains for sign in (1, -1))
        axes = symmetry.axes
        cells = [
            moved(system, np.eye(3) + axes.T @ from_voigt_strain(strain, size) @ axes)
            for strain in strains
            for size in amplitudes
        ]
        return cls(symmetry, strains, amplitudes, tuple(cells))


def _stresses(
    evaluate: Evaluate, plans: Sequence[_Plan], options: ElasticOptions
) -> list[tuple[Float[np.ndarray, "3 3"], bool]]:
    """Stress (GPa) of every strained cell of every plan, and whether its atoms came to rest."""
    cells = [cell for plan in plans for cell in plan.cells]
    if options.clamped:
        stresses, done = [labels.stress for labels in evaluate(cells)], [True] * len(cells)
    else:
        relaxed = relax_together(evaluate, cells, fmax=options.fmax, steps=options.steps, stress=True)
        stresses, done = [one.system.labels.stress for one in relaxed], [one.converged for one in relaxed]
    known = [stress * EV_PER_A3_IN_GPA for stress in stresses if stress is not None]
    if len(known) < len(cells):
        raise InputError("The model gives no stress, which elastic constants are derived from: choose another model.")
    return list(zip(known, done, strict=True))


def _solve(
    system: System, plan: _Plan, found: Sequence[tuple[Float[np.ndarray, "3 3"], bool]], warnings: list[str]
) -> Elasticity:
    symmetry, count = plan.symmetry, len(plan.amplitudes)
    turned = np.array([to_voigt(symmetry.axes @ stress @ symmetry.axes.T) for stress, _ in found])
    # an odd polynomial's slope: the cubic term goes where there are two amplitudes, the quadratic one by the signs
    powers = np.vander(plan.amplitudes, min(count, 4), increasing=True)
    slopes = np.array([np.linalg.lstsq(powers, own, rcond=None)[0][1] for own in turned.reshape(-1, count, 6)])
    design = symmetry.basis[:, :, plan.strains].transpose(2, 1, 0).reshape(-1, len(symmetry.basis))
    weights = np.linalg.lstsq(design, slopes.ravel(), rcond=None)[0]
    misfit = float(np.sqrt(np.mean((design @ weights - slopes.ravel()) ** 2)))
    tensor = np.einsum("k,kij->ij", weights, symmetry.basis)
    eigenvalues = born_eigenvalues(tensor)
    warnings = list(warnings)
    if not all(done for _, done in found):
        warnings.append(f"{system.name}: the atoms of some strained cells did not come to rest: raise --steps.")
    if misfit > MISFIT * float(np.abs(tensor).max()):
        warnings.append(f"{system.name}: the stresses do not obey the crystal's symmetry (misfit {misfit:.2g} GPa).")
    zero = SOFT * np.abs(eigenvalues).max()
    if abs(eigenvalues[0]) <= zero:
        warnings.append(
            f"{system.name} does not resist some strain (smallest eigenvalue {eigenvalues[0]:.3g} GPa): is there "
            "vacuum in its cell? There are no averages of Reuss and Hill, nor what follows from them."
        )
    elif eigenvalues[0] < 0:
        warnings.append(
            f"{system.name} is elastically unstable (smallest eigenvalue {eigenvalues[0]:.3g} GPa): a strain lowers "
            "its energy, and averages mean little."
        )
    averages = moduli(tensor, system.volume, system.masses)
    return Elasticity(system, symmetry, tensor, eigenvalues, averages, misfit, tuple(warnings))
