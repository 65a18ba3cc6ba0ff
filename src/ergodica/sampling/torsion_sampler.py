"""Trained samplers of torsions: their file, and angles drawn from them with their density."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ergodica.checkpoint import load_shaped
from ergodica.config import from_dict
from ergodica.errors import InputError
from ergodica.potentials.potential import Info
from ergodica.sampling.flow import flow
from ergodica.sampling.landscape import Landscape
from ergodica.sampling.sampler_file import read_sampler_header, sampler_path, save_sampler_tree
from ergodica.sampling.spaces import Torus
from ergodica.sampling.tempering import check_temperature
from ergodica.sampling.torsion_network import Seen, TorsionNetwork, TorsionNetworkConfig
from ergodica.sampling.torsion_score import EVEN, NOISE, ODD, PAIR_EVEN, PAIR_ODD, TorsionScore, torsion_score
from ergodica.units import KB

__all__ = ["KIND", "DrawnAngles", "TorsionSampler", "draw", "fresh_params", "load_sampler", "save_sampler"]

KIND = "torsion-sampler"
PHYSICS = "physics"
BATCH, STEPS = 256, 24
"""Samples of a call of the device, and steps of Heun's rule."""


@dataclass(frozen=True)
class TorsionSampler:
    """A network that was trained on the torsions of many molecules.

    Attributes:
        config: architecture.
        params: of the network; None for physics alone.
        temperatures: between which it was trained, K.
        force_field: whose ensembles it was trained on.
        info: card.
    """

    config: TorsionNetworkConfig
    params: Any = field(repr=False)
    temperatures: tuple[float, float]
    force_field: str
    info: Info


def fresh_params(config: TorsionNetworkConfig, key: Array) -> Any:
    """Parameters that change nothing yet."""
    shapes = ((1, 2, EVEN), (1, 2, ODD), (1, 2, 2, PAIR_EVEN), (1, 2, 2, PAIR_ODD))
    even, odd, pair_even, pair_odd = (jnp.zeros(shape) for shape in shapes)
    return TorsionNetwork(config).init(key, Seen(even, odd, pair_even, pair_odd, jnp.ones((1, 2), bool)))


def save_sampler(path: str | Path, sampler: TorsionSampler) -> None:
    """Write a sampler as one model file."""
    record = asdict(sampler)
    params = record.pop("params")
    save_sampler_tree(path, KIND, params, record)


def load_sampler(name_or_path: str | Path) -> TorsionSampler:
    """A sampler by the path of its file, the name of a shipped one, or "physics" for the score that needs no network.

    Raises:
        InputError: there is none, or the file is damaged, of another kind or from a newer version.
    """
    if name_or_path == PHYSICS:
        return TorsionSampler(TorsionNetworkConfig(), None, (0.0, np.inf), "any", Info(name=PHYSICS))
    path = sampler_path(name_or_path, PHYSICS)
    header = read_sampler_header(path, KIND)
    config = from_dict(TorsionNetworkConfig, header["config"], f"{path}: config")
    template = jax.eval_shape(lambda: fresh_params(config, jax.random.key(0)))
    params = load_shaped(path, template)
    low, high = header["temperatures"]
    info = from_dict(Info, header["info"], f"{path}: info")
    return TorsionSampler(config, params, (low, high), header["force_field"], info)


@dataclass(frozen=True)
class DrawnAngles:
    """Of one molecule at one temperature.

    Attributes:
        angles: rad, in [-π, π] [N, T].
        energies: eV [N].
        log_density: natural logarithm of the density over angles in radians [N].
        calls: evaluations of the network, those for derivatives among them.
        folded: share of what was drawn and left out, because a step was not one-to-one there.
    """

    angles: Float[np.ndarray, "N T"]
    energies: Float[np.ndarray, " N"]
    log_density: Float[np.ndarray, " N"]
    calls: int
    folded: float


def draw(
    sampler: TorsionSampler,
    known: Landscape,
    temperature: float,
    count: int,
    *,
    seed: int = 0,
    steps: int = STEPS,
    report: Callable[[float], None] = lambda part: None,
) -> DrawnAngles:
    """Draw independent angles of a molecule.

    Args:
        sampler: trained.
        known: the molecule.
        temperature: K.
        count: how many.
        seed: of the random numbers.
        steps: of Heun's rule.
        report: is told what part is done.

    Raises:
        InputError: the temperature is not positive, or not one that the sampler was trained for.
    """
    check_temperature(temperature)
    low, high = sampler.temperatures
    if not low <= temperature <= high:
        raise InputError(f"The sampler was trained between {low:g} and {high:g} K, not for {temperature:g} K.")
    rotors = int(np.sum(known.valid))
    score = torsion_score(known, 1 / (KB * temperature), sampler.params, sampler.config)
    keys = jax.random.split(jax.random.key(seed), -(-count // BATCH))
    parts = []
    for number, key in enumerate(keys):
        parts.append(_batch(score, key, rotors, steps))
        report((number + 1) / len(keys))
    angles, energies, density, upright = (np.concatenate(part)[:count] for part in zip(*parts, strict=True))
    kept = upright & np.isfinite(density)
    angles = angles[kept] - 2 * np.pi * np.round(angles[kept] / (2 * np.pi))
    energies = np.where(np.isnan(energies), np.inf, energies)  # atoms on one place
    calls = 2 * steps * (1 + rotors) * count
    return DrawnAngles(angles, energies[kept], density[kept], calls, 1 - float(kept.mean()))


@partial(jax.jit, static_argnums=(2, 3))
def _batch(score: TorsionScore, key: Array, rotors: int, steps: int) -> tuple[Array, Array, Array, Array]:
    space = Torus(rotors)
    drawn = flow(score.denoise, space, space.prior(key, BATCH, NOISE.largest), noise=NOISE, steps=steps)
    return drawn.x, score.known.energy(drawn.x), drawn.log_density, drawn.upright
