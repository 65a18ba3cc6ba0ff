"""Compute m3gnet_golden.json anew with MatterSim itself: python make_m3gnet_reference.py OUTPUT (needs mattersim)."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import torch
from mattersim.forcefield.m3gnet.m3gnet import M3Gnet

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
from tests.helpers.golden import m3gnet_state  # noqa: E402

CUTOFF, THREEBODY = 5.0, 4.0
GPA = 160.21766208
CASES = ("Si2", "NaCl8", "H2O")


def network() -> M3Gnet:
    """Three blocks of 128 channels with the weights of the formula; the constants of its bases stay single."""
    model = M3Gnet(num_blocks=3, units=128, cutoff=CUTOFF, threebody_cutoff=THREEBODY, device="cpu").double()
    model.load_state_dict({name: torch.from_numpy(np.asarray(v)) for name, v in m3gnet_state().items()}, strict=False)
    return model


def graph(cell: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges [2, E] and images [E, 3] of all pairs nearer than the cut-off, and triplets [T, 2], by brute force."""
    reach = range(-4, 5)
    edges, images, lengths = [], [], []
    for i, j in itertools.product(range(len(positions)), repeat=2):
        for image in itertools.product(reach, repeat=3):
            length = np.linalg.norm(positions[i] - positions[j] - np.array(image) @ cell)
            if 0 < length <= CUTOFF:
                edges.append((i, j))
                images.append(image)
                lengths.append(length)
    near = [row for row, length in enumerate(lengths) if length <= THREEBODY]
    triplets = [(a, b) for a, b in itertools.permutations(near, 2) if edges[a][0] == edges[b][0]]
    return np.array(edges).T, np.array(images), np.array(sorted(triplets))


def run(case: dict, model: M3Gnet) -> dict:
    """The case with what MatterSim says now."""
    cell, positions = np.array(case["cell"]), np.array(case["positions"])
    edges, images, triplets = graph(cell, positions)
    strain = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    x = torch.tensor(positions, requires_grad=True)
    deform = torch.eye(3, dtype=torch.float64) + strain
    count = len(positions)
    inputs = {
        "atom_pos": x @ deform,
        "cell": (torch.tensor(cell) @ deform)[None],
        "pbc_offsets": torch.tensor(images, dtype=torch.float64),
        "atom_attr": torch.tensor(case["numbers"])[:, None],
        "edge_index": torch.tensor(edges),
        "three_body_indices": torch.tensor(triplets),
        "num_three_body": torch.tensor([len(triplets)]),
        "num_bonds": torch.tensor([edges.shape[1]]),
        "num_triple_ij": torch.tensor(np.bincount(triplets[:, 0], minlength=edges.shape[1]))[:, None],
        "num_atoms": torch.tensor([count]),
        "num_graphs": torch.tensor(1),
        "batch": torch.zeros(count, dtype=torch.long),
    }
    energy = model(inputs).sum()
    slope, stress = torch.autograd.grad(energy, (x, strain))
    stress = stress / abs(np.linalg.det(cell)) * GPA
    found = {"energy": energy.item(), "forces": (-slope).tolist(), "stress_GPa": stress.tolist()}
    return case | {"n_edges": edges.shape[1], "n_triples": len(triplets)} | found


def main() -> None:
    model = network()  # in single precision first, which is what rounds the constants of its bases
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # MatterSim casts two of its inputs to single precision on the way
    golden = json.loads((HERE / "m3gnet_golden.json").read_text())
    cases = {name: run(golden[name], model) for name in CASES}
    for key in ("n_edges", "n_triples", "energy", "forces", "stress_GPa"):
        change = max(np.abs(np.subtract(cases[name][key], golden[name][key])).max() for name in CASES)
        print(f"largest change of {key}: {change:.1e}")
    Path(sys.argv[1]).write_text(json.dumps(golden | cases))


if __name__ == "__main__":
    main()
