"""Phonons by finite displacements, through phonopy.

Splitting of longitudinal and transverse optical modes of polar crystals near Γ (the non-analytical correction) needs
Born charges, which potentials do not give; it is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ergodica._extras import require
from ergodica.config import check_keys
from ergodica.errors import WorkFailed
from ergodica.properties.evaluation import Model, evaluator
from ergodica.properties.harmonic import harmonic_crystals, require_harmonic
from ergodica.properties.options import PhononOptions, steps_to
from ergodica.properties.relaxation import at_rest
from ergodica.system import System, as_systems
from ergodica.units import KJ_PER_MOL

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Bands", "Phonons", "Thermal", "analyse", "phonons"]

IMAGINARY = 0.1
"""Frequencies below minus this are imaginary modes, THz; smaller ones come from the interpolation near Γ."""
DOS_POINTS = 500
"""Frequencies at which the density of states is computed."""
ROOM = 300.0
"""Temperature of the thermal functions that are told first, K."""
ACOUSTIC = 3
"""Modes at Γ that are zero up to rounding."""
ALL_ZERO = 1e-6
"""Highest frequency below which nothing holds the atoms, THz."""
BAND_POINTS = 51
"""Wave vectors on the longest segment of the band path."""


@dataclass(frozen=True)
class Bands:
    """Frequencies along the path of Hinuma et al. (Comput. Mater. Sci. 128, 140 (2017)), by seekpath.

    Attributes:
        labels: the two ends of every segment.
        qpoints: fractional coordinates in the reciprocal primitive cell, one array [Q, 3] a segment.
        distances: along the path [Q], 1/Å, one array a segment.
        frequencies: [Q, 3N], THz, imaginary ones negative, one array a segment.
    """

    labels: tuple[tuple[str, str], ...]
    qpoints: tuple[Float[np.ndarray, "Q 3"], ...]
    distances: tuple[Float[np.ndarray, " Q"], ...]
    frequencies: tuple[Float[np.ndarray, "Q M"], ...]


@dataclass(frozen=True)
class Thermal:
    """Harmonic thermal functions of one primitive cell at constant volume.

    Attributes:
        temperatures: K [T].
        free_energy: of the vibrations, zero-point energy included [T], eV.
        entropy: [T], eV/K.
        heat_capacity: at constant volume [T], eV/K.
    """

    temperatures: Float[np.ndarray, " T"]
    free_energy: Float[np.ndarray, " T"]
    entropy: Float[np.ndarray, " T"]
    heat_capacity: Float[np.ndarray, " T"]


@dataclass(frozen=True)
class Phonons:
    """Phonons of one crystal.

    Attributes:
        system: the structure, relaxed where asked for.
        phonopy: the `phonopy.Phonopy` with its force constants, for everything that is not here.
        gamma: frequencies at Γ [3N], THz, imaginary ones negative.
        bands: along the high-symmetry path.
        dos: frequencies [D] and density of states per primitive cell [D], THz and 1/THz.
        thermal: thermal functions of the primitive cell.
        room: the same at `ROOM` alone.
        lowest: the lowest frequency on path and mesh, THz.
        lowest_q: its wave vector, fractional in the reciprocal primitive cell [3].
        highest: the highest frequency, THz.
        warnings: what to know before using it.
    """

    system: System
    phonopy: Any
    gamma: Float[np.ndarray, " M"]
    bands: Bands
    dos: tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]
    thermal: Thermal
    room: Thermal
    lowest: float
    lowest_q: tuple[float, float, float]
    highest: float
    warnings: tuple[str, ...]

    @property
    def n_atoms(self) -> int:
        """Atoms of the primitive cell."""
        return len(self.phonopy.primitive)

    @property
    def imaginary(self) -> bool:
        """Whether a mode is imaginary, so that the structure is no minimum of the energy."""
        return self.lowest < -IMAGINARY

    def yaml(self) -> bytes:
        """Cells, displacements, forces and force constants as `phonopy_params.yaml`, which phonopy loads."""
        return str(self.phonopy.to_phonopy_yaml(settings={"force_constants": True})).encode()

    def to_dict(self) -> dict[str, Any]:
        """The result in JSON's terms; thermal functions per mole of primitive cells."""
        room = self.room
        free, entropy, heat = (float(one[0]) for one in (room.free_energy, room.entropy, room.heat_capacity))
        kilo = 1 / KJ_PER_MOL
        return {
            "n_atoms_primitive": self.n_atoms,
            "supercell": np.asarray(self.phonopy.supercell_matrix),
            "n_atoms_supercell": len(self.phonopy.supercell),
            "n_displacements": len(self.phonopy.displacements),
            "gamma_frequencies_THz": self.gamma,
            "max_frequency_THz": self.highest,
            "min_frequency_THz": self.lowest,
            "min_frequency_q": self.lowest_q,
            "imaginary_modes": self.imaginary,
            "free_energy_300K_kJ_per_mol": free * kilo,
            "entropy_300K_J_per_mol_K": entropy * kilo * 1e3,
            "heat_capacity_300K_J_per_mol_K": heat * kilo * 1e3,
            "thermal": {
                "temperature_K": self.thermal.temperatures,
                "free_energy_kJ_per_mol": self.thermal.free_energy * kilo,
                "entropy_J_per_mol_K": self.thermal.entropy * kilo * 1e3,
                "heat_capacity_J_per_mol_K": self.thermal.heat_capacity * kilo * 1e3,
            },
            "dos": {"frequency_THz": self.dos[0], "density_per_THz": self.dos[1]},
            "bands": [
                {"from": ends[0], "to": ends[1], "q": q, "distance_per_A": d, "frequencies_THz": f}
                for ends, q, d, f in zip(
                    self.bands.labels, self.bands.qpoints, self.bands.distances, self.bands.frequencies, strict=True
                )
            ],
            "cell_A": self.system.cell,
            "positions_A": self.system.positions,
            "warnings": list(self.warnings),
        }


