"""`ergodica sample dw4`: systems of particles that papers on samplers measure themselves by."""

from __future__ import annotations

import math
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ergodica.cli.common import Shared
from ergodica.cli.failures import DONE, FAILED
from ergodica.cli.output import emit, progress, say
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.sampling.diffusion.flow import Samples
    from ergodica.sampling.diffusion.reweighting import Reweighted

__all__ = ["sample_particles"]


def sample_particles(name: str, n: int, model: str, common: Shared) -> int:
    """Draw positions with their weights; exit code 1 if the weights are degenerate.

    Args:
        name: of the system.
        n: how many.
        model: trained sampler; the name of the system if "physics".
        common: options of every verb.

    Raises:
        InputError: the sampler is of another system.
    """
    from ergodica.sampling.diffusion.reweighting import check_count, reweight
    from ergodica.sampling.samplers.particles.sampler import draw_particles, load_particles
    from ergodica.sampling.walks.statistics import FOLDED

    began = perf_counter()
    check_count(n)
    sampler = load_particles(name if model == "physics" else model)
    if sampler.target != name:
        raise InputError(f"The sampler '{model}' was trained on {sampler.target}, not on {name}.")
    with progress(common) as bar:
        task = bar.add_task("sampling", total=100)
        drawn = draw_particles(
            sampler, n, seed=common.seed, report=lambda part: bar.update(task, completed=round(100 * part))
        )
    weighted = reweight(-drawn.energies - drawn.log_density)
    record = {**_record(name, drawn, weighted), "seconds": perf_counter() - began}
    if common.output is not None:
        _write(common, drawn, weighted, record)
    hidden = ("weights",)
    rows = [(key.replace("_", " "), value) for key, value in record.items() if key not in hidden]
    emit(common, record, ("", name), rows)
    if not record["reliable"]:
        why = "weights are degenerate" if drawn.folded <= FOLDED else "too many steps were not one-to-one"
        say(common, f"No averages are given: {why}.")
    return DONE if record["reliable"] else FAILED


def _record(name: str, drawn: Samples, weighted: Reweighted) -> dict[str, Any]:
    import numpy as np

    from ergodica.sampling.walks.statistics import FOLDED

    trusted, n = weighted.reliable and drawn.folded <= FOLDED, len(drawn.x)
    return {
        "target": name,
        "n": n,
        "nfe_per_sample": drawn.calls / n,
        "energy_calls": n,
        "ess": weighted.effective,
        "pareto_k": weighted.pareto_k if math.isfinite(weighted.pareto_k) else None,
        "folded": drawn.folded,
        "reliable": trusted,
        "energy_kT": float(weighted.average(np.where(weighted.weights > 0, drawn.energies, 0.0))) if trusted else None,
        "log_partition": weighted.log_mean if trusted else None,
        "log_partition_error": weighted.log_mean_error if trusted else None,
        "weights": weighted.weights,
    }


def _write(common: Shared, drawn: Samples, weighted: Reweighted, record: dict[str, Any]) -> None:
    """Positions, energies, densities and weights, and the result."""
    from ergodica.cli.crystals import table, write_ensemble
    from ergodica.report.page import Section
    from ergodica.sampling.plots import plot_particles

    assert common.output is not None
    arrays = {"energies": drawn.energies, "log_density": drawn.log_density, "weights": weighted.weights}
    text = "Averages are by weight; where the weights are degenerate none are given."
    section = Section(record["target"], text, dict(table(record)), (plot_particles(drawn, weighted),))
    page = f"Ensemble of {record['target']}", section
    write_ensemble(common.output, record, {"positions": drawn.x, **arrays}, "ensemble.png", page)
    say(common, f"Positions, weights, pictures and report.html are in '{common.output}'.")
