"""Equilibrium ensembles of a molecule's conformers: drawn, judged, and summed up rotor by rotor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import jax
import numpy as np
from jaxtyping import Float, Int

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.coordinates.landscape import landscape
from ergodica.sampling.coordinates.torsions import rigid_energy, rigid_rotors
from ergodica.sampling.diffusion.reweighting import Reweighted, reweight
from ergodica.sampling.energies.mmff94 import Variant
from ergodica.sampling.molecules import Molecule, Rotor
from ergodica.sampling.samplers.torsions.sampler import draw, load_sampler
from ergodica.sampling.walks.statistics import FOLDED, MIXED, error_of_log_ratio, error_of_mean, judged
from ergodica.sampling.walks.tempering import Ladder, Tempered, continue_run, start_run
from ergodica.units import KB

__all__ = ["SECTORS", "ConformerOptions", "Ensemble", "Family", "sample_conformers"]

SECTORS = ("sp", "+sc", "+ac", "ap", "-ac", "-sc")
"""Of dihedral angles around 0, 60, 120, 180, -120 and -60 degrees: syn- and antiperiplanar, -clinal (Klyne, Prelog)."""
MOST_ROTORS = 16
Method = Literal["exchange", "diffusion"]
RECORDS, STRIDE, ROUNDS = 16, 4, 40
"""States and sweeps between them of a round, and rounds after which to stop."""


@dataclass(frozen=True)
class ConformerOptions:
    """What to draw.

    Attributes:
        count: number of conformers.
        temperature: K.
        reweight: the force field that weights are for; that which is drawn from by default.
        force_field: from which is drawn.
        seed: of the random numbers.
        method: Monte Carlo with replica exchange, or a trained sampler, whose samples are independent and have weights.
        model: of diffusion: `physics`, or the name or file of a trained sampler.
    """

    count: int = 1000
    temperature: float = 300.0
    reweight: Variant | None = None
    force_field: Variant = "MMFF94"
    seed: int = 0
    method: Method = "exchange"
    model: str = "physics"

    def __post_init__(self) -> None:
        if not LEAST <= self.count <= MOST:
            raise InputError(f"Between {LEAST} and {MOST} conformers can be drawn, not {self.count}.")


LEAST, MOST = 25, 1_000_000


@dataclass(frozen=True)
class Family:
    """Conformers whose rotors, symmetric ones aside, are in the same sectors.

    Attributes:
        sectors: of those rotors, in their order.
        population: share of the ensemble.
        error: its standard error.
        relative_error: of the logarithm of the share over that of the first family.
        lowest: index of the conformer of least energy.
    """

    sectors: tuple[str, ...]
    population: float
    error: float
    relative_error: float
    lowest: int


@dataclass(frozen=True)
class Ensemble:
    """Conformers of one molecule at one temperature, equally likely if weights are not called for.

    Attributes:
        molecule: whose they are.
        options: as asked for.
        angles: of the rotors, rad [N, T].
        energies: of the force field that the weights are for, eV [N].
        positions: Å [N, A, 3].
        walker: which of the independent ladders each comes from, or of as many parts of independent samples [N].
        effective: number of independent conformers that average as well, all that was recorded taken together.
        mixing: Gelman and Rubin's R̂, the largest of all angles and the energy; 1 where ladders agree.
        exchanged: shares of exchanges accepted between neighbouring temperatures; none without ladders.
        calls: evaluations of the energy, or of the network.
        weighted: weights for `options.reweight`.
        folded: share of what a diffusion sampler drew that was left out, because its steps were not one-to-one there.
    """

    molecule: Molecule
    options: ConformerOptions
    angles: Float[np.ndarray, "N T"]
    energies: Float[np.ndarray, " N"]
    positions: Float[np.ndarray, "N A 3"]
    walker: Int[np.ndarray, " N"]
    effective: float
    mixing: float
    exchanged: Float[np.ndarray, " J"]
    calls: int
    weighted: Reweighted
    folded: float = 0.0

    @property
    def reliable(self) -> bool:
        """Whether averages may be reported: the ladders agree, hardly a step folded, weights are not degenerate."""
        return self.mixing <= MIXED and self.folded <= FOLDED and self.weighted.reliable

    @cached_property
    def kept_stereo(self) -> float:
        """Share of conformers with the stereochemistry of the molecule."""
        return float(self.molecule.stereo_kept(self.positions).mean())

    def average(self, values: Float[np.ndarray, " N"]) -> tuple[float, float]:
        """The mean over the ensemble and its standard error, from what independent ladders disagree about.

        Raises:
            WorkFailed: the ladders do not agree, steps folded, or the weights are degenerate.
        """
        if self.mixing > MIXED:
            raise WorkFailed(
                f"No average is given: independent runs do not agree (R̂ {self.mixing:.2f} > {MIXED}). "
                "Draw more conformers, or take a higher temperature."
            )
        if self.folded > FOLDED:
            raise WorkFailed(
                f"No average is given: {100 * self.folded:.1f} % of the steps of the sampler were not one-to-one "
                f"(> {100 * FOLDED:g} %). Take --method exchange."
            )
        mean = float(self.weighted.average(values))
        return mean, error_of_mean(values, self.weighted.weights, self.walker)

    @cached_property
    def sectors(self) -> Int[np.ndarray, "N T"]:
        """Of every angle, as an index into `SECTORS`."""
        return np.round(self.angles / (np.pi / 3)).astype(int) % len(SECTORS)

    def populations(self, rotor: int) -> dict[str, tuple[float, float]]:
        """Share of each sector of a rotor, and its standard error.

        Raises:
            WorkFailed: as `average` does.
        """
        return {
            name: self.average((self.sectors[:, rotor] == number).astype(float)) for number, name in enumerate(SECTORS)
        }

    def families(self) -> list[Family]:
        """All, the most populated first.

        Raises:
            WorkFailed: as `average` does.
        """
        plain = [number for number, rotor in enumerate(self.molecule.rotors) if rotor.symmetry == 1]
        rows = [tuple(row) for row in self.sectors[:, plain].tolist()]
        members = [np.array([other == row for other in rows]) for row in Counter(rows)]
        shares = [self.average(member.astype(float)) for member in members]
        first = members[int(np.argmax([share for share, _ in shares]))]
        found = []
        for member, (share, error) in zip(members, shares, strict=True):
            lowest = int(np.flatnonzero(member)[np.argmin(self.energies[member])])
            sectors = tuple(SECTORS[one] for one in self.sectors[lowest, plain])
            relative = error_of_log_ratio(member, first, self.weighted.weights, self.walker)
            found.append(Family(sectors, share, error, relative, lowest))
        return sorted(found, key=lambda family: -family.population)

    def label(self, rotor: Rotor) -> str:
        """A rotor's atoms, such as "O2-C1-C0-H4"."""
        symbols = [self.molecule.graph.GetAtomWithIdx(atom).GetSymbol() for atom in rotor.atoms]
        return "-".join(f"{symbol}{atom}" for symbol, atom in zip(symbols, rotor.atoms, strict=True))


