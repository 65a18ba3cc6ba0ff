"""An ordinary ASE script with an Ergodica model: relaxation, then Langevin dynamics.

python examples/python/ase_dynamics.py
"""

from ase import units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.optimize import BFGS

from ergodica import Calculator


def main(steps: int = 400) -> float:
    """Mean temperature of the second half, K."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = Calculator("visnet-rmd17-ethanol")
    BFGS(atoms, logfile=None).run(fmax=0.01)
    step, friction = 0.5 * units.fs, 0.02 / units.fs
    dynamics = Langevin(atoms, step, temperature_K=300, friction=friction, fixcm=False, trajectory="ethanol.traj")
    temperatures: list[float] = []
    dynamics.attach(lambda: temperatures.append(atoms.get_temperature()))
    dynamics.run(steps)
    late = temperatures[len(temperatures) // 2 :]
    return sum(late) / len(late)


if __name__ == "__main__":
    print(f"{main():.0f} K")
