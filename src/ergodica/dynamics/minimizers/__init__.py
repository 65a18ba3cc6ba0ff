"""Minimisers of many functions at once, by the names that options give them."""

from __future__ import annotations

from ergodica.dynamics.minimizers import fire, lbfgs
from ergodica.dynamics.minimizers.rows import Minimizer

__all__ = ["MINIMIZERS", "Minimizer"]

MINIMIZERS: dict[str, Minimizer] = {
    "FIRE": Minimizer(fire.init, fire.step),
    "LBFGS": Minimizer(lbfgs.init, lbfgs.step),
}
