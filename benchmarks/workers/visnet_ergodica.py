"""Ergodica's ViSNet through its ASE calculator."""

from __future__ import annotations

import protocol  # first: it starts the clock
from ase import Atoms
from ase.calculators.calculator import Calculator


def make_calculator(atoms: Atoms) -> tuple[Calculator, dict]:
    """128 channels, 6 layers, lmax 2, random weights."""
    import flax
    import jax

    import ergodica
    from ergodica.calculators import Calculator as ErgodicaCalculator
    from ergodica.potentials.potential import Potential
    from ergodica.potentials.visnet import ViSNetConfig

    config = ViSNetConfig(hidden=128, layers=6, heads=8, lmax=2, num_rbf=32, cutoff=5.0)
    potential = Potential.create(config, seed=0)
    facts = {
        "ergodica": ergodica.__version__,
        "jax": jax.__version__,
        "flax": flax.__version__,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(potential.params)),
    }
    return ErgodicaCalculator(potential), facts


if __name__ == "__main__":
    protocol.main(make_calculator)
