"""`ergodica path`: likely structures between two, out of a trained sampler."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ergodica.cli.common import SHARED, Shared
from ergodica.cli.failures import DONE
from ergodica.cli.output import emit, progress, say
from ergodica.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from ergodica.sampling.samplers.molecule.paths import Passage
    from ergodica.sampling.samplers.molecule.sampler import InternalSampler

__all__ = ["path"]


def path(
    start: str,
    end: str,
    /,
    *,
    model: Annotated[str, Parameter(alias="-m")],
    n: int = 15,
    common: Shared = SHARED,
) -> int:
    """Go from one structure of a molecule to another through structures that its sampler holds likely.

    The line between both in the sampler's noise is carried along its flow. It is a proposal: every point has its energy
    and its density, and nothing says how fast it is passed. -o names a folder for structures, a picture and a page.

    Parameters
    ----------
    start, end
        Structures of the sampler's molecule, its atoms in order: PDB files or what ASE reads; of
        many frames one by its number, as in structures.pdb@3.
    model
        The sampler: alanine-vacuum, alanine-water, alanine-energy, hairpin or a file.
    n
        Number of structures, the ends among them; evenly spread by their distance.
    """
    common.start(check_output=False)
    if common.output is not None:
        common.claim_folder(common.output)
    from ergodica.sampling.samplers.molecule.paths import passage
    from ergodica.sampling.samplers.molecule.sampler import load_internal

    began = perf_counter()
    sampler = load_internal(model)
    ends = _ends(sampler, (start, end))
    with progress(common) as bar:
        task = bar.add_task("path", total=100)
        found = passage(sampler, ends, n, report=lambda part: bar.update(task, completed=round(100 * part)))
    record = {**_record(model, found), "seconds": perf_counter() - began}
    if common.output is not None:
        _write(common, sampler, found, record)
    columns = ("point", "energy / kT", "ln density", "from start / Å", "from end / Å")
    rows = [
        (number, round(point["energy_kT"], 1), round(point["log_density"], 1), *(round(r, 2) for r in point["rmsd_A"]))
        for number, point in enumerate(record["points"])
    ]
    emit(common, record, columns, rows, f"{record['model']}: path at {record['temperature_K']:g} K")
    say(common, f"highest {record['barrier_kT']:.1f} kT above the start, {record['seconds']:.1f} s")
    return DONE


def _ends(sampler: InternalSampler, names: tuple[str, str]) -> np.ndarray:
    """Positions of two structures of the sampler's molecule."""
    import numpy as np

    from ergodica.files import read_atoms

    count, found = len(sampler.chart.plan.atoms), []
    for name in names:
        positions = read_atoms(name)[0].positions
        if len(positions) != count:
            raise InputError(f"'{name}' has {len(positions)} atoms, the molecule of the sampler {count}.")
        found.append(positions)
    return np.stack(found)


def _record(model: str, found: Passage) -> dict[str, Any]:
    from ergodica.units import KB

    energies = found.energies / (KB * found.temperature)
    points = zip(energies, found.log_density, found.log_weights, found.rmsd, strict=True)
    return {
        "model": Path(model).stem,
        "temperature_K": found.temperature,
        "barrier_kT": float(energies.max() - energies[0]),
        "points": [
            {"energy_kT": float(e), "log_density": float(q), "log_weight": float(w), "rmsd_A": [float(r) for r in away]}
            for e, q, w, away in points
        ],
    }


def _write(common: Shared, sampler: InternalSampler, found: Passage, record: dict[str, Any]) -> None:
    from ergodica.cli.crystals import table, write_ensemble
    from ergodica.files import atomic_write
    from ergodica.report.page import Section
    from ergodica.sampling.peptides import pdb_bytes, write_xtc
    from ergodica.sampling.plots import plot_passage

    assert common.output is not None
    arrays = {"positions": found.positions, "energies": found.energies, "log_density": found.log_density}
    arrays |= {"log_weights": found.log_weights, "rmsd": found.rmsd}
    text = "A proposal for a path: energies and densities are exact, but nothing says how fast it is passed."
    section = Section(record["model"], text, dict(table(record)), (plot_passage(found),))
    atomic_write(common.output / "path.pdb", pdb_bytes(sampler.structure, found.positions))
    write_xtc(common.output / "path.xtc", found.positions)
    write_ensemble(common.output, record, arrays, "path.png", (f"A path of {record['model']}", section))
    say(common, f"Structures, picture and report.html are in '{common.output}'.")
