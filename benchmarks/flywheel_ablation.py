"""What each source of a labelled set brings: a small model trained without it, in as many steps, and tested on all.

    python benchmarks/flywheel_ablation.py labelled.npz --by kind --steps 600 --output ablation

Sets are split by reduced composition before anything is left out, so that the test is the same for every row and shares
no composition with the training. Prints a table and writes ablation/ablation.json.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ergodica import predict
from ergodica.datasets.partition import groups, partition
from ergodica.files import atomic_write, read_structures
from ergodica.potentials import M3GNetConfig, Potential
from ergodica.system import System
from ergodica.training import Splits, TrainConfig, train
from ergodica.training.metrics import errors
from ergodica.training.options import LossOptions, OptimizerOptions, RunOptions

SHOWN = ("forces_mae_eV_per_A", "energy_mae_eV_per_atom")


def trained(
    kept: Sequence[System], validation: Sequence[System], folder: Path, options: argparse.Namespace
) -> Potential:
    """A small M3GNet after about `options.steps` steps, whatever the number of structures."""
    steps = -(-len(kept) // options.batch)
    epochs = max(round(options.steps / steps), 1)
    config = TrainConfig(
        model=M3GNetConfig(units=options.units, blocks=2),
        loss=LossOptions(stress=0.1),
        optimizer=OptimizerOptions(kind="muon", learning_rate=3e-3, warmup=50, ema=0.99),
        run=RunOptions(epochs=epochs, batch_size=options.batch, validate_every=max(epochs // 4, 1), seed=options.seed),
        output=str(folder),
    )
    return train(config, Splits(kept, validation), overwrite=True).potential


def scores(potential: Potential, tests: Mapping[str, Sequence[System]]) -> dict[str, dict[str, float]]:
    """Errors on every test set; each structure is predicted once, all together."""
    everyone = list({id(system): system for one in tests.values() for system in one}.values())
    answers = {id(system): found for system, found in zip(everyone, predict(potential, everyone), strict=True)}
    found = {name: errors([answers[id(system)] for system in one], one) for name, one in tests.items() if one}
    return {name: {key: one[key] for key in SHOWN} for name, one in found.items()}


def main() -> None:
    """Train with everything, then without each source."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", help="labelled structures")
    parser.add_argument("--by", default="kind", help="entry of the info that names the source")
    parser.add_argument("--test", nargs="*", default=[], help="further labelled files to test on")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="sources to leave out; all by default")
    parser.add_argument("--output", type=Path, default=Path("ablation"))
    options = parser.parse_args()
    systems = [system for file in options.files for system in read_structures(file, needs=("energy", "forces"))]
    sets = partition(systems, "composition", (0.75, 0.1, 0.15), options.seed)
    learn, validation, test = ([systems[i] for i in members] for members in sets)
    tests: dict[str, Sequence[System]] = {"all": test}
    tests |= {name: [test[i] for i in members] for name, members in groups(test, options.by).items()}
    tests |= {Path(file).name: read_structures(file, needs=("energy", "forces")) for file in options.test}
    rows: dict[str, dict] = {}
    for left_out in ["", *(options.only or groups(learn, options.by))]:
        kept = [system for system in learn if str(system.info.get(options.by)) != left_out]
        name = f"without {left_out}" if left_out else "everything"
        potential = trained(kept, validation, options.output / name.replace(" ", "-"), options)
        rows[name] = {"n_structures": len(kept), "errors": scores(potential, tests)}
        record = json.dumps({"rows": rows, **vars(options)}, default=str)
        atomic_write(options.output / "ablation.json", record.encode())
    print(f"force MAE, meV/Å | structures | {' | '.join(f'{t} ({len(s)})' for t, s in tests.items() if s)}")
    for name, row in rows.items():
        cells = [f"{1e3 * e['forces_mae_eV_per_A']:.0f}" for e in row["errors"].values()]
        print(f"{name} | {row['n_structures']} | {' | '.join(cells)}")


if __name__ == "__main__":
    main()