def phonons(
    model: Model,
    structures: System | Atoms | Sequence[System | Atoms],
    options: PhononOptions | None = None,
    **changes: Any,
) -> list[Phonons]:
    """Phonons of crystals: bands, density of states, thermal functions, imaginary modes.

    The displaced supercells of all structures are computed together.

    Args:
        model: a `Potential` or an ASE calculator.
        structures: one or many crystals.
        options: how.
        changes: fields of `PhononOptions` by name, such as `supercell=(2, 2, 2)`.

    Returns:
        one result a structure, in the order given; a structure that is not at rest, or not stable, says so.

    Raises:
        InputError: a structure that is not periodic in three directions, charged, or of mixed isotopes, an element the
            model does not know, or phonopy or seekpath is not installed.
        WorkFailed: the model failed, or the atoms of a structure do not feel each other.
    """
    check_keys(PhononOptions, changes, "phonons")
    options = replace(options or PhononOptions(), **changes)
    systems = as_systems(structures)
    require_harmonic(systems, "phonons")
    require("phonopy", "phonons"), require("seekpath", "phonons")
    evaluate = evaluator(model, options.precision)
    rested = at_rest(evaluate, systems, options.relax, options.fmax, options.steps, options.symprec)
    harmonics = harmonic_crystals(evaluate, [system for system, _ in rested], options)
    return [
        analyse(system, harmonic, options, warnings)
        for (system, warnings), harmonic in zip(rested, harmonics, strict=True)
    ]


