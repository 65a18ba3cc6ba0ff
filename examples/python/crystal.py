"""Silicon: its volume, elastic constants and phonons, and the same functions with an ASE calculator.

python examples/python/crystal.py        # needs the extra `phonons`
"""

from ase.build import bulk

from ergodica import elastic, eos, load, phonons
from ergodica.properties.plots import plot_bands


def main() -> dict[str, float]:
    """Lattice constant (Å), bulk modulus and C44 (GPa), and the highest frequency (THz)."""
    potential, silicon = load("m3gnet-elements"), bulk("Si")
    (curve,) = eos(potential, silicon)
    (stiffness,) = elastic(potential, silicon)
    (vibrations,) = phonons(potential, silicon)
    plot_bands(vibrations, "silicon").savefig("silicon-bands.png")
    assert curve.fit is not None
    return {
        "a": (4 * curve.fit.v0) ** (1 / 3),
        "bulk modulus": curve.fit.b0,
        "C44": stiffness.independent["C44"],
        "highest frequency": vibrations.highest,
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:18} {value:8.3f}")
