"""`ergodica density`: where an atom is upon a slab."""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ergodica.cli.common import SHARED, Shared
from ergodica.cli.failures import DONE, FAILED
from ergodica.cli.output import emit, progress, say
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.cli.inputs import Item
    from ergodica.potentials.potential import Potential
    from ergodica.sampling.adsorption import AdatomOptions, Adsorption

__all__ = ["density"]

SHOWN = 12
"""Sites in the table."""


@Parameter(name="*")
@dataclass(frozen=True)
class Points:
    """Where the density is wanted."""

    spacing: float | None = None
    """Of the grid in the plane, Å; by default 0.2 with emt, 0.4 otherwise."""

    step: float | None = None
    """Of the grid in height, Å; by default 0.04 with emt, 0.05 with other potentials, 0.08 with diffusion."""

    heights: Annotated[tuple[float, float] | None, Parameter(negative="")] = None
    """Lowest and highest point of the grid, Å above the uppermost layer; by default -0.5 and 3.5, with diffusion,
    where a point is dear, 0.6 and 3."""


FINE, COARSE, DRAWN = (0.2, 0.04), (0.4, 0.05), (0.4, 0.08)
"""Spacing and step of the grid where a point costs next to nothing, where it costs a network, and where it costs the
flow of a sampler, Å. At 300 K atoms vibrate by some 0.04 Å against a metal."""


def density(
    slab: str,
    /,
    *,
    species: str = "O",
    temperature: float = 300.0,
    method: Literal["grid", "diffusion"] = "grid",
    model: Annotated[str | None, Parameter(alias="-m")] = None,
    n: int = 2048,
    points: Points = Points(),
    common: Shared = SHARED,
) -> int:
    """Draw the map of where an atom is upon a frozen slab in thermal equilibrium; exit code 1 if it can't be trusted.

    -o names a folder for ensemble.npz, density.cube, pictures and a page.

    Parameters
    ----------
    slab
        Anything ASE reads: periodic in the plane of x and y, its upper side counts.
    species
        Element of the atom.
    temperature
        In K.
    method
        The energy on a grid, which gives the exact density, or diffusion: a trained sampler, which
        needs no energies but for the weights.
    model
        Whose energy: any potential, by default emt; for diffusion a trained sampler, by default
        adatoms.
    n
        Samples that diffusion draws.
    """
    common.start(check_output=False)
    if common.output is not None:
        common.claim_folder(common.output)
    from ergodica.cli.inputs import read_items
    from ergodica.sampling.adsorption import AdatomOptions, adsorb
    from ergodica.sampling.walks.density_map import MapOptions

    began = perf_counter()
    items = read_items([slab])
    if len(items) != 1:
        raise InputError(f"'{slab}' holds {len(items)} structures: choose one, such as '{slab}@0'.")
    potential = _potential(model) if method == "grid" else None
    usual = DRAWN if method == "diffusion" else FINE if potential is None else COARSE
    heights = points.heights or ((-0.5, 3.5) if method == "grid" else (0.6, 3.0))
    spacing = usual[0] if points.spacing is None else points.spacing
    step = usual[1] if points.step is None else points.step
    grid = MapOptions(spacing, step, *heights)
    options = AdatomOptions(species, temperature, method, model or "adatoms", n, grid, common.seed, common.precision)
    with progress(common) as bar:
        task = bar.add_task("density", total=100)
        found = adsorb(items[0].system, options, potential, lambda part: bar.update(task, completed=round(100 * part)))
    record = {**_record(items[0], options, model, found), "seconds": perf_counter() - began}
    if common.output is not None:
        _write(common, items[0], options, found, record)
    _print(common, record)
    return DONE if found.reliable else FAILED


def _potential(model: str | None) -> Potential | None:
    """None stands for effective-medium theory, which has a way of its own."""
    if model in (None, "emt"):
        return None
    from ergodica import load

    return load(model)


