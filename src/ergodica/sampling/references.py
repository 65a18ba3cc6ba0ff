"""Ensembles to learn from and to be judged by: drawn by replica exchange, kept in files of one molecule each."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ergodica.checkpoint import load_tree, save_tree
from ergodica.errors import InputError
from ergodica.sampling.landscape import Landscape, landscape
from ergodica.sampling.mmff94 import Terms, Variant
from ergodica.sampling.molecules import read_molecule
from ergodica.sampling.tempering import Ladder, continue_run, start_run
from ergodica.sampling.torques import pull
from ergodica.sampling.torsions import RigidEnergy, Torsions
from ergodica.units import KB

__all__ = ["Reference", "draw_reference", "read_names", "reference", "references"]

FORMAT = "ergodica-conformers"
LADDER = Ladder(300.0, 1.35, 6, 32)
RECORDS, SETTLING = 32, 30
"""States that are kept of each walker, and sweeps of equilibration for each rotor."""


@dataclass(frozen=True)
class Reference:
    """Equilibrium angles of a molecule at several temperatures.

    Attributes:
        smiles: which molecule.
        known: its energy.
        temperatures: K [K].
        angles: rad, padded [K, N, T].
        torques: -∂U/∂θ there, eV/rad [K, N, T].
    """

    smiles: str
    known: Landscape
    temperatures: Float[np.ndarray, " K"]
    angles: Float[np.ndarray, "K N T"]
    torques: Float[np.ndarray, "K N T"]

    @property
    def rotors(self) -> int:
        """Number of rotors."""
        return int(np.sum(self.known.valid))


def read_names(path: str | Path) -> list[str]:
    """SMILES of a file, one at the beginning of each line.

    Raises:
        InputError: there is no such file, or nothing in it.
    """
    if not Path(path).is_file():
        raise InputError(f"There is no file '{path}' with SMILES.")
    found = [line.split()[0] for line in Path(path).read_text().splitlines() if line.strip() and line[0] != "#"]
    if not found:
        raise InputError(f"There are no SMILES in '{path}'.")
    return found


def draw_reference(smiles: str, variant: Variant = "MMFF94", ladder: Ladder = LADDER, seed: int = 0) -> Reference:
    """Sample a molecule at all temperatures of a ladder.

    Raises:
        InputError: the molecule can't be read, or has no rotors.
    """
    molecule = read_molecule(smiles)
    known, rotors = landscape(molecule, variant), len(molecule.rotors)
    run = start_run(known.energy, rotors, ladder, jax.random.key(seed), SETTLING * rotors)
    _, record = continue_run(known.energy, run, ladder, RECORDS, 1 + rotors)
    angles = np.moveaxis(record.angles, 1, 0).reshape(ladder.rungs, -1, rotors)
    angles = np.pad(angles, ((0, 0), (0, 0), (0, len(known.valid) - rotors))).astype(np.float32)
    torques = jax.lax.map(lambda part: _torques(known, part), jnp.asarray(angles))
    return Reference(smiles, known, ladder.temperatures, angles, np.asarray(torques))


@jax.jit
def _torques(known: Landscape, angles: Float[Any, "N T"]) -> Float[Any, "N T"]:
    return pull(known, angles, jnp.zeros(len(angles))).whole.T


def reference(smiles: str, folder: str | Path, variant: Variant = "MMFF94", seed: int = 0) -> Reference:
    """What is kept of a molecule in a folder, drawn if nothing is.

    Raises:
        InputError: the molecule can't be read, or its file is damaged.
    """
    path = _path(folder, smiles, variant, seed)
    if not path.is_file():
        _save(path, draw_reference(smiles, variant, seed=seed))
    return _load(path)


def references(
    names: Sequence[str], folder: str | Path, variant: Variant = "MMFF94", seeds: Sequence[int] = (0,)
) -> list[Reference]:
    """Those of many molecules, seed by seed; a killed run goes on where it stood.

    Raises:
        InputError: as `reference`.
    """
    found, drawn = [], 0
    for smiles, seed in product(names, seeds):
        fresh = not _path(folder, smiles, variant, seed).is_file()
        found.append(reference(smiles, folder, variant, seed))
        drawn += fresh
        if fresh and drawn % FRESH == 0:
            jax.clear_caches()  # programs map memory, and a process has so many maps only
    return found


FRESH = 16
"""Molecules drawn between two clearings of compiled programs."""


def _path(folder: str | Path, smiles: str, variant: Variant, seed: int) -> Path:
    name = hashlib.sha256(f"{smiles} {variant} {seed}".encode()).hexdigest()[:16]
    return Path(folder) / f"{name}.safetensors"


def _save(path: Path, found: Reference) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tree = {"known": found.known, "angles": found.angles, "torques": found.torques, "temperatures": found.temperatures}
    save_tree(path, tree, {"format": FORMAT, "smiles": found.smiles})


def _load(path: Path) -> Reference:
    tree, header = load_tree(path)
    if header.get("format") != FORMAT:
        raise InputError(f"'{path}' does not hold conformers.")
    return Reference(header["smiles"], _landscape(tree["known"]), tree["temperatures"], tree["angles"], tree["torques"])


def _landscape(tree: dict[str, Any]) -> Landscape:
    energy = dict(tree["energy"])
    energy |= {"torsions": Torsions(**energy["torsions"]), "pairs": Terms(**energy["pairs"])}
    energy["constant"] = energy["constant"].reshape(())
    return Landscape(**tree | {"energy": RigidEnergy(**energy)})


def beta(temperatures: Float[np.ndarray, " K"] | Sequence[float]) -> Float[np.ndarray, " K"]:
    """1/kT, 1/eV."""
    return 1 / (KB * np.asarray(temperatures))
