"""Force fields out of OpenMM: systems as `XmlSerializer.serialize(system)` writes them. OpenMM itself is not needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float

from ergodica.errors import InputError
from ergodica.sampling.energies.amber import COULOMB, AmberField, Solvent
from ergodica.sampling.energies.terms import Row, packed
from ergodica.units import KJ_PER_MOL

__all__ = ["read_openmm"]

NM = 10.0
"""Å."""
OFFSET = 0.09
"""By which generalised Born radii are smaller than an atom's, Å."""
FORCES = ("HarmonicBondForce", "HarmonicAngleForce", "PeriodicTorsionForce", "NonbondedForce", "GBSAOBCForce")
IGNORED = ("CMMotionRemover",)


def read_openmm(path: str | Path) -> tuple[AmberField, Float[np.ndarray, " N"]]:
    """The force field of a serialised system, and its masses, amu.

    Args:
        path: the XML file.

    Raises:
        InputError: the file is missing or no system, or the system has constraints, cut-offs or other forces.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no file '{path}'.")
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise InputError(f"'{path}' is not complete XML ({error}): write it with XmlSerializer.serialize.") from error
    if root.tag != "System":
        raise InputError(f"'{path}' holds <{root.tag}>, not the <System> that XmlSerializer.serialize(system) writes.")
    if root.find("Constraints/Constraint") is not None:
        raise InputError(f"'{path}' has constraints: create the system with constraints=None and rigidWater=False.")
    masses = np.array([float(one.get("mass", 0)) for one in root.iterfind("Particles/Particle")])
    if not len(masses):
        raise InputError(f"'{path}' has no particles.")
    try:
        return _field(root, len(masses), path), masses
    except (KeyError, ValueError, IndexError) as error:
        raise InputError(f"'{path}' lacks numbers that OpenMM writes ({error}).") from error


def _field(root: ElementTree.Element, count: int, path: Path) -> AmberField:
    found: dict[str, ElementTree.Element] = {}
    for force in root.iterfind("Forces/Force"):
        kind = force.get("type", "")
        if kind in IGNORED:
            continue
        if kind not in FORCES or kind in found:
            raise InputError(
                f"'{path}' has a {kind}{' twice' if kind in found else ''}: known are one each of {', '.join(FORCES)}. "
                "(The solvent of amber99_obc.xml is a GBSAOBCForce; that of implicit/obc2.xml is not.)"
            )
        found[kind] = force
    nothing = ElementTree.Element("Force")
    bonds, angles, torsions = (found.get(kind, nothing) for kind in FORCES[:3])
    solvent = found.get("GBSAOBCForce")
    return AmberField(
        packed(2, 2, _bonds(bonds)),
        packed(3, 2, _angles(angles)),
        packed(4, 3, _torsions(torsions)),
        *_pairs(found.get("NonbondedForce", nothing), count, path),
        None if solvent is None else _solvent(solvent, path),
    )


def _numbers(term: ElementTree.Element, *names: str) -> list[float]:
    return [float(term.attrib[name]) for name in names]


def _atoms(term: ElementTree.Element, count: int) -> tuple[int, ...]:
    return tuple(int(term.attrib[f"p{number + 1}"]) for number in range(count))


def _bonds(force: ElementTree.Element) -> Iterator[Row]:
    for term in force.iterfind("Bonds/Bond"):
        rest, constant = _numbers(term, "d", "k")
        yield _atoms(term, 2), (constant * KJ_PER_MOL / NM**2, rest * NM)


def _angles(force: ElementTree.Element) -> Iterator[Row]:
    for term in force.iterfind("Angles/Angle"):
        rest, constant = _numbers(term, "a", "k")
        yield _atoms(term, 3), (constant * KJ_PER_MOL, rest)


def _torsions(force: ElementTree.Element) -> Iterator[Row]:
    for term in force.iterfind("Torsions/Torsion"):
        height, periodicity, phase = _numbers(term, "k", "periodicity", "phase")
        if height != 0:
            yield _atoms(term, 4), (height * KJ_PER_MOL, periodicity, phase)


def _pairs(force: ElementTree.Element, count: int, path: Path) -> tuple[Any, Any, Any]:
    """Products of charges, depths and sizes of all pairs, by Lorentz's and Berthelot's rules and the exceptions."""
    if force.get("method", "0") != "0":
        raise InputError(f"'{path}' has a cut-off: create the system with nonbondedMethod=NoCutoff.")
    own = np.array([_numbers(one, "q", "sig", "eps") for one in force.iterfind("Particles/Particle")])
    own = own.reshape(-1, 3) if len(own) else np.zeros((count, 3))
    charge, size, depth = own.T
    charges, depths = np.outer(charge, charge), np.sqrt(np.outer(depth, depth))
    sizes = 0.5 * (size[:, None] + size[None])
    for term in force.iterfind("Exceptions/Exception"):
        one, other = _atoms(term, 2)
        for at in ((one, other), (other, one)):
            charges[at], sizes[at], depths[at] = _numbers(term, "q", "sig", "eps")
    half = 0.5 * (1 - np.eye(count))
    return half * charges * COULOMB, half * depths * KJ_PER_MOL, sizes * NM


def _solvent(force: ElementTree.Element, path: Path) -> Solvent:
    if force.get("method", "0") != "0":
        raise InputError(f"'{path}' has a cut-off: create the system with nonbondedMethod=NoCutoff.")
    charge, radius, scale = np.array(
        [_numbers(one, "q", "r", "scale") for one in force.iterfind("Particles/Particle")]
    ).T
    inside, outside, tension = _numbers(force, "soluteDielectric", "solventDielectric", "surfaceAreaEnergy")
    radii = NM * radius
    strength = np.sqrt(COULOMB * (1 / inside - 1 / outside))
    parts: dict[str, Any] = {
        "radii": radii,
        "offset_radii": radii - OFFSET,
        "scaled": scale * (radii - OFFSET),
        "charges": strength * charge,
        "tension": np.array(4 * np.pi * tension * KJ_PER_MOL / NM**2),
    }
    return Solvent(**parts)
