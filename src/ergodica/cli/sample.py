"""`ergodica sample`: the equilibrium ensemble of a molecule's conformers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ergodica.cli.common import SHARED, Many, Shared
from ergodica.cli.failures import DONE, FAILED
from ergodica.cli.output import emit, progress, say
from ergodica.cli.particles import sample_particles
from ergodica.cli.peptides import FIELD, PeptideCall, is_peptide, sample_peptides
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.sampling.conformers import ConformerOptions, Ensemble

__all__ = ["sample"]

Field = Literal["mmff94", "mmff94s"]
Method = Literal["exchange", "diffusion"]
FIELDS: dict[str, Any] = {"mmff94": "MMFF94", "mmff94s": "MMFF94s"}
ROOM = 300.0
HALVES = "The two lines of an angle are two halves of the independent runs: where they differ, so much is noise."
SHOWN = 12
"""Families of conformers in the table."""


@Parameter(name="*")
@dataclass(frozen=True)
class Sampler:
    """How diffusion draws."""

    model: Annotated[str, Parameter(alias="-m")] = "physics"
    """Sampler for diffusion: a shipped one (torsions-mmff94), the file of a trained one, or physics, which needs no
    training (for particles the shipped one)."""

    toward: Many = ()
    """Where a sampler of one molecule is to draw, as property:atoms=value,width, such as dihedral:4,6,8,14=60,20
    (degrees), angle:..., distance:0,5=3.5,0.3 or gyration=4.2,0.2 (Å); atoms count from 0, widths are standard
    deviations. May be given several times. Weights and averages are those of the ensemble with these restraints."""


def sample(
    molecule: str,
    /,
    *,
    n: int = 1000,
    temperature: float = ROOM,
    force_field: Annotated[str, Parameter(alias="-f")] = FIELD,
    reweight: Field | None = None,
    method: Method = "exchange",
    sampler: Sampler = Sampler(),
    common: Shared = SHARED,
) -> int:
    """Draw conformers of a molecule in thermal equilibrium; exit code 1 if they can't be trusted.

    What is drawn is the ensemble of the force field in vacuum, with bond lengths, angles and rings as in the reference
    geometry and free single bonds. -o names a folder for conformers.sdf, ensemble.npz, pictures and a page.

    Parameters
    ----------
    molecule
        SMILES, or an SDF or MOL file, of which the first molecule counts; a PDB file with -f or a
        sampler of its own (-m); or, for diffusion, the name of a shipped sampler: dw4, lj13 (particles
        that papers measure themselves by), alanine-vacuum, alanine-water, alanine-energy, hairpin.
    n
        Number of conformers.
    temperature
        In K.
    force_field
        Energy from which is drawn: mmff94 or mmff94s; of a PDB file the OpenMM system that
        XmlSerializer.serialize wrote (AMBER's form, in vacuum or GBSA-OBC water).
    reweight
        Energy for which weights are given and averages are taken; the same by default.
    method
        Monte Carlo with replica exchange, or diffusion: independent conformers, each with its
        importance weight.
    """
    model, toward = sampler.model, sampler.toward
    common.start(check_output=False)
    if common.output is not None:
        common.claim_folder(common.output)
    if toward and not is_peptide(molecule):
        raise InputError("--toward is for samplers of one molecule, such as alanine-vacuum.")
    if method == "exchange" and model != Sampler.model:
        raise InputError("-m names a sampler for diffusion: add --method diffusion.")
    if common.precision != SHARED.precision:
        raise InputError("Ensembles are drawn in float32 (energies and weights are summed in float64).")
    from ergodica.sampling.energies.analytic import PARTICLES

    if molecule in PARTICLES:
        if method != "diffusion":
            raise InputError(f"{molecule} is sampled by diffusion only: add --method diffusion.")
        if (temperature, force_field, reweight) != (ROOM, FIELD, None):
            raise InputError(f"{molecule} has its own energy and temperature: no --temperature, -f, --reweight.")
        return sample_particles(molecule, n, model, common)
    if is_peptide(molecule):
        if reweight:
            raise InputError("--reweight is for molecules by SMILES or SDF: here weights are for the own force field.")
        return sample_peptides(molecule, PeptideCall(n, temperature, method, model, force_field, toward), common)
    if force_field not in FIELDS:
        raise InputError(f"There is no force field '{force_field}' for molecules: choose {' or '.join(FIELDS)}.")
    target = FIELDS[reweight] if reweight else None
    from ergodica.sampling.conformers import ConformerOptions

    options = ConformerOptions(n, temperature, target, FIELDS[force_field], common.seed, method, model)
    return _sample_conformers(molecule, options, common)


def _sample_conformers(molecule: str, options: ConformerOptions, common: Shared) -> int:
    """Of a SMILES or SDF file."""
    from ergodica.sampling.conformers import sample_conformers
    from ergodica.sampling.molecules import read_molecule

    began = perf_counter()
    known = read_molecule(molecule)  # whatever the seed, one SMILES has one ensemble
    for note in known.notes:
        say(common, note)
    with progress(common) as bar:
        task = bar.add_task("sampling", total=100)
        ensemble = sample_conformers(known, options, lambda part: bar.update(task, completed=round(100 * part)))
    record = {**_record(ensemble), "seconds": perf_counter() - began}
    if common.output is not None:
        _write(common, ensemble, record)
    _print(common, ensemble, record)
    return DONE if ensemble.reliable else FAILED


def _record(ensemble: Ensemble) -> dict[str, Any]:
    """The result, in which averages are null where they can't be trusted."""
    molecule, options = ensemble.molecule, ensemble.options
    target = options.reweight or options.force_field
    trusted = ensemble.reliable
    energy = ensemble.average(ensemble.energies) if trusted else (None, None)
    return {
        "name": molecule.name,
        "smiles": molecule.smiles,
        "notes": molecule.notes,
        "ensemble": f"{target} in vacuum with rigid bonds, angles and rings",
        "method": options.method,
        "n": len(ensemble.energies),
        "temperature_K": options.temperature,
        "nfe_per_sample": ensemble.calls / len(ensemble.energies),
        "ess": min(ensemble.effective, ensemble.weighted.effective),
        "pareto_k": ensemble.weighted.pareto_k,
        "r_hat": ensemble.mixing,
        "exchanged": ensemble.exchanged,
        "folded": ensemble.folded,
        "stereo_kept": ensemble.kept_stereo,
        "reliable": trusted,
        "energy_eV": energy[0],
        "energy_error_eV": energy[1],
        "free_energies": _families(ensemble) if trusted else None,
        "rotors": _rotors(ensemble),
        "weights": ensemble.weighted.weights,
    }


def _families(ensemble: Ensemble) -> list[dict[str, Any]]:
    """Populations and free energies of the families of conformers."""
    from ergodica.units import KB, KCAL_PER_MOL

    families = ensemble.families()
    heat = KB * ensemble.options.temperature / KCAL_PER_MOL
    return [
        {
            "sectors": family.sectors,
            "population": family.population,
            "population_error": family.error,
            "free_energy_kcal_per_mol": heat * math.log(families[0].population / family.population),
            "free_energy_error_kcal_per_mol": heat * family.relative_error,
            "lowest_energy_eV": ensemble.energies[family.lowest],
            "conformer": family.lowest,
        }
        for family in families
        if family.population > 0
    ]


def _rotors(ensemble: Ensemble) -> list[dict[str, Any]]:
    found = []
    for number, rotor in enumerate(ensemble.molecule.rotors):
        shares = ensemble.populations(number) if ensemble.reliable else {}
        found.append(
            {
                "rotor": ensemble.label(rotor),
                "atoms": rotor.atoms,
                "symmetry": rotor.symmetry,
                "populations": {name: share for name, (share, _) in shares.items()} or None,
                "population_errors": {name: error for name, (_, error) in shares.items()} or None,
            }
        )
    return found


def _print(common: Shared, ensemble: Ensemble, record: dict[str, Any]) -> None:
    free = [ensemble.label(rotor) for rotor in ensemble.molecule.rotors if rotor.symmetry == 1]
    rows = [
        (" ".join(one["sectors"]) or "all", round(100 * one["population"], 1), round(100 * one["population_error"], 1),
         round(one["free_energy_kcal_per_mol"], 2), one["conformer"])
        for one in (record["free_energies"] or [])[:SHOWN]
    ]  # fmt: skip
    columns = (", ".join(free) or "family", "population / %", "± / %", "free energy / kcal/mol", "conformer")
    title = f"{record['smiles']}: {record['ensemble']}, {record['temperature_K']:g} K"
    emit(common, record, columns, rows, title)
    judged = f"effective {record['ess']:.0f} of {record['n']}"
    judged += f", R̂ {record['r_hat']:.3f}" if len(record["exchanged"]) else ""
    tail = f", Pareto k̂ {record['pareto_k']:.2f}" if math.isfinite(record["pareto_k"]) else ""
    say(common, f"{judged}{tail}, {record['nfe_per_sample']:.0f} evaluations per conformer, {record['seconds']:.1f} s")
    if not ensemble.reliable:
        say(common, "No averages are given: independent runs or weights disagree. Draw more (--n), or by exchange.")


def _write(common: Shared, ensemble: Ensemble, record: dict[str, Any]) -> None:
    from ergodica.cli.crystals import table, write_ensemble
    from ergodica.files import atomic_write
    from ergodica.report.page import Section
    from ergodica.sampling.molecules import sdf_bytes
    from ergodica.sampling.plots import plot_ensemble

    folder, molecule = common.output, ensemble.molecule
    assert folder is not None
    weights = ensemble.weighted.weights
    conformers = sdf_bytes(molecule, ensemble.positions, energy_eV=ensemble.energies, weight=weights)
    atomic_write(folder / "conformers.sdf", conformers)
    arrays = {"numbers": molecule.numbers, "positions": ensemble.positions, "angles": ensemble.angles}
    arrays |= {"energies": ensemble.energies, "weights": weights, "ladder": ensemble.walker}
    bounds = f"Averages are of the ensemble of {record['ensemble']}, and of nothing else."
    text = " ".join((*record["notes"], bounds, HALVES))
    section = Section(record["smiles"], text, dict(table(record)), (plot_ensemble(ensemble),))
    write_ensemble(folder, record, arrays, "torsions.png", (f"Conformers of {record['name']}", section))
    say(common, f"Conformers, pictures and report.html are in '{folder}'.")