def _record(item: Item, options: AdatomOptions, model: str | None, found: Adsorption) -> dict[str, Any]:
    """The result, in which populations are null where they can't be trusted."""
    from ergodica.units import KB

    heat, trusted = KB * options.temperature, found.reliable
    shares = found.populations
    sites = [
        {
            "position_A": site.position,
            "population": float(share) if trusted else None,
            "population_error": float(error) if trusted else None,
            "free_energy_eV": heat * math.log(shares[0] / share) if trusted and share > 0 else None,
            "energy_eV": site.energy if math.isfinite(site.energy) else None,
        }
        for site, share, error in zip(found.found.sites, shares, found.population_errors, strict=True)
    ]
    drawn = found.drawn
    weighing: dict[str, Any] = {"ess": None, "pareto_k": None, "n": None, "folded": None}
    if drawn is not None:
        tail = drawn.weighted.pareto_k
        weighing = {"ess": drawn.weighted.effective, "pareto_k": tail if math.isfinite(tail) else None,
                    "n": len(drawn.samples.x), "folded": drawn.samples.folded}  # fmt: skip
    return {
        **item.head,
        "species": options.species,
        "temperature_K": options.temperature,
        "method": options.method,
        "model": model or ("emt" if drawn is None else "adatoms"),
        "normalisation": found.normalisation,
        "normalisation_error": found.normalisation_error,
        "log_partition": found.found.log_partition if drawn is None else drawn.weighted.log_mean,
        **weighing,
        "reliable": trusted,
        "sites": sites,
    }


def _print(common: Shared, record: dict[str, Any]) -> None:
    def percent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.2f}"

    rows = [
        (*(f"{value:.2f}" for value in site["position_A"]), percent(site["population"]),
         percent(site["population_error"]),
         "" if site["free_energy_eV"] is None else f"{1e3 * site['free_energy_eV']:.1f}",
         "" if site["energy_eV"] is None else f"{site['energy_eV']:.3f}")
        for site in record["sites"][:SHOWN]
    ]  # fmt: skip
    columns = ("x / Å", "y / Å", "z / Å", "population / %", "± / %", "free energy / meV", "energy / eV")
    title = f"{record['species']} on {record['formula']}, {record['temperature_K']:g} K, {record['model']}"
    emit(common, record, columns, rows, title)
    judged = f"the density sums to {record['normalisation']:.4f} ± {record['normalisation_error']:.4f}"
    if record["n"]:
        judged += f", effective {record['ess']:.0f} of {record['n']}"
        judged += f", Pareto k̂ {record['pareto_k']:.2f}" if record["pareto_k"] is not None else ""
    say(common, f"{len(record['sites'])} sites; {judged}; {record['seconds']:.1f} s")
    if not record["reliable"]:
        drawn = "weights are degenerate or steps not one-to-one: use --method grid"
        why = drawn if record["n"] else "the grid is too coarse: lower --spacing or --step"
        say(common, f"No populations are given: {why}.")


def _write(common: Shared, item: Item, options: AdatomOptions, found: Adsorption, record: dict[str, Any]) -> None:
    """The grid, samples, pictures and a page."""
    from ergodica.cli.crystals import table, write_ensemble
    from ergodica.files import atomic_write
    from ergodica.report.page import Section
    from ergodica.sampling.plots import plot_adsorption, slab_cube

    folder, grid, drawn = common.output, found.found, found.drawn
    assert folder is not None
    atoms = item.system.to_ase()
    atomic_write(folder / "density.cube", slab_cube(atoms, grid))
    arrays: dict[str, Any] = {"points": grid.points, "log_density": grid.log_density, "lattice": grid.surface.lattice}
    if grid.energies is not None:
        arrays["energies"] = grid.energies
    if drawn is not None:
        arrays |= {"positions": drawn.samples.x, "weights": drawn.weighted.weights}
        arrays |= {"sample_energies": drawn.samples.energies, "sample_log_density": drawn.samples.log_density}
    text = "Places are relative to the uppermost layer; the free energy of a place is -kT log of the density over it."
    if record["model"] == "emt" or drawn is not None:
        text += " Effective-medium theory says little about H, C, N and O: this is mathematics, not chemistry."
    title = f"{options.species} on {record['formula']}"
    section = Section(title, text, dict(table(record)), (plot_adsorption(atoms, found),))
    write_ensemble(folder, record, arrays, "density.png", (title, section))
    say(common, f"The grid, pictures and report.html are in '{folder}'.")
