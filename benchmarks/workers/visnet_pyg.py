"""The ViSNet of PyTorch Geometric, as upstream runs it: without periodicity and with at most 32 neighbours an atom.

It has no ASE calculator, so a minimal one is here; its `radius_graph` wants torch-cluster, for which there are no CPU
wheels, so a brute-force one (a small part of the time) stands in.
"""

from __future__ import annotations

import numpy as np
import protocol  # first: it starts the clock
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes


def make_calculator(atoms: Atoms) -> tuple[Calculator, dict]:
    """128 channels, 6 layers, lmax 2, random weights."""
    import torch
    import torch_geometric
    from torch_geometric.nn.models import visnet

    def radius_graph(pos, r, batch, loop, max_num_neighbors):
        """Edges (neighbour → atom) of the nearest neighbours within r, each atom itself among them."""
        assert loop
        with torch.no_grad():
            distance, sender = torch.cdist(pos, pos).topk(min(max_num_neighbors, len(pos)), largest=False)
            receiver = torch.arange(len(pos))[:, None].expand_as(sender)
            near = distance <= r
            return torch.stack([sender[near], receiver[near]])

    class ViSNetCalculator(Calculator):
        """Energy and forces of a molecule; the cell is ignored."""

        implemented_properties = ("energy", "forces")

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            positions = torch.tensor(self.atoms.positions, dtype=torch.float32)
            numbers = torch.tensor(self.atoms.numbers)
            energy, forces = model(numbers, positions, torch.zeros_like(numbers))
            self.results = {
                "energy": energy.item(),
                "forces": forces.detach().numpy().astype(np.float64),
            }

    torch.manual_seed(0)
    visnet.radius_graph = radius_graph
    model = visnet.ViSNet(
        hidden_channels=128, num_layers=6, num_heads=8, lmax=2, num_rbf=32, cutoff=5.0, derivative=True
    ).eval()
    positions = torch.tensor(atoms.positions, dtype=torch.float32)
    facts = {
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in model.parameters()),
        "edges": radius_graph(positions, 5.0, None, True, 32).shape[1],
    }
    if atoms.pbc.any():
        facts["note"] = "run without periodicity, at most 32 neighbours an atom"
    return ViSNetCalculator(), facts


if __name__ == "__main__":
    protocol.main(make_calculator)
