"""From labelled conformers to what a functional is trained on: natural coordinates, and labels less the reference.

All of it in double precision; what the network then sees is small and may be single.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from threadpoolctl import threadpool_limits

from ergodica.dft.functionals import Semilocal
from ergodica.dft.gaussians import integrals
from ergodica.dft.gaussians.basis import DensityBasis
from ergodica.dft.labels.conformer import Conformer
from ergodica.dft.labels.second_order import SecondOrder
from ergodica.dft.learned.atomic_reference import (
    STIFFEST,
    AtomicReference,
    Ground,
    Response,
    fit_energy,
    fit_linear,
    fit_quadratic,
    fit_whitening,
    mixed_shells,
)
from ergodica.dft.learned.functional import FunctionalConfig, LearnedFunctional, Target
from ergodica.dft.learned.layout import Layout, flattened, geometry, index_table, surroundings, tabulated
from ergodica.dft.molecule import electron_normal, electrostatics, make_molecule
from ergodica.dft.natural import find_fragments, from_natural, make_natural, nuclear_slope
from ergodica.units import BOHR

__all__ = ["Example", "examples", "fit_reference", "less_reference", "padded", "polarity"]

SOFTEST = 0.1
"""Curvature of the whole energy below which nothing moves, Hartree: it is zero along the normal and else above 2."""


@dataclass(frozen=True)
class Example:
    """A conformer in natural coordinates.

    Attributes:
        species: place of each element in the layout [N].
        positions: Bohr [N, 3].
        index: where each coefficient stands in the table [N, M, K].
        around: surroundings of the atoms [N, M, C].
        natural: q of every label, the ground state first [L, F].
        energy: what is to be learnt, Hartree [L].
        gradient: ∂E/∂q, Hartree [L, F].
        distance: from the ground state, √|δq·δg| with the changes of q and of the whole gradient, √Hartree [L].
        normal: direction in which the number of electrons changes, of length 1 [F].
        jacobian: ∂q/∂R of the ground state at fixed p, 1/Bohr [F, N, 3].
        nuclear: ∂E/∂R of the ground state at fixed p, Hartree/Bohr [N, 3].
        curvature: ∂²E/∂q² at the ground state, Hartree, where it is known [F, F].
        spread: moves of equal energy, A^(-1/2) with A the curvature of the whole energy, known as that is [F, F].
        polarity: how the minimised density's dipole moment answers to the gradient, e·Bohr/Hartree [F, 3].
        polarisability: that this implies, the mean of three directions, Bohr³.
    """

    species: Int[np.ndarray, " N"]
    positions: Float[np.ndarray, "N 3"]
    index: Int[np.ndarray, "N M K"]
    around: Float[np.ndarray, "N M C"]
    natural: Float[np.ndarray, "L F"]
    energy: Float[np.ndarray, " L"]
    gradient: Float[np.ndarray, "L F"]
    distance: Float[np.ndarray, " L"]
    normal: Float[np.ndarray, " F"]
    jacobian: Float[np.ndarray, "F N 3"]
    nuclear: Float[np.ndarray, "N 3"]
    curvature: Float[np.ndarray, "F F"] | None
    spread: Float[np.ndarray, "F F"] | None
    polarity: Float[np.ndarray, "F 3"]
    polarisability: float


def examples(conformers: Sequence[Conformer], config: FunctionalConfig) -> list[Example]:
    """Conformers in natural coordinates, their labels those of the target.

    Args:
        conformers: labelled; all of their elements are the configuration's.
        config: of the functional to be trained.
    """
    return _side_by_side(partial(_example, config), conformers, [one.system.numbers.tobytes() for one in conformers])


_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


def padded(one: Example, atoms: int, functions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Species, what is an atom (1) and what is not (0), positions and index of an example, so many atoms in all."""
    extra = atoms - len(one.species)
    index = np.where(one.index == len(one.normal), functions, one.index)
    return (
        np.pad(one.species, (0, extra)).astype(np.int32),
        np.pad(np.ones(len(one.species)), (0, extra)),
        np.pad(one.positions, ((0, extra), (0, 0))),
        np.pad(index, ((0, extra), (0, 0), (0, 0)), constant_values=functions).astype(np.int32),
    )


