"""Policy of the suite: hypothesis is reproducible, and double precision is asked for module by module.

Users run in float32, so nothing turns on 64 bits globally; a module of float64 checks says
`pytestmark = pytest.mark.usefixtures("x64")`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # phonopy's threads of several test processes wait for each other

import hypothesis
import jax
import pytest

hypothesis.settings.register_profile("ergodica", deadline=None, derandomize=True, database=None, max_examples=10)
hypothesis.settings.load_profile("ergodica")


@pytest.fixture(scope="module")
def x64() -> Iterator[None]:
    """Double precision for the tests of one module."""
    with jax.enable_x64(True):
        yield
