"""Memory settings: kept by the process where glibc is, harmless elsewhere."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from ergodica import runtime

FAULTS = """
import resource
{start}
import jax, jax.numpy as jnp
call = jax.jit(lambda x: jax.lax.optimization_barrier(x + 1.0).sum())  # a temporary of 64 MiB
x = jnp.zeros(1 << 24)
touched = []
for _ in range(40):  # the heap takes a varying number of calls to find its shape
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call(x).block_until_ready()
    touched.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(sorted(touched)[20])
"""


def faults(start: str) -> int:
    """Pages that a usual call touches for the first time, in a process of its own."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    out = subprocess.check_output([sys.executable, "-c", FAULTS.format(start=start)], text=True, env=environment)
    return int(out.split()[-1])


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's malloc")
def test_programs_keep_their_memory_between_calls():
    """Whoever starts JAX, the command or a library call; without the setting every call maps its memory anew."""
    pages = (1 << 26) // 4096
    assert faults("") > pages / 2
    assert faults("from ergodica.cli.session import start_jax; start_jax('cpu')") < pages / 4
    made = "from ergodica.potentials import Potential, ViSNetConfig; Potential.create(ViSNetConfig(hidden=8, layers=1))"
    assert faults(made) < pages / 4


def test_nothing_breaks_elsewhere(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert runtime.keep_freed_memory() is False
