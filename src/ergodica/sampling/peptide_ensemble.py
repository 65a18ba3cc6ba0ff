"""Equilibrium ensembles of a molecule with all its degrees of freedom: by replica exchange, or by a trained sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.coordinates.internal import internal
from ergodica.sampling.diffusion.reweighting import Reweighted, check_count, reweight
from ergodica.sampling.peptides import Peptide, backbone_angles
from ergodica.sampling.samplers.molecule.guidance import Restraint, log_restraints
from ergodica.sampling.samplers.molecule.sampler import STEPS, InternalSampler, draw_structures
from ergodica.sampling.walks.multistate import Thermal, mbar, thinned
from ergodica.sampling.walks.replica_md import Dynamics, Walked, continue_replicas, start_replicas
from ergodica.sampling.walks.statistics import FOLDED, MIXED, error_of_mean, judged
from ergodica.sampling.walks.tempering import Ladder, check_temperature
from ergodica.units import KB

__all__ = ["PeptideEnsemble", "PeptideOptions", "draw_peptide", "sample_peptide"]

SETTLING, RECORDS, ROUNDS = 250, 250, 60
"""Records thrown away, records of a round, and rounds after which to stop."""
PARTS = 16
"""Of independent samples, to judge errors by."""


@dataclass(frozen=True)
class PeptideOptions:
    """What to draw.

    Attributes:
        count: number of independent structures.
        temperature: K.
        seed: of the random numbers.
        walkers: independent ladders.
        dynamics: of replica exchange.
    """

    count: int = 1000
    temperature: float = 300.0
    seed: int = 0
    walkers: int = 8
    dynamics: Dynamics = field(default_factory=Dynamics)

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        if not 1 <= self.count <= 1_000_000:
            raise InputError(f"Between 1 and 1000000 structures can be drawn, not {self.count}.")


@dataclass(frozen=True)
class PeptideEnsemble:
    """Structures of one molecule at one temperature.

    Attributes:
        text: the molecule as a PDB file.
        temperature: K.
        positions: Å [S, N, 3].
        energies: eV [S].
        walker: which of the independent ladders each comes from, or of as many parts of independent samples [S].
        effective: independent structures that average as well.
        mixing: Gelman and Rubin's R̂; 1 where samples are independent.
        exchanged: shares of exchanges accepted between neighbouring temperatures; none without ladders.
        calls: evaluations of the energy, or of the network.
        weighted: weights; all alike for replica exchange.
        folded: share of what a sampler drew that was left out, because its steps were not one-to-one there.
        log_weights: ln of Boltzmann factor over density, of a sampler; with that of restraints, if there are some.
        log_restraints: ln of what restraints make of the Boltzmann factor.
        thermal: energy and heat capacity over the temperatures of the ladders.
    """

    text: str
    temperature: float
    positions: Float[np.ndarray, "S N 3"]
    energies: Float[np.ndarray, " S"]
    walker: Int[np.ndarray, " S"]
    effective: float
    mixing: float
    exchanged: Float[np.ndarray, " J"]
    calls: int
    weighted: Reweighted
    folded: float = 0.0
    log_weights: Float[np.ndarray, " S"] | None = None
    log_restraints: Float[np.ndarray, " S"] | None = None
    thermal: Thermal | None = None

    @property
    def reliable(self) -> bool:
        """Whether averages may be reported."""
        return self.mixing <= MIXED and self.folded <= FOLDED and self.weighted.reliable

    def average(self, values: Float[np.ndarray, " S"]) -> tuple[float, float]:
        """The mean over the ensemble, and its standard error by the jackknife over ladders or parts.

        Raises:
            WorkFailed: the weights are degenerate.
        """
        return float(self.weighted.average(values)), error_of_mean(values, self.weighted.weights, self.walker)

    def backbone(self) -> dict[str, Float[np.ndarray, "S 2"]]:
        """φ and ψ of the residues that have both, rad, by residue."""
        return backbone_angles(self.text, self.positions)


def sample_peptide(
    peptide: Peptide, options: PeptideOptions | None = None, report: Callable[[float], None] = lambda part: None
) -> PeptideEnsemble:
    """Replica exchange until as many independent structures were met as are asked for.

    Structures are of all rungs of the ladders, chosen so that all count alike at the lowest temperature (MBAR).

    Args:
        peptide: with its force field.
        options: what to draw.
        report: is told what part of the way is done, 0 to 1.

    Raises:
        WorkFailed: the energy of the structure to start from is no number, or the dynamics blew up.
    """
    options = options or PeptideOptions()
    ladder, how = Ladder(options.temperature, walkers=options.walkers), options.dynamics
    run = start_replicas(peptide.energy, peptide.starts(options.walkers), ladder, jax.random.key(options.seed))
    run, _ = continue_replicas(peptide.energy, run, ladder, how, SETTLING)
    found: list[Walked] = []
    angles: list[np.ndarray] = []
    for _ in range(ROUNDS):
        run, more = continue_replicas(peptide.energy, run, ladder, how, RECORDS)
        found.append(more)
        angles.append(_turning(peptide, more.positions[:, 0]))
        lowest = np.concatenate([one.energies[:, 0] for one in found])
        effective, mixing = judged(np.concatenate(angles), lowest)
        report(min(effective / options.count, 1.0))
        if effective >= options.count and mixing <= MIXED:
            break
    calls = (SETTLING + len(lowest)) * how.stride * ladder.rungs * ladder.walkers
    return _gathered(peptide, ladder, found, (effective, mixing, calls), options.seed)


def _gathered(
    peptide: Peptide, ladder: Ladder, found: Sequence[Walked], figures: tuple[float, float, int], seed: int
) -> PeptideEnsemble:
    """Structures of all rungs that count alike at the lowest temperature, ladder by ladder."""
    energies = np.concatenate([one.energies for one in found])
    try:
        known = mbar(energies, ladder.temperatures)
    except WorkFailed:  # rungs apart say nothing of each other: the lowest is what there is
        known = mbar(energies[:, :1], ladder.temperatures[:1])
    walker, step, rung = np.nonzero(thinned(known.log_weights(ladder.temperature), seed).transpose(2, 0, 1))
    kept = np.concatenate([one.positions for one in found])[step, rung, walker]
    exchanged = np.mean([one.exchanged for one in found], axis=0)
    effective, mixing, calls = figures
    return PeptideEnsemble(
        peptide.text, ladder.temperature, kept, energies[step, rung, walker], walker, effective, mixing, exchanged,
        calls, reweight(np.zeros(len(kept))), thermal=known.thermal(_between(known.temperatures)),
    )  # fmt: skip


def _between(rungs: Float[np.ndarray, " K"]) -> Float[np.ndarray, " T"]:
    """Temperatures from the lowest to the highest, three between any two rungs, K."""
    places = np.linspace(0, len(rungs) - 1, 4 * (len(rungs) - 1) + 1)
    return np.asarray(np.exp(np.interp(places, np.arange(len(rungs)), np.log(rungs))))


def _turning(peptide: Peptide, positions: Float[np.ndarray, "*S N 3"]) -> Float[np.ndarray, "*S T"]:
    """Dihedral angles about the bonds of a molecule, rad."""
    found = np.asarray(jax.jit(internal, static_argnums=0)(peptide.plan, jnp.asarray(positions))[2])
    return found[..., np.flatnonzero(peptide.plan.proper)]


def draw_peptide(
    sampler: InternalSampler,
    count: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    toward: Sequence[Restraint] = (),
    report: Callable[[float], None] = lambda part: None,
) -> PeptideEnsemble:
    """Independent structures of a trained sampler, with the weights that make them the ensemble of its force field.

    With restraints, samples are drawn where these wish them, and weights are those of the restrained ensemble.

    Args:
        sampler: trained.
        count: how many.
        seed: of the random numbers.
        steps: of Heun's rule, two evaluations each.
        toward: restraints.
        report: is told what part is done.
    """
    check_count(count)
    drawn = draw_structures(sampler, count, seed=seed, steps=steps, toward=tuple(toward), report=report)
    positions = np.asarray(jax.jit(sampler.chart.positions)(drawn.x))
    volume = np.asarray(jax.jit(sampler.chart.log_volume)(drawn.x))
    wished = np.asarray(log_restraints(toward, jnp.asarray(positions)), float)
    log_weights = wished - drawn.energies - drawn.log_density
    weighted = reweight(log_weights)
    energies = (drawn.energies + volume) * KB * sampler.temperature
    walker = np.arange(len(positions)) % PARTS
    return PeptideEnsemble(
        sampler.structure, sampler.temperature, positions, energies, walker, weighted.effective, 1.0, np.zeros(0),
        drawn.calls, weighted, drawn.folded, log_weights, wished,
    )  # fmt: skip