def sample_conformers(
    molecule: Molecule, options: ConformerOptions | None = None, report: Callable[[float], None] = lambda part: None
) -> Ensemble:
    """Draw from the Boltzmann ensemble of a molecule with rigid bonds, angles and rings, in vacuum.

    Replica exchange goes on until as many independent conformers were met as are asked for.

    Args:
        molecule: with up to 16 rotors.
        options: what to draw.
        report: is told what part of the way is done, 0 to 1.

    Raises:
        InputError: it has no rotors or too many, or the force field has no parameters for it.
    """
    options = options or ConformerOptions()
    rotors = len(molecule.rotors)
    if rotors > MOST_ROTORS:
        raise InputError(f"{molecule.name} has {rotors} rotors: up to {MOST_ROTORS} can be sampled.")
    if options.method == "diffusion":
        return _diffused(molecule, options, report)
    energy = rigid_energy(molecule, options.force_field)
    ladder = Ladder(options.temperature)
    run = start_run(energy, rotors, ladder, jax.random.key(options.seed), SETTLING * rotors)
    record: Tempered | None = None
    for _ in range(ROUNDS):
        run, more = continue_run(energy, run, ladder, RECORDS, STRIDE)
        record = more if record is None else record.joined(more)
        effective, mixing = judged(record.angles[:, 0], record.energies[:, 0])
        report(min(effective / options.count, 1.0))
        if effective >= options.count and record.energies[:, 0].size >= options.count and mixing <= MIXED:
            break
    assert record is not None
    sweeps = SETTLING * rotors + STRIDE * len(record.energies)
    calls = sweeps * 2 * rotors * ladder.rungs * ladder.walkers
    return _drawn(molecule, options, record, (effective, mixing, calls))


SETTLING = 40
"""Sweeps of equilibration for each rotor."""


def _diffused(molecule: Molecule, options: ConformerOptions, report: Callable[[float], None]) -> Ensemble:
    """Independent conformers with importance weights."""
    sampler = load_sampler(options.model)
    drawn = draw(
        sampler,
        landscape(molecule, options.force_field),
        options.temperature,
        options.count,
        seed=options.seed,
        report=report,
    )
    target = options.reweight or options.force_field
    energies = drawn.energies if target == options.force_field else _energies(molecule, target, drawn.x)
    weighted = reweight(-energies / (KB * options.temperature) - drawn.log_density)
    positions = _positions(molecule, drawn.x)
    part = np.arange(len(energies)) % PARTS
    nothing = np.zeros(0)
    return Ensemble(
        molecule, options, drawn.x, energies, positions, part, weighted.effective, 1.0, nothing, drawn.calls,
        weighted, drawn.folded,
    )  # fmt: skip


PARTS = 64
"""Of independent samples, to judge errors by."""


def _positions(molecule: Molecule, angles: Float[np.ndarray, "N T"]) -> Float[np.ndarray, "N A 3"]:
    return np.asarray(jax.jit(rigid_rotors(molecule).positions)(angles.astype(np.float32)), np.float64)


def _energies(molecule: Molecule, variant: Variant, angles: Float[np.ndarray, "N T"]) -> Float[np.ndarray, " N"]:
    return np.asarray(jax.jit(rigid_energy(molecule, variant))(angles.astype(np.float32)), np.float64)


def _drawn(
    molecule: Molecule, options: ConformerOptions, record: Tempered, judged_by: tuple[float, float, int]
) -> Ensemble:
    """Conformers evenly spread over what was recorded at the lowest temperature."""
    angles, energies = record.angles[:, 0], record.energies[:, 0]
    steps, walkers, dimensions = angles.shape
    chosen = np.linspace(0, steps * walkers - 1, min(options.count, steps * walkers)).round().astype(int)
    picked = angles.reshape(-1, dimensions)[chosen]
    positions = _positions(molecule, picked)
    own = energies.reshape(-1)[chosen]
    other = options.reweight not in (None, options.force_field)
    wanted = _energies(molecule, options.reweight, picked) if other else own  # type: ignore[arg-type]
    weighted = reweight((own - wanted) / (KB * options.temperature))
    effective, mixing, calls = judged_by
    figures = (effective, mixing, record.exchanged, calls)
    return Ensemble(molecule, options, picked, wanted, positions, chosen % walkers, *figures, weighted)
