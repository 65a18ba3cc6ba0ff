"""Training: labelled structures and options in, a potential with its card out."""

from __future__ import annotations

from ergodica.training.calibration import calibrate
from ergodica.training.finetune import finetune
from ergodica.training.laplace import posterior_ensemble
from ergodica.training.loop import TrainResult, train
from ergodica.training.options import PropertyOptions, TrainConfig, read_config
from ergodica.training.splits import Splits, read_splits

__all__ = [
    "PropertyOptions",
    "Splits",
    "TrainConfig",
    "TrainResult",
    "calibrate",
    "finetune",
    "posterior_ensemble",
    "read_config",
    "read_splits",
    "train",
]
