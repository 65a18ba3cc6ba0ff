"""MatterSim's M3GNet through its ASE calculator (`pip install mattersim==1.2.3`)."""

from __future__ import annotations

import sys
from importlib.metadata import version
from pathlib import Path

import protocol  # first: it starts the clock
from ase import Atoms
from ase.calculators.calculator import Calculator

sys.path.insert(0, str(Path(__file__).parents[2]))


def make_calculator(atoms: Atoms) -> tuple[Calculator, dict]:
    """The architecture of mattersim-v1.0.0-1M with the weights of the parity tests' formula."""
    import torch
    from mattersim.forcefield.m3gnet.m3gnet import M3Gnet
    from mattersim.forcefield.potential import MatterSimCalculator, Potential

    from tests.helpers.golden import m3gnet_state

    network = M3Gnet(num_blocks=3, units=128, device="cpu")
    state = {name: torch.tensor(values, dtype=torch.float32) for name, values in m3gnet_state().items()}
    unfilled = [name for name, _ in network.named_parameters() if name not in state]
    if unfilled:
        raise RuntimeError(f"parameters without a value: {unfilled}")
    network.load_state_dict(state, strict=False)
    facts = {
        "mattersim": version("mattersim"),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    potential = Potential(network, device="cpu")
    return MatterSimCalculator(potential=potential, compute_stress=True, device="cpu"), facts


if __name__ == "__main__":
    protocol.main(make_calculator)
