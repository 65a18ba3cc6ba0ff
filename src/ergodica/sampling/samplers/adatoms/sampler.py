"""Trained samplers of atoms above surfaces: their file, places drawn from them with their density, and density maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.elements import symbols_of
from ergodica.errors import InputError
from ergodica.potentials.potential import Info
from ergodica.sampling.diffusion.flow import Drawn, Samples, draw_batches, flow
from ergodica.sampling.diffusion.likelihood import log_density
from ergodica.sampling.diffusion.noise import Noise
from ergodica.sampling.diffusion.sampler_file import load_whole, sampler_path, save_whole
from ergodica.sampling.energies.surfaces import Surface, Visitor, width
from ergodica.sampling.samplers.adatoms.network import AdatomNetworkConfig
from ergodica.sampling.samplers.adatoms.score import Above, AdatomDenoiser, fresh_params

__all__ = ["KIND", "AdatomSampler", "adatom_log_density", "draw_adatoms", "load_adatoms", "save_adatoms"]

KIND = "adatom-sampler"
BATCH, STEPS = 256, 15
"""Places of a call of the device, and steps of Heun's rule."""


@dataclass(frozen=True)
class AdatomSampler:
    """A network that was trained on many surfaces.

    Attributes:
        config: architecture.
        noise: levels that it was trained for, Å.
        metals: elements of the slabs.
        visitors: elements of the atoms above them.
        temperatures: lowest and highest, K.
        params: of the network.
        info: card.
    """

    config: AdatomNetworkConfig
    noise: Noise
    metals: tuple[str, ...]
    visitors: tuple[str, ...]
    temperatures: tuple[float, float]
    params: Any = field(repr=False)
    info: Info = field(default_factory=Info)

    def denoiser(self, surface: Surface, number: int, temperature: float) -> AdatomDenoiser:
        """For one atom above one surface.

        Raises:
            InputError: elements or temperature are none it was trained for, or the cell is too small.
        """
        slab = {int(one) for one in np.asarray(surface.numbers)}
        for meant, known, found in (("slabs", self.metals, slab), ("atoms above them", self.visitors, {number})):
            unknown = set(symbols_of(found)) - set(known)
            if unknown:
                raise InputError(f"The sampler was trained on {meant} of {' '.join(known)}, not on {unknown.pop()}.")
        low, high = self.temperatures
        if not low <= temperature <= high:
            raise InputError(f"The sampler was trained between {low:g} and {high:g} K, not at {temperature:g} K.")
        if width(surface) < self.config.reach:
            raise InputError(
                f"The cell is {width(surface):.1f} Å wide, the sampler sees {self.config.reach:g} Å: repeat the slab."
            )
        single = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), surface)
        single = Surface(np.asarray(surface.numbers, np.int32), single.positions, single.lattice)  # type: ignore[arg-type]
        return AdatomDenoiser(self.params, single, np.int32(number), np.float32(temperature), self.config)  # type: ignore[arg-type]


def save_adatoms(path: str | Path, sampler: AdatomSampler) -> None:
    """Write a sampler as one model file."""
    save_whole(path, KIND, sampler)


def load_adatoms(name_or_path: str | Path) -> AdatomSampler:
    """A sampler by the path of its file or the name of a shipped one.

    Raises:
        InputError: there is none, or the file is damaged, of another kind or from a newer version.
    """

    def fresh(sampler: AdatomSampler) -> Any:
        return fresh_params(sampler.config, jax.random.key(0))

    return load_whole(AdatomSampler, sampler_path(name_or_path), KIND, fresh)


def draw_adatoms(
    sampler: AdatomSampler,
    energy: Visitor,
    temperature: float,
    count: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    report: Callable[[float], None] = lambda part: None,
) -> Samples:
    """Draw independent places with their density; one call of the energy each.

    Args:
        sampler: trained.
        energy: of the atom above the surface.
        temperature: K.
        count: how many.
        seed: of the random numbers.
        steps: of Heun's rule.
        report: is told what part is done.

    Raises:
        InputError: elements or temperature are none the sampler was trained for.
    """
    denoiser = sampler.denoiser(energy.surface, int(energy.number), temperature)
    single = jax.tree.map(jnp.asarray, energy)

    def batch(key: Array) -> tuple[Drawn, Array]:
        return _batch(denoiser, single, key, sampler.noise, steps)

    return draw_batches(batch, count, BATCH, seed=seed, calls=8 * steps, report=report)


@partial(jax.jit, static_argnums=(3, 4))
def _batch(
    denoiser: AdatomDenoiser, energy: Visitor, key: Array, noise: Noise, steps: int
) -> tuple[Drawn, Float[Array, " B"]]:
    space = Above(denoiser.surface.lattice)
    drawn = flow(denoiser, space, space.prior(key, BATCH, noise.largest), noise=noise, steps=steps)
    return drawn, energy(drawn.x)


def adatom_log_density(
    denoiser: AdatomDenoiser, x: Float[np.ndarray, "n 3"], noise: Noise, steps: int = 40
) -> Float[np.ndarray, " n"]:
    """Logarithm of the model's density at given places, 1/Å³, by the probability flow with its exact divergence.

    Minus infinity where the flow overflows: no sample comes from there.

    Args:
        denoiser: of an atom above a surface.
        x: places, Å.
        noise: levels.
        steps: of the flow.
    """
    padded = np.pad(x, ((0, -len(x) % BATCH), (0, 0)), mode="edge").astype(np.float32)
    parts = [np.asarray(_log_density(denoiser, part, noise, steps)) for part in padded.reshape(-1, BATCH, 3)]
    found = np.concatenate(parts)[: len(x)]
    return np.where(np.isnan(found), -np.inf, found)


@partial(jax.jit, static_argnums=(2, 3))
def _log_density(denoiser: AdatomDenoiser, x: Float[Array, "B 3"], noise: Noise, steps: int) -> Float[Array, " B"]:
    return log_density(denoiser, Above(denoiser.surface.lattice), x, noise=noise, steps=steps).value
