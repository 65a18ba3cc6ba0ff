"""Compute geoformer_golden.json anew with AI2BMD's program.

    python make_geoformer_reference.py CHECKOUT OUTPUT

CHECKOUT is the branch Geoformer of AI2BMD's repository; torch, transformers, einops and ase must be there.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
from tests.helpers.golden import weight  # noqa: E402


def import_program(checkout: str) -> tuple[type, type]:
    """Configuration and network; the module of data sets, which wants torch_geometric, is not needed."""
    sys.path.insert(0, checkout)
    datasets = ModuleType("geoformer.datasets")
    datasets.QM9 = None
    sys.modules["geoformer.datasets"] = datasets
    from geoformer.model.configuration_geoformer import GeoformerConfig
    from geoformer.model.modeling_geoformer import GeoformerForEnergyRegression

    return GeoformerConfig, GeoformerForEnergyRegression


def run(case: dict, program: tuple[type, type], numbers: torch.Tensor, positions: torch.Tensor) -> dict:
    """The case with what the program says now."""
    config, network = program
    model = network(config(**case["kwargs"])).double()
    model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weight(name, tuple(parameter.shape), case["gain"], case["emb"])))
        count = len(case["y"])
        found = model(z=numbers[:count], pos=positions[:count])
    size = sum(parameter.numel() for parameter in model.parameters())
    return case | {"n_params": size, "y": found.reshape(count, -1).tolist()}


def main() -> None:
    program = import_program(sys.argv[1])
    torch.set_default_dtype(torch.float64)
    golden = json.loads((HERE / "geoformer_golden.json").read_text())
    numbers, positions = torch.tensor(golden["z"]), torch.tensor(golden["pos"])
    cases = [run(case, program, numbers, positions) for case in golden["cases"]]
    for old, new in zip(golden["cases"], cases, strict=True):
        print(f"change: {np.abs(np.subtract(old['y'], new['y'])).max():.1e}, parameters {new['n_params']}")
    Path(sys.argv[2]).write_text(json.dumps(golden | {"cases": cases}))


if __name__ == "__main__":
    main()