def _side_by_side(work: Callable[[_Given], _Found], given: Sequence[_Given], kinds: Sequence[Hashable]) -> list[_Found]:
    """Do the work in double precision, kinds in threads: programs of many molecules take longer to compile than to run.

    Each thread is alone with its matrices: more threads wait for each other, on a busy machine for minutes.

    Args:
        work: what is done.
        given: with each of these.
        kinds: what programs depend on; each is compiled by one thread.
    """
    members: dict[Hashable, list[int]] = {}
    for number, kind in enumerate(kinds):
        members.setdefault(kind, []).append(number)

    def several(numbers: list[int]) -> list[tuple[int, _Found]]:
        with jax.enable_x64(True):  # holds for a thread
            return [(number, work(given[number])) for number in numbers]

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(_processors()) as pool:
        found = dict(chain.from_iterable(pool.map(several, members.values())))
    return [found[number] for number in range(len(given))]


def _processors() -> int:
    """That this process may use, which a batch system may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _example(config: FunctionalConfig, conformer: Conformer) -> Example:
    system, labels = conformer.system, conformer.densities
    basis, positions = DensityBasis.of(system.numbers), system.positions / BOHR
    species = config.layout.species(system.numbers)
    energy, slope = labels.kinetic, labels.kinetic_gradient.astype(float)
    if config.target == "T_S+E_XC":
        energy, slope = energy + labels.xc, slope + labels.xc_gradient
    if config.target == "T_S-T_APBE":
        energy, slope = energy - labels.apbe, slope - labels.apbe_gradient
    frame = jax.device_get(_frame(basis, config, jnp.asarray(positions), labels.coefficients[0]))
    normal = frame.inverse_root @ integrals.charges(basis)
    natural, gradient = labels.coefficients @ frame.root, slope @ frame.inverse_root
    normal /= np.linalg.norm(normal)
    response = np.sum((natural - natural[0]) * (gradient - gradient[0]), axis=1)
    curvature, spread = _second_order(conformer.second, config.target, frame, normal)
    # A⁻¹ d, as in `polarity`, by the curvature as it is
    answer = np.zeros_like(frame.moments) if spread is None else spread @ (spread.T @ frame.moments)
    return Example(
        species=species,
        positions=positions,
        index=index_table(config.layout, basis),
        around=frame.around,
        natural=natural,
        energy=energy,
        gradient=gradient,
        distance=np.sqrt(np.abs(response)),
        normal=normal,
        jacobian=frame.jacobian,
        nuclear=conformer.gradient - frame.rest,
        curvature=curvature,
        spread=spread,
        polarity=answer,
        polarisability=float(np.sum(answer * frame.moments)) / 3,
    )


class _Frame(NamedTuple):
    """What depends on the nuclei; `rest` is the nuclear gradient of all that is not learnt."""

    root: Float[Array, "F F"]
    inverse_root: Float[Array, "F F"]
    repulsion: Float[Array, "F F"]
    moments: Float[Array, "F 3"]
    around: Float[Array, "N M C"]
    jacobian: Float[Array, "F N 3"]
    rest: Float[Array, "N 3"]


@partial(jax.jit, static_argnums=(0, 1))
def _frame(
    basis: DensityBasis, config: FunctionalConfig, positions: Float[Array, "N 3"], ground: Float[Array, " F"]
) -> _Frame:
    natural = make_natural(integrals.overlap(basis, positions), find_fragments(basis))
    jacobian = nuclear_slope(natural[0], integrals.overlap_slope(basis, positions), basis.atom, ground)
    rest = jax.grad(lambda places: _known(basis, config.target, places, ground))(positions)
    species = config.layout.species(np.array(basis.numbers))
    place = geometry(config.layout, config.network.radial, jnp.asarray(species), jnp.ones(len(species)), positions)
    around = surroundings(config.layout, place)
    root, inverse = natural[0].rows[0], natural[0].inverse_rows[0]
    repulsion = inverse @ integrals.coulomb(basis, positions) @ inverse
    return _Frame(root, inverse, repulsion, inverse @ integrals.dipoles(basis, positions), around, jacobian, rest)


def _second_order(
    second: SecondOrder | None, target: Target, frame: _Frame, normal: Float[np.ndarray, " F"]
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Curvature and spread of an example; where the orbitals can't follow the kinetic energy's is `STIFFEST`."""
    if second is None or target == "T_S-T_APBE":
        return None, None
    values, vectors = np.linalg.eigh(frame.root @ second.response @ frame.root)
    kinetic = (vectors / np.maximum(values, 1 / STIFFEST)) @ vectors.T
    xc = frame.inverse_root @ second.xc_curvature @ frame.inverse_root
    plane = np.eye(len(normal)) - np.outer(normal, normal)
    values, vectors = np.linalg.eigh(plane @ (kinetic + xc + frame.repulsion) @ plane)
    spread = vectors * np.where(values > SOFTEST, np.maximum(values, SOFTEST), np.inf) ** -0.5
    curvature = kinetic + xc if target == "T_S+E_XC" else kinetic
    return curvature.astype(np.float32), spread.astype(np.float32)


