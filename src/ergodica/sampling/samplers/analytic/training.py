"""Training from the energy alone, without any walk on it: in rounds, from what the sampler itself draws.

- "adjoint": reciprocal adjoint matching (Havens et al. 2025, arXiv:2504.11713). With a wide prior its target is the
  force at a sample, asked for at that sample with noise; where noise is wider than `clean`, the noise that was added
  takes over (without it, few rounds end in one mode). Modes apart keep the weights that the hot rounds gave them.
- "reweighted": the same from samples drawn again by importance weights, which the exact density of a sampler gives.
- "pidp": physics-informed diffusion pre-training; see `diffusion_equation`.

The first rounds are at higher temperatures, so that all modes are met before they part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.errors import InputError
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.score_matching import (
    Clean,
    Noisy,
    ScoreErrors,
    States,
    summed,
)
from ergodica.sampling.diffusion.score_task import ScoreTask
from ergodica.sampling.energies.analytic import Landmarks
from ergodica.sampling.samplers.analytic.diffusion_equation import Boundary, density_residuals, score_residuals
from ergodica.sampling.samplers.analytic.sampler import (
    KIND,
    EnergySampler,
    draw_from_energy,
    fresh_energy_sampler,
    load_energy_sampler,
    save_energy_sampler,
)
from ergodica.sampling.samplers.molecule.network import InternalNetworkConfig
from ergodica.training.loop import Outcome, run_task
from ergodica.training.options import TaskOptions

__all__ = ["KIND", "EnergyTask", "EnergyTraining", "train_from_energy"]

JITTER = 0.15
"""By how much half of the states are moved at which PIDP asks for energies, in widths of the target."""
FINAL, KEPT = "model.safetensors", 3
"""Where a round leaves its model, and how many rounds a buffer remembers."""


@dataclass(frozen=True)
class EnergyData:
    """What is learnt from.

    Attributes:
        target: one of `ergodica.sampling.energies.analytic.ANALYTIC`.
        method: how.
        rounds: how often the buffer is filled anew.
        buffer: samples of a round; those of the last three are learnt from.
        steps: of an epoch; a round is as many epochs as [run] says.
        smallest: level of noise where sampling ends, in widths of the target.
        largest: where it starts.
        clean: level at which force and noise say as much, for "adjoint".
        steepest: norm to which forces are cut, in kT per width.
        hottest: temperature of the first round over the target's, which the last third of the rounds have.
    """

    target: str = "gmm9"
    method: Literal["adjoint", "reweighted", "pidp"] = "adjoint"
    rounds: int = 12
    buffer: int = 4096
    steps: int = 500
    smallest: float = 0.02
    largest: float = 10.0
    clean: float = 0.2
    steepest: float = 100.0
    hottest: float = 10.0

    def __post_init__(self) -> None:
        if min(self.rounds, self.buffer, self.steps) < 1 or self.hottest < 1:
            raise InputError("[data] rounds, buffer and steps must be positive, and hottest at least 1.")

    def heat(self, number: int) -> float:
        """Temperature of a round over that of the target."""
        cooling = max(1, 2 * self.rounds // 3)
        return float(self.hottest ** max(0.0, 1 - number / cooling))

    def calls(self, number: int) -> int:
        """Of the energy up to a round: for weights, except of "adjoint", and to learn from, of every sample."""
        rounds = sum(min(KEPT, max(1, earlier)) for earlier in range(number + 1))
        return (1 if self.method == "adjoint" else 2) * rounds * self.buffer


@dataclass(frozen=True, kw_only=True)
class EnergyTraining(TaskOptions):
    """Everything that defines the training of a sampler from the energy alone.

    Attributes:
        model: architecture.
        data: the target and the method.
    """

    model: InternalNetworkConfig = field(default_factory=InternalNetworkConfig)
    data: EnergyData = field(default_factory=EnergyData)
    output: str = "runs/energy"


def train_from_energy(
    config: EnergyTraining,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Outcome:
    """Train in rounds; arguments and errors are those of `ergodica.training.train`."""
    rounds, outcome = config.data.rounds, None
    folders = [Path(config.output) / f"round{number}" for number in range(rounds - 1)] + [Path(config.output)]
    for number, folder in enumerate(folders):
        if resume and number < rounds - 1 and (folder / FINAL).is_file():
            continue
        here = replace(config, output=str(folder))
        earlier = [one / FINAL for one in folders[max(0, number - KEPT) : number]]
        outcome = run_task(partial(_task, here, earlier, number), here.output, resume, overwrite, report)
    assert outcome is not None
    return outcome


def _task(config: EnergyTraining, earlier: list[Path], number: int) -> EnergyTask:
    """The task of a round, its buffer filled by the samplers of the rounds before."""
    data, seed = config.data, config.run.seed
    noise = Noise(data.smallest, data.largest, 7.0)
    samplers = [load_energy_sampler(path) for path in earlier]
    samplers = samplers or [fresh_energy_sampler(data.target, config.model, noise, seed)]
    parts = [_filled(one, data, data.heat(number), seed + number) for one in samplers]
    return EnergyTask(config, samplers[-1], np.concatenate([x for x, _ in parts]), number, parts[-1][1])


def _filled(sampler: EnergySampler, data: EnergyData, heat: float, seed: int) -> tuple[Float[np.ndarray, "S D"], float]:
    """What a sampler draws, drawn again by weights or half of it moved, as the method wants it; and ln Z by weights."""
    drawn, rng = draw_from_energy(sampler, data.buffer, seed=seed), np.random.default_rng(seed)
    log_weights = -drawn.energies / heat - drawn.log_density
    x, log_weights = drawn.x[np.isfinite(log_weights)], log_weights[np.isfinite(log_weights)]
    if not len(x):
        return x, 0.0
    weights = np.exp(log_weights - log_weights.max())
    weights = np.minimum(weights, weights.mean() * np.sqrt(len(weights)))  # Ionides 2008: truncated importance sampling
    level = float(log_weights.max() + np.log(weights.mean()))
    if data.method == "pidp":
        x = x + JITTER * rng.standard_normal(x.shape) * (rng.uniform(size=(len(x), 1)) < 0.5)
    if data.method == "reweighted":
        x = x[rng.choice(len(x), size=len(x), p=weights / weights.sum())]
    return x, level


class EnergyTask(ScoreTask):
    """A round: a sampler and what fills its buffer.

    Args:
        config: what to do.
        sampler: to begin with.
        buffer: samples [S, D].
        number: of the round.
        log_z: of the Boltzmann factor at the temperature of the round, about: what log-densities are to be less by.

    Raises:
        InputError: hardly a sample has an energy.
    """

    validated = 10

    def __init__(
        self,
        config: EnergyTraining,
        sampler: EnergySampler,
        buffer: Float[np.ndarray, "S D"],
        number: int,
        log_z: float = 0.0,
    ) -> None:
        data, known = config.data, sampler.known
        if len(buffer) < data.buffer // 10:
            raise InputError("Hardly a sample has an energy: the target is not where its centre and width say.")
        x = buffer.astype(np.float32)
        levels, forces = (np.asarray(part) for part in _energies(known, data.heat(number), data.steepest, x))
        states = States(x, forces)
        super().__init__(config, sampler, known.space, states, states, data.calls(number))
        self.levels = levels - np.float32(log_z)
        if data.method == "adjoint":
            self.clean = data.clean

    def maker(self, states: States) -> Callable[[np.random.Generator], tuple[Any, Any]]:
        """Noisy states; of PIDP also others with their energies, beside those where the equation is to hold."""
        noisy = super().maker(states)
        if self.config.data.method != "pidp":
            return noisy

        def collocated(rng: np.random.Generator) -> tuple[Noisy, Boundary]:
            batch, _ = noisy(rng)
            rows = rng.integers(len(self.levels), size=self.config.run.batch_size)
            known: Any = states.x[rows], states.forces[rows], self.levels[rows]
            return batch, Boundary(*known)

        return collocated

    def loss(self, params: Any, batch: Noisy, targets: Clean | Boundary, *_: Array) -> tuple[Array, ScoreErrors]:
        """Mean over samples and dimensions of what the method makes small."""
        if isinstance(targets, Clean):
            return super().loss(params, batch, targets)
        residuals = density_residuals if self.config.model.potential else score_residuals
        missed = residuals(self.sampler.denoiser(params), batch.x, batch.sigma, targets, self.sampler.noise.smallest)
        return summed(missed.sum() / self.space.dimensions, len(batch.x))

    def save(self, path: Path, params: Any, errors: dict[str, float]) -> None:
        """Write the sampler with its card."""
        save_energy_sampler(path, self.trained(params, errors))

    def load(self, path: Path) -> Any:
        """Parameters out of a model file."""
        return load_energy_sampler(path).params


@partial(jax.jit, static_argnums=0)
def _energies(
    known: Landmarks, heat: float, steepest: float, x: Float[Array, "S D"]
) -> tuple[Float[Array, " S"], Float[Array, "S D"]]:
    """ln of the Boltzmann factor at a temperature over the target's, and its slopes, cut to the steepest."""
    levels, back = jax.vjp(lambda x: known.log_boltzmann(x) / heat, x)
    (slope,) = back(jnp.ones_like(levels))
    length = jnp.linalg.norm(slope, axis=1, keepdims=True)
    return levels, slope * jnp.minimum(1.0, steepest / jnp.maximum(length, 1e-9))
