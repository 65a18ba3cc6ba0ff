"""Conformers of 1,2-ethanediol in equilibrium, by two methods that know nothing of each other.

python examples/python/conformers.py        # needs the extra `sampling`
"""

from ergodica.sampling import ConformerOptions, read_molecule, sample_conformers
from ergodica.sampling.plots import plot_ensemble

MIDDLE = 1
"""The rotor O-C-C-O, between the two hydroxyl groups."""


def main(count: int = 1000) -> dict[str, tuple[float, float]]:
    """Share of +gauche of the middle angle and its standard error, by replica exchange and by diffusion."""
    glycol, found = read_molecule("OCCO"), {}
    for method in ("exchange", "diffusion"):
        ensemble = sample_conformers(glycol, ConformerOptions(count, temperature=300.0, method=method))
        plot_ensemble(ensemble).savefig(f"glycol-{method}.png")
        found[method] = ensemble.populations(MIDDLE)["+sc"]
    return found


if __name__ == "__main__":
    for method, (share, error) in main().items():
        print(f"{method:9} {share:.3f} ± {error:.3f}")