def analyse(system: System, harmonic: Any, options: PhononOptions, warnings: Sequence[str] = ()) -> Phonons:
    """Everything that follows from force constants.

    Args:
        system: the structure.
        harmonic: a `phonopy.Phonopy` with force constants.
        options: mesh and temperatures.
        warnings: known so far.

    Raises:
        WorkFailed: all frequencies are zero.
    """
    temperatures = steps_to(options.t_max, options.t_step)
    bands = _bands(harmonic, options.symprec)
    mesh = harmonic.run_mesh(options.mesh, is_gamma_center=True)
    if not np.max(mesh.frequencies) > ALL_ZERO:
        raise WorkFailed(f"{system.name}: all frequencies are zero: the atoms do not feel each other in this model.")
    dos = _states(harmonic, np.asarray(mesh.frequencies))
    gamma = np.asarray(harmonic.run_qpoints([[0.0, 0.0, 0.0]]).frequencies)[0]
    qpoints = np.concatenate([*bands.qpoints, np.asarray(mesh.qpoints)])
    frequencies = np.concatenate([*bands.frequencies, np.asarray(mesh.frequencies)])
    worst = int(frequencies[:, 0].argmin())
    lowest, place = float(frequencies[worst, 0]), tuple(float(x) + 0.0 for x in np.round(qpoints[worst], 4))
    warnings = list(warnings)
    if lowest < -IMAGINARY:
        warnings.append(
            f"{system.name} has imaginary modes, down to {-lowest:.2f}i THz at q = ({place[0]:g}, {place[1]:g}, "
            f"{place[2]:g}): it is no minimum of this model's energy, and the thermal functions leave them out."
        )
    elif (lost := int(np.sum(np.asarray(mesh.frequencies) <= 0)) - ACOUSTIC) > 0:
        warnings.append(
            f"{system.name}: {lost} modes of the mesh are imaginary by rounding or a little more (down to "
            f"{-lowest:.3f}i THz), and the thermal functions leave them out: relax further, or take a larger supercell."
        )
    return Phonons(
        system, harmonic, gamma, bands, dos, _thermal(harmonic, temperatures), _thermal(harmonic, np.array([ROOM])),
        lowest, place, float(frequencies.max()), tuple(warnings),  # type: ignore[arg-type]
    )  # fmt: skip


def _states(
    harmonic: Any, frequencies: Float[np.ndarray, "Q M"]
) -> tuple[Float[np.ndarray, " D"], Float[np.ndarray, " D"]]:
    """Density of states by linear tetrahedra, on points that miss zero and the highest frequency.

    Where bands are flat, a point exactly at their frequency would get a spike of any height.
    """
    top = float(frequencies.max())
    low, high = min(float(frequencies.min()), 0.0) - 0.02 * top, 1.02 * top
    run = harmonic.run_total_dos(freq_min=low, freq_max=high, freq_pitch=(high - low) / DOS_POINTS)
    return np.asarray(run.frequency_points), np.asarray(run.dos)


def _bands(harmonic: Any, symprec: float) -> Bands:
    """Bands along seekpath's path, in the reciprocal basis of phonopy's own primitive cell."""
    import seekpath

    primitive = harmonic.primitive
    cell = (primitive.cell, primitive.scaled_positions, primitive.numbers)
    found = seekpath.get_path_orig_cell(cell, symprec=symprec)
    points = {label: np.array(q) for label, q in found["point_coords"].items()}
    reciprocal = np.linalg.inv(primitive.cell).T
    lengths = [float(np.linalg.norm((points[b] - points[a]) @ reciprocal)) for a, b in found["path"]]
    counts = [max(round(BAND_POINTS * length / max(lengths)), 3) for length in lengths]
    paths = [np.linspace(points[a], points[b], n) for (a, b), n in zip(found["path"], counts, strict=True)]
    run = harmonic.run_band_structure(paths)
    labels = tuple((_pretty(a), _pretty(b)) for a, b in found["path"])
    return Bands(labels, tuple(paths), tuple(map(np.asarray, run.distances)), tuple(map(np.asarray, run.frequencies)))


def _pretty(label: str) -> str:
    name, _, index = (
        label.replace("GAMMA", "Γ").replace("SIGMA", "Σ").replace("DELTA", "Δ").replace("LAMBDA", "Λ").partition("_")
    )
    return name + index.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _thermal(harmonic: Any, temperatures: Float[np.ndarray, " T"]) -> Thermal:
    run = harmonic.run_thermal_properties(temperatures=temperatures, exclude_gamma_acoustic=True)
    kilo, unit = KJ_PER_MOL, KJ_PER_MOL / 1e3
    return Thermal(
        temperatures, np.asarray(run.free_energy) * kilo, np.asarray(run.entropy) * unit,
        np.asarray(run.heat_capacity) * unit,
    )  # fmt: skip
