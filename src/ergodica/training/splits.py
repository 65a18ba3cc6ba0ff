"""Which structures a run learns from, and which choose its best step."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ergodica.errors import InputError
from ergodica.system import System
from ergodica.training.options import LossOptions, TrainConfig
from ergodica.training.property import values_of, with_property

__all__ = ["Splits", "hold_out", "read_all", "read_splits"]


@dataclass(frozen=True)
class Splits:
    """Labelled structures of a run: what is fitted, what chooses the best step, and earlier data for replay."""

    train: Sequence[System]
    validation: Sequence[System]
    replay: Sequence[System] = ()

    @property
    def fingerprint(self) -> str:
        """A hash of all structures and labels."""
        found = hashlib.sha256()
        for systems in (self.train, self.validation, self.replay):
            found.update(f"{len(systems)}|".encode())
            for s in systems:
                own = s.labels
                for value in (s.numbers, s.positions, s.cell, s.pbc, s.charge, own.energy, own.forces, own.stress):
                    found.update(b"-" if value is None else np.asarray(value).tobytes())
        return found.hexdigest()


def read_splits(config: TrainConfig) -> tuple[Splits, list[System]]:
    """Training, validation and replay structures, and those of the test.

    Raises:
        InputError: a file is missing or damaged, lacks a label the loss asks for, or nothing is left to train on.
    """
    data = config.data
    if not data.train:
        raise InputError("There are no training structures: set [data] train.")
    name, partial = config.learn.key, data.partial or bool(config.learn.key)
    train, validation, replay, test = (
        read_all(files, config.loss, partial, data.keys)
        for files in (data.train, data.validation, config.start.replay, data.test)
    )
    if name:
        train, validation, replay = (with_property(part, config.learn) for part in (train, validation, replay))
        values_of(test, name)
    if not validation:
        train, validation = hold_out(train, data.validation_fraction, data.shuffle_split, config.run.seed)
    return Splits(train, validation, replay), test


def read_all(
    files: Sequence[str], loss: LossOptions, partial: bool = False, keys: Mapping[str, str] | None = None
) -> list[System]:
    """The structures of several files, each with the energies and forces that the loss asks for, unless `partial`.

    Args:
        files: names, with selections if wanted.
        loss: says which labels are needed.
        partial: labels may be absent.
        keys: where labels stand, as for `read_structures`.

    Raises:
        InputError: a file is missing or damaged, or lacks a label.
    """
    from ergodica.files import read_structures

    needs = [label for label in ("energy", "forces") if getattr(loss, label) > 0 and not partial]
    return [system for file in files for system in read_structures(file, needs=needs, **(keys or {}))]


def hold_out(systems: Sequence[System], fraction: float, shuffle: bool, seed: int) -> tuple[list[System], list[System]]:
    """Set a share aside for validation, at least one structure: drawn at random, or the last ones.

    Raises:
        InputError: nothing would be left on one side.
    """
    held = max(round(fraction * len(systems)), 1) if fraction > 0 else 0
    if not 0 < held < len(systems):
        raise InputError(
            f"validation_fraction={fraction} of {len(systems)} structures leaves nothing to train on or to validate: "
            "change it or name validation structures ([data] validation)."
        )
    order = np.random.default_rng(seed).permutation(len(systems)) if shuffle else np.arange(len(systems))
    kept, aside = np.sort(order[:-held]), np.sort(order[-held:])
    return [systems[index] for index in kept], [systems[index] for index in aside]
