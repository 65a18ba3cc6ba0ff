"""What `ergodica.runtime.keep_freed_memory` buys: energy and forces of one molecule with and without it.

python benchmarks/memory_setting.py        # two processes in turn; prints median ms of each
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS, CALLS = 3, 60


def measure(keep: bool) -> float:
    import ase.io
    import jax

    from ergodica.neighbors import find_edges, pack
    from ergodica.potentials import Potential, ViSNetConfig
    from ergodica.potentials.potential import compiled_derivatives
    from ergodica.runtime import keep_freed_memory
    from ergodica.system import System

    if keep:
        keep_freed_memory()
    system = System.from_ase(ase.io.read(Path(__file__).parent / "aspirin.xyz"))
    config = ViSNetConfig()
    params = Potential.create(config).params
    batch = pack([system], [find_edges(system, config.cutoff)])
    function = compiled_derivatives(config)
    jax.block_until_ready(function(params, batch))
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        jax.block_until_ready(function(params, batch))
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    if len(sys.argv) > 1:
        print(measure(sys.argv[1] == "keep"))
        return
    found: dict[str, list[float]] = {"default": [], "keep": []}
    for _ in range(ROUNDS):
        for name, times in found.items():
            times.append(float(subprocess.check_output([sys.executable, __file__, name], text=True).split()[-1]))
    for name, times in found.items():
        print(f"{name:8s} {statistics.median(times):7.2f} ms")


if __name__ == "__main__":
    main()