def _known(basis: DensityBasis, target: Target, positions: Float[Array, "N 3"], p: Float[Array, " F"]) -> Array:
    """The energy less what is learnt, Hartree."""
    molecule = make_molecule(basis, positions)
    terms = electrostatics(p, molecule)
    if target != "T_S+E_XC":
        semilocal = Semilocal("apbe", "pbe").terms(p, molecule)
        terms |= {name: semilocal[name] for name in ("kinetic", "xc")[target == "T_S" :]}
    return sum(terms.values(), jnp.zeros(()))


# ----------------------------------------------------------------------------------------------------------- reference


def fit_reference(found: Sequence[Example], config: FunctionalConfig) -> AtomicReference:
    """The reference of training examples."""
    layout = config.layout

    def table(flat: Float[np.ndarray, "... F"], example: Example) -> Float[np.ndarray, "... N M K"]:
        return np.append(flat, np.zeros((*flat.shape[:-1], 1)), axis=-1)[..., example.index]

    def grounds(name: str) -> list[Ground]:
        return [Ground(one.species, one.around, table(getattr(one, name)[0], one)) for one in found]

    coefficients, gradient = fit_linear(layout, grounds("natural")), fit_linear(layout, grounds("gradient"))
    responses, deviations = [], []
    for one in found:
        q, g = table(one.natural, one), table(one.gradient, one)
        responses.append(Response(one.species, q[1:] - q[0], g[1:] - g[0]))
        away = q - np.einsum("nmc,nmck->nmk", one.around, coefficients[one.species][:, layout.degree])
        deviations.append(Response(one.species, away, away))
    parts: dict[str, Any] = dict(
        energy=np.zeros((len(layout.elements), coefficients.shape[2])),
        coefficients=coefficients,
        gradient=gradient,
        curvature=fit_quadratic(layout, responses),
        whitening=fit_whitening(layout, deviations),
    )
    functional = LearnedFunctional({}, AtomicReference(**parts), jnp.zeros(()), config)
    left = [
        one.energy[0] - float(energy[0]) for one, (energy, _, _) in zip(found, _fitted(functional, found), strict=True)
    ]
    return AtomicReference(**parts | {"energy": fit_energy(layout, grounds("natural"), np.array(left))})


def less_reference(found: Sequence[Example], reference: AtomicReference, config: FunctionalConfig) -> list[Example]:
    """Examples whose labels are what the reference leaves to the network, with the answers of their dipole moments."""
    functional = LearnedFunctional({}, reference, jnp.zeros(()), config)
    answers = _side_by_side(partial(_polarity, functional), found, _kinds(found))
    left = []
    for one, (energy, slope, pull), (answer, size) in zip(found, _fitted(functional, found), answers, strict=True):
        left.append(
            replace(
                one,
                energy=one.energy - energy,
                gradient=one.gradient - slope,
                nuclear=one.nuclear - pull - np.einsum("f,fni->ni", slope[0], one.jacobian),
                curvature=None if one.curvature is None else one.curvature - _blocks(reference, config.layout, one),
                polarity=answer,
                polarisability=float(size),
            )
        )
    return left


