"""Ergodica's ViSNet."""

from __future__ import annotations

from typing import Any

import ergodica_worker  # first: it starts the clock


def make_potential() -> tuple[Any, dict]:
    """128 channels, 6 layers, lmax 2, random weights, scaled down so that dynamics stays calm."""
    import flax
    import jax

    import ergodica
    from ergodica.potentials.potential import EnergyScale, Potential
    from ergodica.potentials.visnet import ViSNetConfig

    config = ViSNetConfig(hidden=128, layers=6, heads=8, lmax=2, num_rbf=32, cutoff=5.0)
    potential = Potential.create(config, seed=0, energy_scale=EnergyScale(scale=0.01))
    facts = {
        "ergodica": ergodica.__version__,
        "jax": jax.__version__,
        "flax": flax.__version__,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(potential.params)),
    }
    return potential, facts


if __name__ == "__main__":
    ergodica_worker.run(make_potential)
