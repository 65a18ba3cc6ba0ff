"""Trained samplers of one molecule in all internal coordinates: their file, and structures with their density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ergodica.checkpoint import load_tree
from ergodica.config import from_dict
from ergodica.potentials.potential import Info
from ergodica.sampling.coordinates.chart import Chart
from ergodica.sampling.coordinates.internal import Tree
from ergodica.sampling.diffusion.flow import Drawn, Samples, draw_batches, flow
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.sampler_file import read_sampler_header, sampler_path, save_sampler_tree
from ergodica.sampling.diffusion.solvers import Denoiser
from ergodica.sampling.energies.by_kind import Energy, energy_from_tree, energy_kind
from ergodica.sampling.samplers.molecule.guidance import Guided, Restraint, log_restraints, reaches
from ergodica.sampling.samplers.molecule.network import InternalDenoiser, InternalNetworkConfig
from ergodica.units import KB

__all__ = ["KIND", "InternalSampler", "draw_structures", "load_internal", "log_boltzmann", "save_internal"]

KIND = "internal-sampler"
BATCH, STEPS = 128, 20
"""Samples of a call of the device, and steps of Heun's rule."""
TRIAL = 2**31 - 1
"""Number of the batch that is drawn on trial, which must be none of those that are kept."""


@dataclass(frozen=True)
class InternalSampler:
    """A network that was trained on one molecule at one temperature.

    Attributes:
        config: architecture.
        noise: levels that it was trained for.
        temperature: K.
        structure: the molecule as a PDB file.
        chart: its coordinates.
        energy: its force field.
        params: of the network.
        info: card.
    """

    config: InternalNetworkConfig
    noise: Noise
    temperature: float
    structure: str = field(repr=False)
    chart: Chart = field(repr=False)
    energy: Energy = field(repr=False)
    params: Any = field(repr=False)
    info: Info = field(default_factory=Info)

    def denoiser(self, params: Any = None) -> InternalDenoiser:
        """The denoiser, of other parameters if they are given."""
        seen = self.chart if self.config.distances else None
        return InternalDenoiser(self.params if params is None else params, self.chart.space, self.config, seen)


def log_boltzmann(
    chart: Chart, energy: Energy, temperature: float, coordinates: Float[Array, "B D"]
) -> Float[Array, " B"]:
    """ln of the Boltzmann factor per volume of the coordinates, orientation and place left out."""
    positions = chart.positions(coordinates)
    return chart.log_volume(coordinates) - energy(positions) / (KB * temperature)


def save_internal(path: str | Path, sampler: InternalSampler) -> None:
    """Write a sampler as one model file."""
    chart = sampler.chart
    tree = {
        "network": sampler.params,
        "chart": {"centre": chart.centre, "spread": chart.spread},
        "energy": sampler.energy,
    }
    record = {
        "config": asdict(sampler.config),
        "noise": asdict(sampler.noise),
        "temperature": sampler.temperature,
        "structure": sampler.structure,
        "plan": asdict(chart.plan),
        "rotors": chart.rotors,
        "energy": energy_kind(sampler.energy),
        "info": asdict(sampler.info),
    }
    save_sampler_tree(path, KIND, tree, record)


def load_internal(name_or_path: str | Path) -> InternalSampler:
    """A sampler by the path of its file or the name of a shipped one.

    Raises:
        InputError: there is none, or the file is damaged, of another kind or from a newer version.
    """
    path = sampler_path(name_or_path)
    header = read_sampler_header(path, KIND)
    tree, _ = load_tree(path)
    plan = header["plan"]
    chart = Chart(
        **tree["chart"],
        plan=Tree(tuple(plan["atoms"]), tuple(map(tuple, plan["references"])), tuple(plan["proper"])),
        rotors=tuple(header["rotors"]),
    )
    return InternalSampler(
        config=from_dict(InternalNetworkConfig, header["config"], f"{path}: config"),
        noise=from_dict(Noise, header["noise"], f"{path}: noise"),
        temperature=header["temperature"],
        structure=header["structure"],
        chart=chart,
        energy=energy_from_tree(header["energy"], tree["energy"]),
        params=tree["network"],
        info=from_dict(Info, header["info"], f"{path}: info"),
    )


def draw_structures(
    sampler: InternalSampler,
    count: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    toward: tuple[Restraint, ...] = (),
    report: Callable[[float], None] = lambda part: None,
) -> Samples:
    """Draw independent coordinates with their density; energies are minus `log_boltzmann`.

    Args:
        sampler: trained.
        count: how many.
        seed: of the random numbers.
        steps: of Heun's rule.
        toward: what is wished for.
        report: is told what part is done.
    """
    cost = 2 * steps * (1 + sampler.chart.space.dimensions)
    denoiser, tried = _guided(sampler, toward, steps, seed) if toward else (sampler.denoiser(), 0)

    def batch(key: Array) -> tuple[Drawn, Array]:
        return _batch(denoiser, sampler.chart, sampler.energy, key, sampler.noise, steps, sampler.temperature)

    drawn = draw_batches(batch, count, BATCH, seed=seed, calls=cost, report=report)
    return replace(drawn, calls=drawn.calls + tried * cost)


def _guided(sampler: InternalSampler, toward: tuple[Restraint, ...], steps: int, seed: int) -> tuple[Guided, int]:
    """Pulled as early as serves best, by the weights of a batch each that is thrown away; how many were tried."""
    chart, key = sampler.chart, jax.random.fold_in(jax.random.key(seed), TRIAL)
    choices = [Guided(sampler.denoiser(), chart, jnp.asarray(reach), toward) for reach in reaches(toward)]
    if len(choices) == 1:
        return choices[0], 0
    found = []
    for denoiser in choices:
        drawn, energies = _batch(denoiser, chart, sampler.energy, key, sampler.noise, steps, sampler.temperature)
        wished = log_restraints(toward, chart.positions(drawn.x))
        log_weights = jnp.where(drawn.upright, wished - energies - drawn.log_density, -jnp.inf)
        share = jax.nn.softmax(jnp.nan_to_num(log_weights, nan=-jnp.inf))
        found.append((float(1 / jnp.sum(share**2)), denoiser))
    return max(found, key=lambda pair: pair[0])[1], BATCH * len(choices)


@partial(jax.jit, static_argnums=(4, 5, 6))
def _batch(
    denoiser: Denoiser,
    chart: Chart,
    energy: Energy,
    key: Array,
    noise: Noise,
    steps: int,
    temperature: float,
) -> tuple[Drawn, Array]:
    space = chart.space
    drawn = flow(denoiser, space, space.prior(key, BATCH, noise.largest), noise=noise, steps=steps)
    return drawn, -log_boltzmann(chart, energy, temperature, drawn.x)
