"""The ViSNet of InstaDeep's mlip (`pip install mlip==0.2.5`, Python 3.12 or newer): ASE calculator and engine."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import protocol  # first: it starts the clock
from ase import Atoms
from ase.calculators.calculator import Calculator


def make_force_field() -> tuple[Any, dict]:
    """128 channels, 6 layers, lmax 2, random weights."""
    import jax
    from mlip.data.dataset_info import DatasetInfo
    from mlip.models import ForceField, Visnet

    info = DatasetInfo(atomic_energies_map={1: 0.0, 6: 0.0, 8: 0.0}, graph_cutoff_angstrom=5.0, avg_num_neighbors=1.0)
    config = Visnet.Config(num_channels=128, num_layers=6, num_heads=8, l_max=2, num_rbf=32)
    force_field = ForceField.from_mlip_network(Visnet(config, info), seed=0)
    facts = {
        "mlip": version("mlip"),
        "jax": jax.__version__,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(force_field.params)),
    }
    return force_field, facts


def make_calculator(atoms: Atoms) -> tuple[Calculator, dict]:
    """Its simulation engine's default edge capacity."""
    from mlip.simulation.ase.mlip_ase_calculator import MLIPForceFieldASECalculator

    force_field, facts = make_force_field()
    calculator = MLIPForceFieldASECalculator(atoms, edge_capacity_multiplier=1.25, force_field=force_field)
    return calculator, {**facts, "edges": len(calculator.base_graph.senders)}


def dynamics(atoms: Atoms, timestep: float, steps: int, chunks: int) -> tuple[list[float], dict]:
    """Its own engine at constant energy; only temperatures are kept of each step."""
    from mlip.simulation.enums import MDIntegrator
    from mlip.simulation.jax_md import JaxMDSimulationEngine

    force_field, facts = make_force_field()
    config = JaxMDSimulationEngine.Config(
        md_integrator=MDIntegrator.NVE_VELOCITY_VERLET, num_steps=steps * chunks, num_episodes=chunks,
        snapshot_interval=steps, timestep_fs=timestep, temperature_kelvin=300.0,
    )  # fmt: skip
    engine = JaxMDSimulationEngine(atoms, force_field, config)
    ends: list[float] = []
    engine.attach_logger(lambda _: ends.append(time.perf_counter()))
    engine.run()
    return ends, {**facts, "engine": "mlip"}


if __name__ == "__main__":
    protocol.main(make_calculator, dynamics)
