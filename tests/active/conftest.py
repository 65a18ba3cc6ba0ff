"""Equal programs are compiled once, as in the tests of training."""

from __future__ import annotations

from tests.training.conftest import cache

__all__ = ["cache"]
