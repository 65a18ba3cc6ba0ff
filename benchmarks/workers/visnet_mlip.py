"""The ViSNet of InstaDeep's mlip (`pip install mlip==0.2.5`, Python 3.12 or newer) through its ASE calculator."""

from __future__ import annotations

from importlib.metadata import version

import protocol  # first: it starts the clock
from ase import Atoms
from ase.calculators.calculator import Calculator


def make_calculator(atoms: Atoms) -> tuple[Calculator, dict]:
    """128 channels, 6 layers, lmax 2, random weights; its simulation engine's default edge capacity."""
    import jax
    from mlip.data.dataset_info import DatasetInfo
    from mlip.models import ForceField, Visnet
    from mlip.simulation.ase.mlip_ase_calculator import MLIPForceFieldASECalculator

    info = DatasetInfo(atomic_energies_map={1: 0.0, 6: 0.0, 8: 0.0}, graph_cutoff_angstrom=5.0, avg_num_neighbors=1.0)
    config = Visnet.Config(num_channels=128, num_layers=6, num_heads=8, l_max=2, num_rbf=32)
    force_field = ForceField.from_mlip_network(Visnet(config, info), seed=0)
    calculator = MLIPForceFieldASECalculator(atoms, edge_capacity_multiplier=1.25, force_field=force_field)
    facts = {
        "mlip": version("mlip"),
        "jax": jax.__version__,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(force_field.params)),
        "edges": len(calculator.base_graph.senders),
    }
    return calculator, facts


if __name__ == "__main__":
    protocol.main(make_calculator)
