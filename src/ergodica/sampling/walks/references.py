"""Ensembles to learn from and to be judged by: drawn by replica exchange, kept in files of one molecule each."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ergodica.checkpoint import load_tree, save_tree
from ergodica.errors import InputError
from ergodica.files import atomic_write
from ergodica.sampling.coordinates.landscape import Landscape, landscape
from ergodica.sampling.coordinates.torques import pull
from ergodica.sampling.coordinates.torsions import NONE, RigidEnergy, Torsions, padded
from ergodica.sampling.energies.mmff94 import Terms, Variant
from ergodica.sampling.molecules import read_molecule
from ergodica.sampling.walks.tempering import Ladder, continue_run, start_run

__all__ = ["Reference", "draw_reference", "pack", "read_names", "references"]

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
    return _completed(smiles, known, ladder.temperatures, angles)


def _completed(smiles: str, known: Landscape, temperatures: np.ndarray, angles: np.ndarray) -> Reference:
    """With padding and torques."""
    angles = padded(angles, NONE, NONE, (0, len(known.valid) - angles.shape[-1])).astype(np.float32)
    torques = jax.lax.map(lambda part: _torques(known, part), jnp.asarray(angles))
    return Reference(smiles, known, temperatures, angles, np.asarray(torques))


@jax.jit
def _torques(known: Landscape, angles: Float[Any, "N T"]) -> Float[Any, "N T"]:
    return pull(known, angles, jnp.zeros(len(angles))).whole.T


def references(
    names: Sequence[str],
    folder: str | Path,
    variant: Variant = "MMFF94",
    seeds: Sequence[int] = (0,),
    packed: str | Path = "",
) -> list[Reference]:
    """Of many molecules, seed by seed: from files in a folder, else from packed states, else drawn.

    A killed run goes on where it stood.

    Args:
        names: SMILES.
        folder: where files of one molecule each are, and are put.
        variant: of the force field.
        seeds: of independent runs.
        packed: a file of `pack`.

    Raises:
        InputError: a molecule can't be read, or a file is damaged.
    """
    found, drawn = [], 0
    with _opened(packed) as states:
        for smiles, seed in product(names, seeds):
            path, name = _path(folder, smiles, variant, seed), f"{seed} {variant} {smiles}"
            fresh = not path.is_file()
            if fresh and name + " angles" in states:
                _save(path, _unpacked(smiles, variant, states, name))
            elif fresh:
                _save(path, draw_reference(smiles, variant, seed=seed))
            found.append(_load(path))
            drawn += fresh
            if fresh and drawn % FRESH == 0:
                jax.clear_caches()  # programs map memory, and a process has so many maps only
    return found


FRESH = 16
"""Molecules drawn between two clearings of compiled programs."""


def pack(path: str | Path, kept: Mapping[int, Sequence[Reference]], count: int, variant: Variant = "MMFF94") -> None:
    """Write geometries and the first states of molecules as one small file; their energies are found again.

    Args:
        path: an npz file.
        kept: by the seed of the run.
        count: states of each temperature.
        variant: of the force field.
    """
    arrays: dict[str, Any] = {}
    for seed, several in kept.items():
        for one in several:
            name, turns = f"{seed} {variant} {one.smiles}", one.angles[:, :count, : one.rotors] / (2 * np.pi)
            arrays[name + " angles"] = np.round(turns % 1 * STEPS_OF_A_TURN).astype(np.uint16)
            arrays[name + " positions"] = np.asarray(one.known.energy.torsions.reference, np.float32)
            arrays[name + " temperatures"] = one.temperatures
    buffer = BytesIO()
    np.savez_compressed(buffer, **arrays)
    atomic_write(Path(path), buffer.getvalue())


STEPS_OF_A_TURN = 2**16 - 1


def _opened(packed: str | Path) -> Any:
    """The arrays of a packed file; none without one."""
    if not packed:
        return nullcontext({})
    if not Path(packed).is_file():
        raise InputError(f"There is no file '{packed}' with states.")
    try:
        return np.load(packed, allow_pickle=False)
    except (OSError, ValueError, BadZipFile) as error:
        raise InputError(f"'{packed}' is not a complete npz file ({error}): fetch or pack it again.") from error


def _unpacked(smiles: str, variant: Variant, states: Any, name: str) -> Reference:
    molecule = read_molecule(smiles).moved(states[name + " positions"])
    known = landscape(molecule, variant)
    angles = states[name + " angles"].astype(np.float32) * (2 * np.pi / STEPS_OF_A_TURN)
    if angles.shape[-1] != len(molecule.rotors):
        raise InputError(f"{smiles} has {len(molecule.rotors)} rotors, its packed states have {angles.shape[-1]}.")
    return _completed(smiles, known, states[name + " temperatures"], angles)


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
