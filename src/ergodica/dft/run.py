"""From structures to minimised densities and what follows from them, in the units of the rest of the package."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.dft.electrons import electrons_of
from ergodica.dft.functionals import KINETIC, Functional, Semilocal
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.gaussians.grid import GridOptions
from ergodica.dft.learned.functional import LearnedFunctional, load_functional, shipped_functionals
from ergodica.dft.minimize import MinimizeOptions, Minimum, minimize
from ergodica.dft.molecule import make_molecule
from ergodica.dft.natural import Fragments, RootOptions, find_fragments
from ergodica.dft.properties import dipole, forces, hirshfeld_charges, quadrupole
from ergodica.dft.stability import Curvature, lowest_curvature
from ergodica.dft.start import Start, atomic_start
from ergodica.errors import InputError
from ergodica.system import Labels, System, as_systems
from ergodica.units import BOHR, DEBYE, HARTREE

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "DensityOptions",
    "OrbitalFree",
    "atomic_charges",
    "iter_minimized",
    "minimize_density",
    "softest_direction",
]

BATCH = {"cpu": 1}
"""Molecules that are minimised side by side, where it is not `ELSEWHERE`: the small products of many molecules at once
are ten times as slow on a processor as one after another."""
ELSEWHERE = 16
_Near = tuple[tuple[Fragments, ...], Int[Array, "N J"] | None]


@dataclass(frozen=True)
class DensityOptions:
    """How a density is minimised.

    Attributes:
        functional: classical kinetic functional, one of `functionals.KINETIC`; or the name or file of a learned one.
        xc: exchange-correlation functional beside a classical one, one of `functionals.XC`.
        start: density to begin with; "model" is what a learned functional expects, its default (that of others: "sad").
        grid: where functionals are integrated.
        minimize: when to stop.
        root: how the root of the overlap is found, which takes coefficients to natural coordinates.
        force: minimise molecules of kinds that a learned functional was not trained on; they are flagged.
    """

    functional: str = "tf+vw/9"
    xc: str = "pbe"
    start: Start | Literal["model"] | None = None
    grid: GridOptions = field(default_factory=GridOptions)
    minimize: MinimizeOptions = field(default_factory=MinimizeOptions)
    root: RootOptions = field(default_factory=RootOptions)
    force: bool = False

    @property
    def name(self) -> str:
        """What energies are of, in words."""
        return f"{self.functional} with {self.xc}" if self.functional in KINETIC else Path(self.functional).name

    def load(self) -> Functional:
        """What the minimiser is given.

        Raises:
            InputError: there is no functional of that name, or its file is damaged.
        """
        if self.functional in KINETIC:
            return Semilocal(self.functional, self.xc)
        if self.functional not in shipped_functionals() and not Path(self.functional).is_file():
            names = ", ".join((*KINETIC, *shipped_functionals()))
            raise InputError(f"There is no functional '{self.functional}': give a model file or one of {names}.")
        return load_functional(self.functional)[0]


@dataclass(frozen=True)
class OrbitalFree:
    """A molecule with its minimised density.

    Attributes:
        system: the molecule, its labels the energy (eV) and forces (eV/Å) found here.
        coefficients: p, in the order of `DensityBasis` [F].
        energy: total energy, Hartree.
        terms: its terms by name, Hartree.
        converged: whether the projected gradient came below the limit; if not, the rest is of the last point.
        iterations: evaluations of the energy.
        gradient_norm: of the projected gradient in natural coordinates over √N, Hartree.
        electron_count_error: of the integral of the density.
        dipole: moment, Debye [3].
        quadrupole: traceless moment about the centre of nuclear charge, Debye Å [3, 3].
        extrapolated: the functional was learnt on molecules of other kinds.
    """

    system: System
    coefficients: Float[np.ndarray, " F"]
    energy: float
    terms: dict[str, float]
    converged: bool
    iterations: int
    gradient_norm: float
    electron_count_error: float
    dipole: Float[np.ndarray, " 3"]
    quadrupole: Float[np.ndarray, "3 3"]
    extrapolated: bool = False


def minimize_density(
    structures: System | Atoms | Sequence[System | Atoms],
    options: DensityOptions | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> list[OrbitalFree]:
    """Minimise the density of molecules, in their order; `iter_minimized` gives each as soon as it is known.

    Args:
        structures: closed-shell molecules, with `info["charge"]` where they are ions.
        options: functional, start, grid, when to stop.
        report: is told how many are done.

    Raises:
        InputError: there is no such functional; a molecule is not closed-shell, periodic, or has an element without a
            basis; or it is of a kind that the functional was not trained on.
    """
    found: dict[int, OrbitalFree] = {}
    for number, one in iter_minimized(structures, options):
        found[number] = one
        report(len(found))
    return [found[number] for number in range(len(found))]


def iter_minimized(
    structures: System | Atoms | Sequence[System | Atoms],
    options: DensityOptions | None = None,
    functional: Functional | None = None,
) -> Iterator[tuple[int, OrbitalFree]]:
    """Minimised densities with the numbers of their molecules, as they come; in double precision throughout.

    Molecules of the same atoms in the same order share one compiled program, and on an accelerator go through it side
    by side where the functional needs no grid.

    Args:
        structures: as in `minimize_density`.
        options: functional, start, grid, when to stop.
        functional: that of the options, where it is at hand already.

    Raises:
        InputError: as in `minimize_density`, before anything is computed.
    """
    options = options or DensityOptions()
    functional = options.load() if functional is None else functional
    learned = functional if isinstance(functional, LearnedFunctional) else None
    if options.start == "model" and learned is None:
        raise InputError("Only a learned functional expects a density to start from: choose sad or minao.")
    systems = as_systems(structures)
    counts = [electrons_of(system) for system in systems]
    for system in systems:
        DensityBasis.of(system.numbers)  # or say which element has none
    strange = [learned is not None and learned.is_strange(system, options.force) for system in systems]
    return _minima(systems, counts, strange, options, functional)


def _minima(
    systems: Sequence[System],
    counts: Sequence[int],
    strange: Sequence[bool],
    options: DensityOptions,
    functional: Functional,
) -> Iterator[tuple[int, OrbitalFree]]:
    """What `iter_minimized` gives, for electrons that are counted and molecules that are strange or not."""
    kind = options.start or ("model" if isinstance(functional, LearnedFunctional) else "sad")
    with _exact():
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), functional)
    for members in _batches(systems, counts, functional, options.root):
        basis, count = DensityBasis.of(systems[members[0]].numbers), counts[members[0]]
        with _exact():
            start = None if kind == "model" else atomic_start(basis, count, kind)
            places = np.stack([systems[number].positions / BOHR for number in members])
            near = _near(basis, places[0], functional, options.root)
            solved = jax.device_get(_solve(basis, places, near, start, float(count), double, options))
        for row, number in enumerate(dict.fromkeys(members)):  # padding repeats the last one
            one = _told(systems[number], *jax.tree.map(lambda leaf: leaf[row], solved))  # noqa: B023
            labels = replace(one.system.labels, level_of_theory=f"orbital-free, {options.name}")
            yield number, replace(one, system=one.system.with_labels(labels), extrapolated=strange[number])


@contextmanager
def _exact() -> Iterator[None]:
    """Double precision and no TF32: energies are sums of large numbers that nearly cancel."""
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


def atomic_charges(found: OrbitalFree) -> Float[np.ndarray, " N"]:
    """Hirshfeld charges of the atoms, e; of an ion they add up to its charge."""
    system = found.system
    basis = DensityBasis.of(system.numbers)
    free = atomic_start(basis, float(system.numbers.sum()), "sad")
    with jax.enable_x64(True):
        charges = hirshfeld_charges(basis, system.positions / BOHR, jnp.asarray(found.coefficients), jnp.asarray(free))
        return np.asarray(charges)


def softest_direction(found: OrbitalFree, options: DensityOptions, functional: Functional | None = None) -> Curvature:
    """The lowest curvature of the energy at a density, which is negative where it is a saddle and no minimum.

    Args:
        found: the density.
        options: those it was minimised with.
        functional: that of the options, where it is at hand already.
    """
    basis, places = DensityBasis.of(found.system.numbers), found.system.positions / BOHR
    functional = options.load() if functional is None else functional
    with _exact():
        double = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), functional)
        near = _near(basis, places, functional, options.root)
        return jax.device_get(_softest(basis, places, near, found.coefficients, double, options.grid))


@partial(jax.jit, static_argnames=("basis", "grid"))
def _softest(
    basis: DensityBasis,
    positions: Float[Array, "N 3"],
    near: _Near,
    coefficients: Float[Array, " F"],
    functional: Functional,
    grid: GridOptions,
) -> Curvature:
    fragments, others = near
    return lowest_curvature(make_molecule(basis, positions, grid, fragments, others=others), functional, coefficients)


def _near(
    basis: DensityBasis, positions: Float[np.ndarray, "N 3"], functional: Functional, options: RootOptions
) -> _Near:
    """What makes the cost of a large molecule linear: fragments, and for a learned functional the atoms in sight."""
    large = basis.size > options.exact and isinstance(functional, LearnedFunctional)
    others = jnp.asarray(functional.sight(positions)) if large else None  # type: ignore[attr-defined]
    return find_fragments(basis, positions, options), others


def _batches(
    systems: Sequence[System], counts: Sequence[int], functional: Functional, root: RootOptions
) -> Iterator[list[int]]:
    """Numbers of molecules with the same atoms and electrons; batches of a kind have one size, the last is padded."""
    kinds: dict[tuple[bytes, int], list[int]] = {}
    for number, (system, count) in enumerate(zip(systems, counts, strict=True)):
        kinds.setdefault((system.numbers.tobytes(), count), []).append(number)
    for members in kinds.values():
        alone = functional.on_grid or DensityBasis.of(systems[members[0]].numbers).size > root.exact
        size = 1 if alone else min(BATCH.get(jax.default_backend(), ELSEWHERE), len(members))
        for start in range(0, len(members), size):
            part = members[start : start + size]
            yield part + part[-1:] * (size - len(part))


@partial(jax.jit, static_argnames=("basis", "options"))
def _solve(
    basis: DensityBasis,
    positions: Float[Array, "B N 3"],
    near: _Near,
    start: Float[Array, " F"] | None,
    electrons: Float[Array, ""],
    functional: Functional,
    options: DensityOptions,
) -> tuple[Minimum, Float[Array, "B N 3"], Float[Array, "B 3"], Float[Array, "B 3 3"]]:
    """Minimum, forces, dipole and quadrupole of molecules with the same atoms, in atomic units."""

    def one(places: Float[Array, "N 3"]) -> tuple[Minimum, Array, Array, Array]:
        fragments, others = near
        molecule = make_molecule(basis, places, options.grid, fragments, others=others)
        first = functional.ground(molecule) if start is None else jnp.asarray(start)  # type: ignore[attr-defined]
        minimum = minimize(molecule, functional, first, electrons, options.minimize)
        pull = forces(molecule, minimum.coefficients, functional, options.grid)
        density = basis, places, minimum.coefficients
        return minimum, pull, dipole(*density), quadrupole(*density)

    return jax.vmap(one)(positions) if len(positions) > 1 else jax.tree.map(lambda leaf: leaf[None], one(positions[0]))


def _told(
    system: System,
    minimum: Minimum,
    pull: Float[np.ndarray, "N 3"],
    moment: Float[np.ndarray, " 3"],
    second: Float[np.ndarray, "3 3"],
) -> OrbitalFree:
    energy = float(minimum.energy)
    return OrbitalFree(
        system=replace(system, labels=Labels(energy * HARTREE, pull * (HARTREE / BOHR))),
        coefficients=np.asarray(minimum.coefficients),
        energy=energy,
        terms={name: float(value) for name, value in minimum.terms.items()},
        converged=bool(minimum.converged),
        iterations=int(minimum.iterations),
        gradient_norm=float(minimum.gradient_norm),
        electron_count_error=float(minimum.electron_count_error),
        dipole=moment * (BOHR / DEBYE),
        quadrupole=second * (BOHR**2 / DEBYE),
    )
