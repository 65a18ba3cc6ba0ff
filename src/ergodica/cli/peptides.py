"""`ergodica sample molecule.pdb`: a molecule with all its degrees of freedom and a force field of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ergodica.cli.common import Shared
from ergodica.cli.failures import DONE, FAILED
from ergodica.cli.output import emit, progress, say
from ergodica.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ergodica.sampling.peptide_ensemble import PeptideEnsemble

__all__ = ["FIELD", "PeptideCall", "is_peptide", "sample_peptides"]

FIELD = "mmff94"
"""Where no force field is named."""
SHIPPED = ("alanine-vacuum", "alanine-water", "alanine-energy", "hairpin")
"""Samplers of one molecule that come with the package."""
PICTURED = 100
"""Structures for viewers: those of most weight, or where all count alike, from all along."""


@dataclass(frozen=True)
class PeptideCall:
    """What was asked for: how many, temperature in K, method, sampler, force field, and restraints as written."""

    n: int
    temperature: float
    method: str
    model: str
    force_field: str
    toward: tuple[str, ...] = ()


def is_peptide(molecule: str) -> bool:
    """Whether it is a PDB file, or a sampler that knows its molecule."""
    return molecule in SHIPPED or Path(molecule).suffix in (".pdb", ".safetensors")


def sample_peptides(molecule: str, call: PeptideCall, common: Shared) -> int:
    """Draw structures; exit code 1 if they can't be trusted.

    Args:
        molecule: a PDB file, or a sampler by name or file.
        call: what was asked for.
        common: options of every verb.

    Raises:
        InputError: files are missing or do not fit, or the sampler is of another temperature.
    """
    began = perf_counter()
    with progress(common) as bar:
        task = bar.add_task("sampling", total=100)
        ensemble = _ensemble(molecule, call, common.seed, lambda part: bar.update(task, completed=round(100 * part)))
    record = {**_record(molecule, call, ensemble), "seconds": perf_counter() - began}
    if common.output is not None:
        _write(common, ensemble, record)
    rows = [
        (row["residue"], row["region"], round(100 * row["population"], 1), round(100 * row["population_error"], 1),
         row["free_energy_kcal_per_mol"] and round(row["free_energy_kcal_per_mol"], 2))
        for row in record["regions"] or []
    ]  # fmt: skip
    columns = ("residue", "φ, ψ", "population / %", "± / %", "free energy / kcal/mol")
    emit(common, record, columns, rows, f"{record['name']}: {record['method']}, {record['temperature_K']:g} K")
    tail = f", Pareto k̂ {record['pareto_k']:.2f}" if record["pareto_k"] is not None else f", R̂ {record['r_hat']:.3f}"
    say(common, f"effective {record['ess']:.0f} of {record['n']}{tail}, {record['seconds']:.1f} s")
    if not ensemble.reliable:
        say(common, "No averages are given: independent runs disagree, or weights are degenerate.")
    return DONE if ensemble.reliable else FAILED


def _ensemble(molecule: str, call: PeptideCall, seed: int, report: Callable[[float], None]) -> PeptideEnsemble:
    from ergodica.sampling.peptide_ensemble import PeptideOptions, draw_peptide, sample_peptide
    from ergodica.sampling.peptides import atom_names, read_pdb, read_peptide
    from ergodica.sampling.samplers.molecule.guidance import read_restraint
    from ergodica.sampling.samplers.molecule.sampler import load_internal

    options = PeptideOptions(call.n, call.temperature, seed)
    pdb = Path(molecule).suffix == ".pdb"
    if call.method == "exchange":
        if call.toward:
            raise InputError("Replica exchange takes no restraints: --toward needs --method diffusion.")
        if not pdb:
            raise InputError(f"'{molecule}' is a sampler: add --method diffusion, or give a PDB file and -f.")
        if Path(call.force_field).suffix not in (".xml", ".pdb"):
            raise InputError(f"'{molecule}' needs a force field of its own: give -f with a serialised OpenMM system.")
        return sample_peptide(read_peptide(molecule, call.force_field), options, report)
    if call.force_field != FIELD:
        raise InputError("-f is for replica exchange: a sampler brings the force field that it was trained for.")
    if pdb and call.model == "physics":
        raise InputError(f"Diffusion of '{molecule}' needs a sampler that was trained on it: give -m.")
    if not pdb and call.model != "physics":
        raise InputError(f"'{molecule}' is a sampler itself: leave -m out.")
    sampler = load_internal(call.model if pdb else molecule)
    if pdb and atom_names(read_pdb(molecule)[0]) != atom_names(sampler.structure):
        raise InputError(f"'{call.model}' was trained on another molecule than that of '{molecule}', atom by atom.")
    if abs(sampler.temperature - call.temperature) > 1e-6:
        raise InputError(f"The sampler was trained at {sampler.temperature:g} K, not at {call.temperature:g} K.")
    atoms = len(sampler.chart.plan.atoms)
    toward = tuple(read_restraint(one, atoms) for one in call.toward)
    return draw_peptide(sampler, call.n, seed=seed, toward=toward, report=report)


def _record(molecule: str, call: PeptideCall, ensemble: PeptideEnsemble) -> dict[str, Any]:
    trusted = ensemble.reliable
    energy = ensemble.average(ensemble.energies) if trusted else (None, None)
    tail, weighted = ensemble.weighted.pareto_k, trusted and ensemble.log_weights is not None
    return {
        "name": Path(molecule).stem,
        "method": call.method,
        "n": len(ensemble.energies),
        "temperature_K": ensemble.temperature,
        "toward": list(call.toward),
        "calls_per_sample": ensemble.calls / len(ensemble.energies),
        "ess": ensemble.effective,
        "pareto_k": tail if math.isfinite(tail) else None,
        "r_hat": ensemble.mixing,
        "exchanged": ensemble.exchanged,
        "folded": ensemble.folded,
        "reliable": trusted,
        "log_partition": ensemble.weighted.log_mean if weighted else None,
        "log_partition_error": ensemble.weighted.log_mean_error if weighted else None,
        "energy_eV": energy[0],
        "energy_error_eV": energy[1],
        "regions": _regions(ensemble) if trusted else None,
        "thermal": _thermal(ensemble) if trusted else None,
        "weights": ensemble.weighted.weights,
    }


def _regions(ensemble: PeptideEnsemble) -> list[dict[str, Any]]:
    """Populations of the quadrants of the Ramachandran map, and free energies above the most populated."""
    from ergodica.sampling.walks.statistics import error_of_log_ratio
    from ergodica.units import KB, KCAL_PER_MOL

    found: list[dict[str, Any]] = []
    heat = KB * ensemble.temperature / KCAL_PER_MOL
    for residue, angles in ensemble.backbone().items():
        inside = {
            f"{'-' if left else '+'}, {'-' if low else '+'}": ((angles[:, 0] < 0) == left) & ((angles[:, 1] < 0) == low)
            for left, low in ((True, False), (True, True), (False, False), (False, True))
        }
        shares = {name: ensemble.average(one.astype(float)) for name, one in inside.items()}
        most = max(shares, key=lambda name: shares[name][0])
        for name, (share, error) in shares.items():
            relative = error_of_log_ratio(inside[name], inside[most], ensemble.weighted.weights, ensemble.walker)
            found.append(
                {
                    "residue": residue,
                    "region": name,
                    "population": share,
                    "population_error": error,
                    "free_energy_kcal_per_mol": heat * math.log(shares[most][0] / share) if share > 0 else None,
                    "free_energy_error_kcal_per_mol": heat * relative if share > 0 else None,
                }
            )
    return found


def _thermal(ensemble: PeptideEnsemble) -> list[dict[str, float]] | None:
    """Potential energy and its heat capacity at temperatures of the ladders."""
    from dataclasses import astuple

    if ensemble.thermal is None:
        return None
    names = ("temperature_K", "energy_eV", "energy_error_eV", "heat_capacity_eV_per_K", "heat_capacity_error_eV_per_K")
    return [dict(zip(names, map(float, row), strict=True)) for row in zip(*astuple(ensemble.thermal), strict=True)]


def _write(common: Shared, ensemble: PeptideEnsemble, record: dict[str, Any]) -> None:
    """Structures, weights, angles, picture and page."""
    import numpy as np

    from ergodica.cli.crystals import table, write_ensemble
    from ergodica.files import atomic_write
    from ergodica.report.page import Section
    from ergodica.sampling.peptides import pdb_bytes, write_xtc
    from ergodica.sampling.plots import plot_backbone, plot_thermal

    assert common.output is not None
    arrays = {"positions": ensemble.positions.astype(np.float32), "energies": ensemble.energies}
    arrays |= {"weights": ensemble.weighted.weights, "walker": ensemble.walker}
    if ensemble.log_weights is not None and ensemble.log_restraints is not None:
        arrays |= {"log_weights": ensemble.log_weights, "log_restraints": ensemble.log_restraints}
    arrays |= {f"backbone/{residue}": angles for residue, angles in ensemble.backbone().items()}
    of = "ensemble with its restraints" if record["toward"] else "ensemble"
    text = f"Free energies are of the force field's {of}, and of nothing else. Averages are by weight."
    thermal = ensemble.thermal if record["thermal"] else None
    figures = [plot_backbone(ensemble), *([plot_thermal(thermal)] if thermal else [])]
    section = Section(record["name"], text, dict(table(record)), tuple(figures))
    weights = ensemble.weighted.weights
    if np.ptp(weights) > 0:
        best = np.argsort(-weights, kind="stable")[:PICTURED]
    else:
        best = np.unique(np.linspace(0, len(weights) - 1, PICTURED).astype(int))  # some of all ladders
    atomic_write(common.output / "structures.pdb", pdb_bytes(ensemble.text, ensemble.positions[best]))
    write_xtc(common.output / "structures.xtc", ensemble.positions)
    write_ensemble(common.output, record, arrays, "backbone.png", (f"Ensemble of {record['name']}", section))
    say(common, f"Structures, weights, pictures and report.html are in '{common.output}'.")
