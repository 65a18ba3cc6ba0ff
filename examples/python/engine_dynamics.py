"""The same with the engine: four replicas side by side on the device, and their vibrations.

python examples/python/engine_dynamics.py
"""

from pathlib import Path

from ase.build import molecule

from ergodica import load, relax, simulate
from ergodica.properties.analysis import analyze
from ergodica.properties.frames import read_frames
from ergodica.properties.trajectory_plots import plot_analysis


def main(steps: int = 4000, replicas: int = 4) -> list[Path]:
    """Pictures of temperature, energies and vibrational spectrum, one for each replica."""
    potential = load("visnet-rmd17-ethanol")
    (relaxed,) = relax(potential, molecule("CH3CH2OH"))
    simulate(
        potential, relaxed.system, ensemble="csvr", temperature=300, steps=steps, every=4, replicas=replicas,
        trajectory="ethanol.h5",
    )  # fmt: skip
    pictures = []
    for number in range(replicas):
        found = analyze(read_frames(f"ethanol.{number}.h5"))
        pictures.append(Path(f"ethanol.{number}.png"))
        plot_analysis(found, f"ethanol, replica {number}").savefig(pictures[-1])
    return pictures


if __name__ == "__main__":
    print(*main())
