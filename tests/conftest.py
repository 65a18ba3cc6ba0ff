"""Policy of the suite: hypothesis is reproducible, and double precision is asked for module by module.

Users run in float32, so nothing turns on 64 bits globally; a module of float64 checks says
`pytestmark = pytest.mark.usefixtures("x64")`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # phonopy's threads of several test processes wait for each other
if version("jaxlib") == "0.10.1":
    # Most of a test's time is compiling: these programs compile several times as fast and run slower. A newer jaxlib
    # knows no such flag; what runs there (.ci/run) runs as it does for users.
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")

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


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folder of XLA's compilation cache: the tests, and their processes, compile equal programs once."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = [getattr(jax.config, name) for name in names]
    base = tmp_path_factory.getbasetemp()
    folder = str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "xla")
    jax.config.update(names[0], folder)
    jax.config.update(names[1], 0.0)
    yield folder
    for name, value in zip(names, before, strict=True):
        jax.config.update(name, value)


MAPS = Path("/proc/self/maps")
MANY = 20_000
"""Pieces of memory; Linux gives a process 65,530, and XLA, which takes some for every program, aborts without one."""


@pytest.fixture(scope="module", autouse=True)
def _forget_programs() -> Iterator[None]:
    """Let compiled programs go before a long run of tests has more of them than the system can hold."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MANY:
        jax.clear_caches()
