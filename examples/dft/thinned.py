"""Frames of several trajectories, widely spaced ones first, without what a model said of them.

    python examples/dft/thinned.py ethanol.*.traj --skip 9 -o ethanol-train.xyz

Whoever labels them in this order, and stops, has labels of the whole time.
"""

from __future__ import annotations

import argparse

from ase.io import read, write


def main() -> None:
    """Write the frames."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--skip", type=int, default=0, help="first frames of each, which are not in equilibrium yet")
    parser.add_argument("--stride", type=int, default=4, help="frames with this distance come first")
    parser.add_argument("-o", "--output", required=True)
    options = parser.parse_args()
    runs = [read(file, f"{options.skip}:") for file in options.files]
    length = min(map(len, runs))
    frames = []
    for offset in (0, *sorted(range(1, options.stride), key=lambda step: step % 2)):
        for number in range(offset, length, options.stride):
            frames += [run[number] for run in runs]
    for frame in frames:
        frame.calc = None
    write(options.output, frames)
    print(f"{len(frames)} frames of {len(runs)} trajectories")


if __name__ == "__main__":
    main()