def _blocks(reference: AtomicReference, layout: Layout, one: Example) -> Float[np.ndarray, "F F"]:
    """The reference's curvature as a matrix."""
    size = len(one.normal)
    matrix = np.zeros((size, size), np.float32)
    for element, rows in zip(one.species, one.index, strict=True):
        for degree, row in zip(layout.degree, rows, strict=True):
            there = row < size
            matrix[np.ix_(row[there], row[there])] = reference.curvature[element, degree][np.ix_(there, there)]
    return matrix


def _kinds(found: Sequence[Example]) -> list[bytes]:
    return [one.species.tobytes() for one in found]


def _fitted(functional: LearnedFunctional, found: Sequence[Example]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What `_reference_labels` gives, by one program for molecules of all sizes."""
    atoms, size = max(len(one.species) for one in found), max(len(one.normal) for one in found)
    count = max(len(one.natural) for one in found)
    given = []
    for one in found:
        natural = np.pad(one.natural, ((0, count - len(one.natural)), (0, size - len(one.normal))))
        given.append((*padded(one, atoms, size), natural))
    with jax.enable_x64(True):
        labels = [jax.device_get(_reference_labels(functional, *arrays)) for arrays in given]
    return [
        (energy[: len(one.natural)], slope[: len(one.natural), : len(one.normal)], pull[: len(one.species)])
        for one, (energy, slope, pull) in zip(found, labels, strict=True)
    ]


def _polarity(functional: LearnedFunctional, one: Example) -> tuple[np.ndarray, Any]:
    if one.spread is not None:
        return one.polarity, one.polarisability
    basis = DensityBasis.of(np.array(functional.config.layout.elements)[one.species])
    return jax.device_get(polarity(basis, functional.config.layout, one.positions, functional.reference.curvature))


@partial(jax.jit, static_argnums=(0, 1))
def polarity(
    basis: DensityBasis, layout: Layout, positions: Float[Array, "N 3"], curvature: Float[Array, "E L K K"]
) -> tuple[Float[Array, "F 3"], Float[Array, ""]]:
    """A⁻¹ d in the plane of N electrons, with d the moments of the functions and A the curvature of the whole energy.

    A is the reference's curvature and the Coulomb repulsion, for want of second derivatives: to first order an error δg
    of the gradient changes the dipole moment of the minimum by d·A⁻¹ δg, and d·A⁻¹ d is the polarisability, whose mean
    of directions comes second.
    """
    molecule = make_molecule(basis, positions)
    index, species = index_table(layout, basis), jnp.asarray(layout.species(np.array(basis.numbers)))

    def curved(q: Float[Array, " F"]) -> Float[Array, " F"]:
        repelled = molecule.coulomb @ from_natural(molecule.natural, q)
        fitted = mixed_shells(curvature, layout, species, tabulated(q, index))
        return from_natural(molecule.natural, repelled) + flattened(fitted, index, basis.size)

    normal = electron_normal(molecule)
    normal = normal / jnp.linalg.norm(normal)
    plane = jnp.eye(basis.size) - jnp.outer(normal, normal)
    moments = plane @ jax.vmap(partial(from_natural, molecule.natural), 1, 1)(integrals.dipoles(basis, positions))
    inner = plane @ jax.vmap(curved)(plane)
    answer = jnp.linalg.solve(inner + jnp.outer(normal, normal), moments)
    return answer, jnp.trace(moments.T @ answer) / 3


@jax.jit
def _reference_labels(
    functional: LearnedFunctional,
    species: Array,
    valid: Array,
    positions: Array,
    index: Array,
    natural: Float[Array, "L F"],
) -> tuple[Array, Array, Array]:
    """Energies and gradients of the labels, and the derivative of the first by the nuclei at fixed q."""

    def energy(q: Float[Array, " F"], places: Float[Array, "N 3"]) -> Float[Array, ""]:
        return jnp.sum(functional.fitted(species, valid, places, tabulated(q, index)))

    values, slopes = jax.vmap(jax.value_and_grad(energy), (0, None))(natural, positions)
    return values, slopes, jax.grad(energy, argnums=1)(natural[0], positions)
