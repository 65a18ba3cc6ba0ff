"""Options of the properties; imports nothing heavy, so that the command's help is fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ergodica.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float

__all__ = ["ElasticOptions", "EosOptions", "PhononOptions", "QuasiharmonicOptions", "steps_to"]

Arithmetic = Literal["float32", "float64"]


def _positive(options: object, *names: str) -> None:
    for name in names:
        if not getattr(options, name) > 0:
            raise InputError(f"{name}={getattr(options, name)} must be positive.")


@dataclass(frozen=True)
class EosOptions:
    """How to sample energy over volume.

    Attributes:
        points: volumes, at least 5.
        span: largest change of the volume, as a part of it, to both sides.
        relax: what is relaxed at each volume: "shape" (cell shape and atoms), "atoms", or "none".
        form: equation that is fitted, "birch-murnaghan" (third order) or "vinet".
        fmax: largest force allowed after a relaxation, eV/Å.
        steps: steps of a relaxation after which to give up.
        precision: floating-point numbers of the network.
    """

    points: int = 7
    span: float = 0.06
    relax: Literal["shape", "atoms", "none"] = "shape"
    form: Literal["birch-murnaghan", "vinet"] = "birch-murnaghan"
    fmax: float = 1e-3
    steps: int = 300
    precision: Arithmetic = "float64"

    def __post_init__(self) -> None:
        _positive(self, "fmax", "steps")
        if self.points < 5:
            raise InputError(f"points={self.points}: an equation of state needs at least 5 volumes.")
        if not 0 < self.span < 0.5:
            raise InputError(f"span={self.span} must lie between 0 and 0.5; 0.06 is ± 6 % of the volume.")
        if self.form not in ("birch-murnaghan", "vinet") or self.relax not in ("shape", "atoms", "none"):
            raise InputError(f"form='{self.form}', relax='{self.relax}': see EosOptions for what there is.")


@dataclass(frozen=True)
class ElasticOptions:
    """How to measure elastic constants.

    Attributes:
        strains: amplitudes; each is applied with both signs.
        relax: relax atoms and cell first.
        clamped: keep the atoms where the strain puts them, instead of relaxing them in each strained cell.
        symprec: how far atoms may be from their symmetric places, Å.
        fmax: largest force allowed after a relaxation, eV/Å.
        steps: steps of a relaxation after which to give up.
        precision: floating-point numbers of the network.
    """

    strains: tuple[float, ...] = (0.005, 0.01)
    relax: bool = True
    clamped: bool = False
    symprec: float = 0.01
    fmax: float = 1e-3
    steps: int = 300
    precision: Arithmetic = "float64"

    def __post_init__(self) -> None:
        _positive(self, "fmax", "steps", "symprec")
        if not self.strains or len(set(self.strains)) < len(self.strains):
            raise InputError(f"strains={self.strains}: give one or more different amplitudes, such as 0.005, 0.01.")
        if not all(0 < strain <= 0.05 for strain in self.strains):
            raise InputError(f"strains={self.strains} must lie between 0 and 0.05: elasticity is for small strains.")


def steps_to(top: float, step: float) -> Float[np.ndarray, " n"]:
    """From 0 by a step up to the top, which is always there."""
    import numpy as np

    return np.append(np.arange(0.0, top - 1e-6 * step, step), top)


@dataclass(frozen=True)
class PhononOptions:
    """How to compute phonons.

    Attributes:
        supercell: multiples of the cell as given; chosen by `length` from the conventional cell when None.
        length: least distance between opposite faces of the supercell, Å.
        displacement: how far an atom is moved, Å.
        relax: relax atoms and cell first.
        mesh: length that sets the mesh of q-points, Å: N = mesh · |a*| along each reciprocal vector.
        t_max: highest temperature of the thermal functions, K.
        t_step: step of the temperatures, K.
        symprec: how far atoms may be from their symmetric places, Å.
        fmax: largest force allowed after a relaxation, eV/Å.
        steps: steps of a relaxation after which to give up.
        precision: floating-point numbers of the network.
    """

    supercell: tuple[int, int, int] | None = None
    length: float = 10.0
    displacement: float = 0.01
    relax: bool = True
    mesh: float = 100.0
    t_max: float = 1000.0
    t_step: float = 10.0
    symprec: float = 0.01
    fmax: float = 1e-3
    steps: int = 300
    precision: Arithmetic = "float64"

    def __post_init__(self) -> None:
        _positive(self, "length", "displacement", "mesh", "t_max", "t_step", "symprec", "fmax", "steps")
        if self.supercell is not None and min(self.supercell) < 1:
            raise InputError(f"supercell={self.supercell} must be three whole numbers from 1.")


@dataclass(frozen=True)
class QuasiharmonicOptions:
    """How to compute free energies in the quasi-harmonic approximation.

    Attributes:
        volumes: volumes at which phonons are computed, at least 5.
        expansion: largest volume, relative to that of the static crystal; the smallest follows from `p_max`.
        p_max: highest pressure, GPa.
        p_step: step of the pressures, GPa.
        t_max: highest temperature, K.
        t_step: step of the temperatures, K.
        supercell: multiples of the cell as given; chosen by `length` from the conventional cell when None.
        length: least distance between opposite faces of the supercell, Å.
        displacement: how far an atom is moved, Å.
        mesh: length that sets the mesh of q-points, Å.
        symprec: how far atoms may be from their symmetric places, Å.
        fmax: largest force allowed after a relaxation, eV/Å.
        steps: steps of a relaxation after which to give up.
        precision: floating-point numbers of the network.
    """

    volumes: int = 7
    expansion: float = 1.08
    p_max: float = 0.0
    p_step: float = 1.0
    t_max: float = 1000.0
    t_step: float = 10.0
    supercell: tuple[int, int, int] | None = None
    length: float = 10.0
    displacement: float = 0.01
    mesh: float = 60.0
    symprec: float = 0.01
    fmax: float = 1e-3
    steps: int = 300
    precision: Arithmetic = "float64"

    def __post_init__(self) -> None:
        _positive(self, "p_step", "t_max", "t_step")
        if self.volumes < 5:
            raise InputError(f"volumes={self.volumes}: the quasi-harmonic approximation needs at least 5.")
        if not 1.0 < self.expansion < 1.5 or self.p_max < 0:
            raise InputError(f"expansion={self.expansion} must lie between 1 and 1.5, p_max={self.p_max} not below 0.")
        assert self.phonons, "which has checks of its own"

    @property
    def phonons(self) -> PhononOptions:
        """The options that concern the phonons at one volume."""
        return PhononOptions(
            supercell=self.supercell, length=self.length, displacement=self.displacement, relax=False, mesh=self.mesh,
            t_max=self.t_max, t_step=self.t_step, symprec=self.symprec, fmax=self.fmax, steps=self.steps,
            precision=self.precision,
        )  # fmt: skip


@dataclass(frozen=True)
class AnalysisOptions:
    """How to look at a trajectory.

    Attributes:
        elements: only these, all by default; temperature, pressure and energies are always those of the whole system.
        r_max: end of g(r), Å.
        bins: of g(r).
        rdf_frames: most frames for g(r), evenly taken: neighbouring ones say nothing new.
        blocks: pieces of the run for the error of diffusion.
        longest_lag: of the velocity autocorrelation, fs; longer gives sharper and noisier lines.
    """

    elements: tuple[str, ...] = ()
    r_max: float = 8.0
    bins: int = 160
    rdf_frames: int = 200
    blocks: int = 4
    longest_lag: float = 4000.0

    def __post_init__(self) -> None:
        _positive(self, "r_max", "bins", "rdf_frames", "longest_lag")
        if self.blocks < 3:
            raise InputError(f"blocks={self.blocks}: an error needs at least 3.")
