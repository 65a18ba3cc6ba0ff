"""Compute visnet_golden.json anew with PyG itself: python make_visnet_reference.py OUTPUT (needs torch_geometric)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch_geometric.nn.models.visnet as pyg

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
from tests.helpers.golden import weight  # noqa: E402


def radius_graph(
    positions: torch.Tensor, r: float, batch: torch.Tensor, loop: bool = True, max_num_neighbors: int = 0
) -> torch.Tensor:
    """All pairs closer than r in the same molecule, by brute force and without truncation."""
    near = torch.cdist(positions, positions) < r
    near &= batch[:, None] == batch[None]
    near.fill_diagonal_(loop)
    receivers, senders = near.nonzero(as_tuple=True)
    return torch.stack([senders, receivers])


def run(case: dict, numbers: torch.Tensor, positions: torch.Tensor, batch: torch.Tensor) -> dict:
    """The case with what PyG says now."""
    model = pyg.ViSNet(**case["kwargs"], mean=case["mean"], std=case["std"], derivative=True).double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = weight(name, tuple(parameter.shape), case["gain"], case["emb"])
            parameter.copy_(torch.from_numpy(values))
    energies, forces = model(numbers, positions.clone(), batch)
    count = sum(parameter.numel() for parameter in model.parameters())
    return case | {"n_params": count, "y": energies.flatten().tolist(), "forces": forces.tolist()}


def main() -> None:
    torch.set_default_dtype(torch.float64)  # PyG allocates edge lengths in the default dtype
    pyg.radius_graph = radius_graph
    golden = json.loads((HERE / "visnet_golden.json").read_text())
    numbers, batch = torch.tensor(golden["z"]), torch.tensor(golden["batch"])
    positions = torch.tensor(golden["pos"])
    cases = [run(case, numbers, positions, batch) for case in golden["cases"]]
    worst = max(
        abs(a - b)
        for old, new in zip(golden["cases"], cases, strict=True)
        for a, b in zip(old["y"], new["y"], strict=True)
    )
    print(f"largest change of an energy: {worst:.1e}")
    Path(sys.argv[1]).write_text(json.dumps(golden | {"cases": cases}))


if __name__ == "__main__":
    main()
