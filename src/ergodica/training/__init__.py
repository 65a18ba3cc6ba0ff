"""Training: labelled structures and options in, a potential with its card out."""

from __future__ import annotations

from ergodica.training.finetune import finetune
from ergodica.training.loop import TrainResult, train
from ergodica.training.options import TrainConfig, read_config
from ergodica.training.splits import Splits, read_splits

__all__ = ["Splits", "TrainConfig", "TrainResult", "finetune", "read_config", "read_splits", "train"]
