"""The structures a training configuration names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.system import System
    from ergodica.training import Splits, TrainConfig

__all__ = ["read_splits"]


def read_splits(config: TrainConfig) -> tuple[Splits, list[System]]:
    """Training, validation and replay structures, and those of the test.

    Raises:
        InputError: a file is missing or damaged, lacks a label the loss asks for, or nothing is left to train on.
    """
    from ergodica.training import Splits

    data, loss = config.data, config.loss
    needs = [label for label in ("energy", "forces") if getattr(loss, label) > 0]
    if not data.train:
        raise InputError("There are no training structures: set [data] train.")
    train = _read(data.train, needs)
    validation = _read(data.validation, needs)
    if not validation:
        train, validation = _hold_out(train, data.validation_fraction, data.shuffle_split, config.run.seed)
    return Splits(train, validation, _read(config.start.replay, needs)), _read(data.test, needs)


def _read(files: Sequence[str], needs: Sequence[str]) -> list[System]:
    from ergodica.files import read_structures

    return [system for file in files for system in read_structures(file, needs=needs)]


def _hold_out(systems: list[System], fraction: float, shuffle: bool, seed: int) -> tuple[list[System], list[System]]:
    """Set a share aside for validation: drawn at random, or the last ones."""
    held = round(fraction * len(systems))
    if not 0 < held < len(systems):
        raise InputError(
            f"validation_fraction={fraction} of {len(systems)} structures leaves nothing to train on or to validate: "
            "change it or set [data] validation."
        )
    order = np.random.default_rng(seed).permutation(len(systems)) if shuffle else np.arange(len(systems))
    kept, aside = np.sort(order[:-held]), np.sort(order[-held:])
    return [systems[index] for index in kept], [systems[index] for index in aside]
