"""Training: labelled structures and options in, a potential with its card out."""

from __future__ import annotations

from ergodica.training.loop import Splits, TrainResult, train
from ergodica.training.options import TrainConfig, read_config

__all__ = ["Splits", "TrainConfig", "TrainResult", "read_config", "train"]
