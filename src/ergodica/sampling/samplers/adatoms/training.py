"""Training of adatom samplers with the one loop of the package: from the energy alone, by its density on a grid."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ergodica.elements import SYMBOLS
from ergodica.errors import InputError
from ergodica.sampling.diffusion.noise import Noise, score_target
from ergodica.sampling.diffusion.random_feed import RandomFeed
from ergodica.sampling.diffusion.score_matching import ScoreErrors, mean_error, summed
from ergodica.sampling.energies.surfaces import Surface, surface_of, visitor
from ergodica.sampling.samplers.adatoms.alloys import AlloyOptions, alloys
from ergodica.sampling.samplers.adatoms.network import AdatomNetworkConfig
from ergodica.sampling.samplers.adatoms.sampler import KIND, AdatomSampler, load_adatoms, save_adatoms
from ergodica.sampling.samplers.adatoms.score import UNIT, AdatomDenoiser, fresh_params
from ergodica.sampling.walks.density_map import MapOptions, draw_states, energy_map
from ergodica.training.loop import Outcome, run_task
from ergodica.training.options import TaskOptions
from ergodica.units import KB

__all__ = ["KIND", "AdatomTask", "AdatomTraining", "train_adatoms"]


@dataclass(frozen=True)
class AdatomData:
    """What is learnt from.

    Attributes:
        train: slabs to learn from.
        validation: slabs to choose the best step by.
        visitors: elements of the atoms above them.
        temperatures: lowest and highest, K; each atom on each slab has one of its own.
        states: of the density of each, drawn once.
        places: noisy states of each in a batch, whose size counts atoms on slabs.
        steps: of an epoch.
        smallest: level of noise where sampling ends, Å.
        largest: where it starts, Å: wide noise must be uniform in the cell.
        rho: how much denser levels are at small noise.
        grid: on which the density is known.
    """

    train: AlloyOptions = field(default_factory=AlloyOptions)
    validation: AlloyOptions = field(default_factory=lambda: AlloyOptions(count=32, seed=1))
    visitors: tuple[str, ...] = ("H", "C", "N", "O")
    temperatures: tuple[float, float] = (200.0, 700.0)
    states: int = 256
    places: int = 48
    steps: int = 200
    smallest: float = 0.02
    largest: float = 5.0
    rho: float = 7.0
    grid: MapOptions = field(default_factory=lambda: MapOptions(0.25, 0.08, 0.2, 3.5))


@dataclass(frozen=True, kw_only=True)
class AdatomTraining(TaskOptions):
    """Everything that defines the training of a sampler of atoms above surfaces.

    Attributes:
        model: architecture.
        data: surfaces and temperatures.
    """

    model: AdatomNetworkConfig = field(default_factory=AdatomNetworkConfig)
    data: AdatomData = field(default_factory=AdatomData)
    output: str = "runs/adatoms"


def train_adatoms(
    config: AdatomTraining,
    *,
    resume: bool = False,
    overwrite: bool = False,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Outcome:
    """Train a sampler of atoms above surfaces; arguments and errors are those of `ergodica.training.train`."""

    def make() -> AdatomTask:
        return AdatomTask(config, *(known(config.data, slabs) for slabs in (config.data.train, config.data.validation)))

    return run_task(make, config.output, resume, overwrite, report)


@dataclass(frozen=True)
class Known:
    """An atom on a slab at a temperature, and states of it.

    Attributes:
        surface: the slab.
        number: atomic number of the atom.
        temperature: K.
        x: states, Å [n, 3].
        forces: over kT, 1/Å [n, 3].
    """

    surface: Surface
    number: int
    temperature: float
    x: Float[np.ndarray, "n 3"]
    forces: Float[np.ndarray, "n 3"]


def known(data: AdatomData, options: AlloyOptions) -> list[Known]:
    """Every atom on every slab.

    Raises:
        InputError: an element is no one's, or the cell is too small.
    """
    rng, found = np.random.default_rng(options.seed), []
    low, high = np.log(data.temperatures)
    for slab in alloys(options):
        surface = surface_of(slab)
        for symbol in data.visitors:
            energy, temperature = visitor(surface, SYMBOLS.index(symbol)), float(np.exp(rng.uniform(low, high)))
            x, forces = draw_states(energy_map(energy, temperature, data.grid), energy, data.states, rng)
            scaled = (forces / (KB * temperature)).astype(np.float32)
            found.append(Known(surface, int(energy.number), temperature, x.astype(np.float32), scaled))
    return found


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class NoisyPlaces:
    """P noisy places above each of B slabs.

    Attributes:
        surface: slabs, each leaf with a leading axis [B].
        number: atomic number of the atom [B].
        temperature: K [B].
        x: places, Å [B, P, 3].
        sigma: width of the noise, Å [B, P].
    """

    surface: Surface
    number: Int[Array, " B"]
    temperature: Float[Array, " B"]
    x: Float[Array, "B P 3"]
    sigma: Float[Array, "B P"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CleanPlaces:
    """What they were made of.

    Attributes:
        noise: of unit width [B, P, 3].
        forces: of the places without noise over kT, 1/Å [B, P, 3].
    """

    noise: Float[Array, "B P 3"]
    forces: Float[Array, "B P 3"]


def noisy_places(
    known: Sequence[Known], noise: Noise, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[NoisyPlaces, CleanPlaces]:
    """States of random slabs, all of as many atoms, with noise of levels spread evenly in their logarithm.

    Args:
        known: atoms on slabs.
        noise: levels.
        shape: slabs, and places of each.
        rng: random numbers.
    """
    chosen = [known[row] for row in rng.integers(len(known), size=shape[0])]
    rows = [rng.integers(len(one.x), size=shape[1]) for one in chosen]
    x, forces = (
        np.stack([getattr(one, name)[own] for one, own in zip(chosen, rows, strict=True)]) for name in ("x", "forces")
    )
    sigma = noise.spread(rng, shape[0] * shape[1]).reshape(shape)
    added = rng.normal(size=x.shape).astype(np.float32)
    slabs = jax.tree.map(lambda *leaves: _single(np.stack(leaves)), *(one.surface for one in chosen))
    temperatures = np.array([one.temperature for one in chosen], np.float32)
    numbers = np.array([one.number for one in chosen], np.int32)
    noisy = NoisyPlaces(slabs, numbers, temperatures, x + sigma[..., None] * added, sigma)  # type: ignore[arg-type]
    return noisy, CleanPlaces(added, forces)  # type: ignore[arg-type]


def _single(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32 if values.dtype.kind == "f" else np.int32)


class AdatomTask:
    """A sampler and atoms on slabs.

    Args:
        config: what to do.
        train: to learn from.
        validation: to choose the best step by.

    Raises:
        InputError: no slab came to rest.
    """

    members = 0

    def __init__(self, config: AdatomTraining, train: Sequence[Known], validation: Sequence[Known]) -> None:
        if not train or not validation:
            raise InputError("No slab is left to learn from or to validate with: ask for more.")
        data = config.data
        self.config, self.train, self.validation = config, train, validation
        force = float(np.sqrt(np.mean([np.mean(one.forces**2) for one in train])))
        params = jax.tree.map(np.asarray, fresh_params(config.model, jax.random.key(config.run.seed)))
        noise = Noise(data.smallest, data.largest, data.rho)
        metals = data.train.metals
        self.sampler = AdatomSampler(config.model, noise, metals, data.visitors, data.temperatures, params)
        self.params, self.trainable = params, jax.tree.map(lambda _: 1.0, params)
        self.clean = 1.0 / force
        self.fingerprint = hashlib.sha256(b"".join(one.x.tobytes() for one in (*train, *validation))).hexdigest()

    def loaders(self, devices: int) -> tuple[RandomFeed, RandomFeed]:
        """Batches to train on and to validate with."""
        run, data, noise = self.config.run, self.config.data, self.sampler.noise
        shape, length = (run.batch_size, data.places), run.steps_per_call
        training, checked = (partial(noisy_places, part, noise, shape) for part in (self.train, self.validation))
        return RandomFeed(training, data.steps, length, devices), RandomFeed(checked, VALIDATED, length)

    def loss(self, params: Any, batch: NoisyPlaces, targets: CleanPlaces, *_: Array) -> tuple[Array, ScoreErrors]:
        """Mean over places and degrees of freedom of (σ² + u²) times the squared error of the score."""

        def score(one: NoisyPlaces) -> Float[Array, "P 3"]:
            denoiser = AdatomDenoiser(params, one.surface, one.number, one.temperature, self.config.model)
            return denoiser.score(one.x, one.sigma)

        sigma = batch.sigma[..., None]
        error = jax.vmap(score)(batch) - score_target(targets.forces, targets.noise, sigma, self.clean)
        return summed(jnp.sum((sigma**2 + UNIT**2) * error**2) / 3, batch.sigma.size)

    def summary(self, errors: ScoreErrors) -> dict[str, float]:
        """Means of summed errors by name."""
        return mean_error(errors)

    def save(self, path: Path, params: Any, errors: dict[str, float]) -> None:
        """Write the sampler with its card."""
        info, data = self.config.info, self.config.data
        card = replace(info, elements=(*data.train.metals, *data.visitors), errors={**info.errors, **errors})
        save_adatoms(path, replace(self.sampler, params=params, info=card))

    def load(self, path: Path) -> Any:
        """Parameters out of a model file."""
        return load_adatoms(path).params


VALIDATED = 40
"""Batches that validate."""
