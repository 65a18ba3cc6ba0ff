"""States to learn from by the energy alone: hot ones by dynamics, colder ones by what was learnt where it was hotter.

A sampler that was trained at one temperature proposes structures for the next, its stiff coordinates drawn in as heat
leaves them. Importance weights make them an ensemble of that temperature; a short walk from each gives more states.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ergodica.errors import InputError, WorkFailed
from ergodica.sampling.diffusion.reweighting import reweight
from ergodica.sampling.peptides import Peptide
from ergodica.sampling.samplers.molecule.sampler import InternalSampler, draw_structures
from ergodica.sampling.walks.replica_md import Dynamics, Energy, continue_replicas, start_replicas
from ergodica.sampling.walks.tempering import Ladder

__all__ = ["Bootstrap", "cooled_states", "hot_states"]

LEAST = 30.0
"""Effective proposals that a temperature must have."""


@dataclass(frozen=True)
class Bootstrap:
    """How to go from hot to cold.

    Attributes:
        hottest: where dynamics alone finds all states, K.
        rungs: temperatures, the hottest and the one that is wanted included.
        proposals: structures drawn for the next temperature.
        settling: steps of dynamics before the first states are kept.
        walk: steps from each proposal; of the hottest temperature, ten times as many.
        records: states kept of each walk.
    """

    hottest: float = 1200.0
    rungs: int = 6
    proposals: int = 1024
    settling: int = 5000
    walk: int = 1000
    records: int = 20

    def __post_init__(self) -> None:
        if min(self.rungs - 1, self.proposals, self.walk, self.records) < 1 or self.walk % self.records:
            raise InputError("bootstrap: rungs ≥ 2 and positive numbers are needed, and walk a multiple of records.")

    def temperatures(self, coldest: float) -> list[float]:
        """From the hottest to the coldest, in equal ratios.

        Raises:
            InputError: the hottest is not hotter.
        """
        if not self.hottest > coldest:
            raise InputError(f"bootstrap: the hottest temperature must be above {coldest:g} K.")
        return [float(one) for one in np.geomspace(self.hottest, coldest, self.rungs)]

    @property
    def first_calls(self) -> int:
        """Evaluations of the energy at the hottest temperature."""
        return WALKERS * (self.settling + 10 * self.walk)

    @property
    def calls(self) -> int:
        """Evaluations of the energy at each other temperature."""
        return self.proposals * (1 + self.walk)


WALKERS = 64
"""Independent walks at the hottest temperature."""


def hot_states(how: Bootstrap, peptide: Peptide, temperature: float, seed: int) -> Float[np.ndarray, "S N 3"]:
    """States of the hottest temperature by dynamics from the structure of the molecule, walk by walk."""
    steps = how.settling, 10 * how.walk
    start = np.broadcast_to(peptide.positions, (WALKERS, *peptide.positions.shape))
    return _walked(peptide.energy, start, temperature, steps, 10 * how.records, seed)


def cooled_states(
    how: Bootstrap, earlier: InternalSampler, temperature: float, seed: int
) -> Float[np.ndarray, "S N 3"]:
    """States of a lower temperature by the sampler of a higher one.

    Raises:
        WorkFailed: hardly any proposal counts.
    """
    pulled = earlier.chart.spread * np.sqrt(temperature / earlier.temperature)
    sampler = replace(earlier, chart=replace(earlier.chart, spread=pulled), temperature=temperature)
    drawn = draw_structures(sampler, how.proposals, seed=seed)
    weighted = reweight(-drawn.energies - drawn.log_density)
    if weighted.effective < LEAST:
        raise WorkFailed(
            f"Only {weighted.effective:.0f} of {how.proposals} proposals count at {temperature:.0f} K: "
            "take more rungs, more proposals or a longer training."
        )
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(drawn.x), size=how.proposals, p=weighted.weights))  # like ones stay together
    start = np.asarray(sampler.chart.positions(jnp.asarray(drawn.x[rows])))
    return _walked(sampler.energy, start, temperature, (0, how.walk), how.records, seed)


def _walked(
    energy: Energy,
    start: Float[np.ndarray, "W N 3"],
    temperature: float,
    steps: tuple[int, int],
    records: int,
    seed: int,
) -> Float[np.ndarray, "S N 3"]:
    """Dynamics from each structure: steps to settle and to record, and how many states of each to keep."""
    settling, recorded = steps
    ladder = Ladder(temperature, rungs=1, walkers=len(start))
    run = start_replicas(energy, start, ladder, jax.random.key(seed))
    if settling:
        run, _ = continue_replicas(energy, run, ladder, Dynamics(stride=settling), 1)
    _, found = continue_replicas(energy, run, ladder, Dynamics(stride=recorded // records), records)
    return np.swapaxes(found.positions[:, 0], 0, 1).reshape(-1, *start.shape[1:])
