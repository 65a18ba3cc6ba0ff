"""Training of samplers of one molecule with the one loop of the package, from structures in equilibrium and forces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.sampling.coordinates.chart import chart_of
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.score_matching import (
    States,
)
from ergodica.sampling.diffusion.score_task import ScoreTask
from ergodica.sampling.peptides import Peptide, read_peptide, read_states
from ergodica.sampling.samplers.molecule.bootstrap import Bootstrap, cooled_states, hot_states
from ergodica.sampling.samplers.molecule.network import InternalNetworkConfig, fresh_internal
from ergodica.sampling.samplers.molecule.sampler import (
    KIND,
    InternalSampler,
    load_internal,
    log_boltzmann,
    save_internal,
)
from ergodica.training.loop import Outcome, run_task
from ergodica.training.options import TaskOptions

__all__ = ["KIND", "InternalTask", "InternalTraining", "train_internal"]

BATCH = 500
"""States whose forces are computed at once."""


@dataclass(frozen=True)
class InternalData:
    """What is learnt from.

    Attributes:
        structure: the molecule, a PDB file.
        system: its force field, as OpenMM serialises systems.
        trajectory: structures in equilibrium at the temperature: ensembles that `ergodica sample` wrote, or
            trajectories; blocks of each are set aside to validate.
        temperature: K.
        bootstrap: how to learn from the energy alone, without a trajectory.
        steps: of an epoch.
        smallest: level of noise where sampling ends; coordinates have unit width.
        largest: where it starts.
        rho: how much denser levels are at small noise.
    """

    structure: str = ""
    system: str = ""
    trajectory: tuple[str, ...] = ()
    temperature: float = 300.0
    bootstrap: Bootstrap | None = None
    steps: int = 500
    smallest: float = 0.02
    largest: float = 20.0
    rho: float = 7.0


@dataclass(frozen=True, kw_only=True)
class InternalTraining(TaskOptions):
    """Everything that defines the training of a sampler of one molecule.

    Attributes:
        model: architecture.
        data: the molecule and its structures.
    """

    model: InternalNetworkConfig = field(default_factory=InternalNetworkConfig)
    data: InternalData = field(default_factory=InternalData)
    output: str = "runs/molecule"


def train_internal(
    config: InternalTraining,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Outcome:
    """Train a sampler of one molecule; arguments and errors are those of `ergodica.training.train`."""
    data = config.data
    peptide = read_peptide(data.structure, data.system)
    if data.bootstrap is None:

        def make() -> InternalTask:
            known = read_states(data.trajectory, peptide)
            sampler = fresh_sampler(config, peptide, known[0])
            states = tuple(states_of(sampler, part) for part in known)
            return InternalTask(config, sampler, states)  # type: ignore[arg-type]

        return run_task(make, config.output, resume, overwrite, report)
    if data.trajectory:
        raise InputError("[data] has a trajectory and a bootstrap: learn from the one or from the energy alone.")
    return _bootstrapped(config, peptide, resume, overwrite, report)


def _bootstrapped(
    config: InternalTraining,
    peptide: Peptide,
    resume: bool,
    overwrite: bool,
    report: Callable[[dict[str, float]], None] | None,
) -> Outcome:
    """One training at each temperature, from the states that the one before gave; the last is the run's own."""
    assert config.data.bootstrap is not None
    how = config.data.bootstrap
    ladder = how.temperatures(config.data.temperature)
    outcome: Outcome | None = None
    for rung, temperature in enumerate(ladder):
        last = rung == len(ladder) - 1
        folder = Path(config.output) if last else Path(config.output) / f"{temperature:.0f}K"
        if not last and resume and (folder / FINAL).is_file():
            continue
        here = replace(config, data=replace(config.data, temperature=temperature), output=str(folder))
        before = Path(config.output) / f"{ladder[rung - 1]:.0f}K" / FINAL if rung else None

        def make(here: InternalTraining = here, before: Path | None = before, rung: int = rung) -> InternalTask:
            seed = here.run.seed + rung
            if before is None:
                first = hot_states(how, peptide, here.data.temperature, seed)
                sampler, calls = fresh_sampler(here, peptide, first), how.first_calls
            else:
                earlier = load_internal(before)
                first = cooled_states(how, earlier, here.data.temperature, seed)
                sampler = warmed(earlier, first, here.data.temperature)
                calls = int(earlier.info.errors["energy_calls"]) + how.calls
            share = max(1, len(first) // 10)
            states = states_of(sampler, first[:-share]), states_of(sampler, first[-share:])
            return InternalTask(here, sampler, states, calls)

        outcome = run_task(make, here.output, resume, overwrite, report)
    assert outcome is not None
    return outcome


FINAL = "model.safetensors"
"""Where a run leaves its model."""


def fresh_sampler(config: InternalTraining, peptide: Peptide, positions: Float[np.ndarray, "S N 3"]) -> InternalSampler:
    """A sampler that knows the covariance of these structures and nothing else."""
    data, chart = config.data, chart_of(peptide.plan, positions)
    seen = chart if config.model.distances else None
    fresh = fresh_internal(config.model, chart.space, jax.random.key(config.run.seed), seen)
    params = jax.tree.map(np.asarray, fresh)
    noise = Noise(data.smallest, data.largest, data.rho)
    return InternalSampler(config.model, noise, data.temperature, peptide.text, chart, peptide.energy, params)


def warmed(earlier: InternalSampler, positions: Float[np.ndarray, "S N 3"], temperature: float) -> InternalSampler:
    """A sampler of another temperature in the coordinates of its states, which begins with what was learnt."""
    chart = chart_of(earlier.chart.plan, positions, earlier.chart.rotors)
    return replace(earlier, chart=chart, temperature=temperature)


class InternalTask(ScoreTask):
    """A sampler of one molecule and its states.

    Args:
        config: what to do.
        sampler: to begin with.
        states: to learn from, and to choose the best step by.
        calls: of the energy that they took, if they come from it alone.
    """

    def __init__(
        self, config: InternalTraining, sampler: InternalSampler, states: tuple[States, States], calls: int = 0
    ) -> None:
        super().__init__(config, sampler, sampler.chart.space, *states, calls)

    def save(self, path: Path, params: Any, errors: dict[str, float]) -> None:
        """Write the sampler with its card."""
        save_internal(path, self.trained(params, errors))

    def load(self, path: Path) -> Any:
        """Parameters out of a model file."""
        return load_internal(path).params


def states_of(sampler: InternalSampler, positions: Float[np.ndarray, "S N 3"]) -> States:
    """Coordinates of structures, and the slopes of their log-density.

    Raises:
        InputError: the energy of a structure is no number.
    """
    chart, energy, temperature = sampler.chart, sampler.energy, sampler.temperature

    @jax.jit
    def found(positions: Array) -> tuple[Array, Array]:
        x = chart.coordinates(positions)
        return x, jax.grad(lambda x: jnp.sum(log_boltzmann(chart, energy, temperature, x)))(x)

    parts = [found(jnp.asarray(positions[at : at + BATCH])) for at in range(0, len(positions), BATCH)]
    x, forces = (np.concatenate(part).astype(np.float32) for part in zip(*parts, strict=True))
    if not np.isfinite(forces).all():
        raise InputError("The energy of some structures is no number: do atoms overlap, or are they of another order?")
    return States(x, forces)
