"""Is a run that was killed the run that was not?

    python benchmarks/killed_and_restarted.py ethanol.xyz -o killed.json -- -m visnet-rmd17-ethanol --steps 50000

What follows `--` goes to `ergodica md`. The command runs with `--restart`, is killed with SIGKILL after a third of its
steps, repeated, killed after two thirds, and repeated; then it runs once more in peace, for as many steps as `--peace`
says. As far as both go, the two trajectories are compared number by number. Mean energies of the parts between the
kills come with standard errors, from twenty blocks each.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from ergodica.checkpoint import read_header
from ergodica.dynamics.restart import restart_path
from ergodica.errors import InputError

BLOCKS = 20


def command(file: Path, options: list[str], trajectory: Path) -> list[str]:
    return [sys.executable, "-m", "ergodica", "md", str(file), *options, "-o", str(trajectory), "--restart", "--json"]


def saved_step(trajectory: Path) -> int:
    """Step of the restart file, 0 while there is none."""
    try:
        return int(read_header(restart_path(trajectory))["step"])
    except (InputError, OSError):
        return 0


def run_and_kill(words: list[str], trajectory: Path, after: int) -> dict[str, int]:
    """Start, wait until `after` steps are saved, and kill somewhere in the seconds that follow."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while process.poll() is None and saved_step(trajectory) < after:
        time.sleep(0.2)
    time.sleep(3 * random.random())
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    return {"code": code, "saved_step": saved_step(trajectory), "trajectory_bytes": trajectory.stat().st_size}


def run(words: list[str]) -> dict:
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


def differences(one: Path, other: Path) -> dict:
    """Frames, and of every series whether it has the same bits as far as the second goes."""
    with h5py.File(one) as a, h5py.File(other) as b:
        names, count = sorted(name for name in a if a[name].maxshape[:1] == (None,)), len(b["step"])
        same = {name: bool(name in b and np.array_equal(a[name][:count], b[name][()])) for name in names}
        return {"frames": len(a["step"]), "frames_in_peace": len(b["step"]), "same_bits": same}


def parts(trajectory: Path, kills: list[int]) -> dict[str, list[tuple[float, float]]]:
    """Mean energies (the potential one less that of all) and standard errors before, between and after the kills."""
    with h5py.File(trajectory) as file:
        steps = file["step"][()]
        series = {name: file[name][()].astype(float) for name in ("potentialEnergy", "kineticEnergy")}
    found: dict[str, list[tuple[float, float]]] = {}
    for name, values in series.items():
        found[name] = []
        for part in np.split(values - values.mean() * (name == "potentialEnergy"), np.searchsorted(steps, kills)):
            blocks = np.array([block.mean() for block in np.array_split(part, BLOCKS)])
            found[name].append((float(blocks.mean()), float(blocks.std(ddof=1) / BLOCKS**0.5)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="JSON file")
    parser.add_argument("--folder", type=Path, help="keep the trajectories here")
    parser.add_argument("--peace", type=int, help="steps of the run that is not killed, by default all")
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    arguments, options = parser.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    place = options.index("--steps") + 1
    steps = int(options[place])
    unkilled = [*options[:place], str(arguments.peace or steps), *options[place + 1 :]]
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        killed, peace = folder / "killed.h5", folder / "peace.h5"
        words = command(arguments.file, options, killed)
        kills = [run_and_kill(words, killed, round(steps * k / 3)) for k in (1, 2)]
        last = run(words)
        whole = run(command(arguments.file, unkilled, peace))
        record = {"options": options, "kills": kills, "last": last, "in_peace": whole, **differences(killed, peace)}
        record["parts"] = parts(killed, [one["saved_step"] for one in kills])
    print(json.dumps(record, indent=1))
    if arguments.output:
        arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    followed = arguments.peace is not None or record["frames"] == record["frames_in_peace"]
    sys.exit(0 if all(record["same_bits"].values()) and followed else 1)


if __name__ == "__main__":
    main()
