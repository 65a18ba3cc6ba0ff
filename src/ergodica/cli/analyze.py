"""`ergodica analyze`: what trajectories tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ergodica.cli.common import SHARED, Shared, Words
from ergodica.cli.inputs import STDIN, formula
from ergodica.cli.md import parse_time
from ergodica.cli.output import emit, gathered, say
from ergodica.errors import InputError
from ergodica.properties.options import AnalysisOptions

if TYPE_CHECKING:
    from ergodica.properties.analysis import Analysis
    from ergodica.properties.frames import Frames

__all__ = ["analyze"]


def analyze(
    *files: str,
    skip: str = "0",
    elements: Words = (),
    interval: float | None = None,
    r_max: float = 8.0,
    bins: int = 160,
    blocks: int = 4,
    longest_lag: float = 4000.0,
    common: Shared = SHARED,
) -> None:
    """Temperature, pressure, energies, g(r), diffusion and vibrations of trajectories; -o NAME.png draws them.

    Errors respect correlation in time. g(r) needs a cell periodic in three directions, diffusion the times of the
    frames, vibrations their momenta, too; what is missing is said.

    Parameters
    ----------
    files
        Trajectories, as `ergodica md` writes them, or anything ASE reads; each is analysed by itself.
    skip
        Equilibration to leave out at the start: a time such as 5ps, or a number of frames.
    elements
        Only these elements, such as Li O; all by default.
    interval
        Time between frames, fs, for files that do not say it.
    r_max
        End of g(r), Å.
    bins
        Bins of g(r).
    blocks
        Pieces of the run for the error of the diffusion coefficient.
    longest_lag
        Longest lag of the velocity autocorrelation, fs: longer gives sharper and noisier lines.
    """
    options = AnalysisOptions(elements=elements, r_max=r_max, bins=bins, blocks=blocks, longest_lag=longest_lag)
    if not files:
        raise InputError("Give at least one trajectory (or - for extxyz from stdin).")
    names = ["-" if file == STDIN else file for file in files]
    plots = _plots(common, names)
    from ergodica.properties.analysis import analyze as library_analyze
    from ergodica.properties.frames import read_frames

    def one(number: int) -> tuple[int, dict[str, Any]]:
        frames = read_frames(names[number], interval)
        result = library_analyze(_skipped(frames, skip), options)
        for warning in result.warnings:
            say(common, f"warning: {warning}")
        plot = plots[number]
        if plot is not None:
            _draw(result, plot, names[number])
        return number, {"file": names[number], "formula": _formula(frames), **result.to_dict()}

    gathered(common, "reading", len(names), map(one, range(len(names))), partial(_tell, common, len(names)))


def _tell(common: Shared, total: int, done: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """Print what was found."""
    records = [record for _, record in done]
    for record in records if not common.json else []:
        emit(common, record, ("", f"{record['file']}, {record['formula']}"), _rows(record))
    if common.json:
        emit(common, records if total > 1 else records[0])


def _plots(common: Shared, names: list[str]) -> list[Path | None]:
    """One picture a trajectory: the name given, or, of several, that name with a number."""
    from ergodica.pictures import picture_format

    path = common.output
    if path is None:
        return [None] * len(names)
    picture_format(path)
    several = [path.with_stem(f"{path.stem}-{index}") for index in range(len(names))]
    return [common.claim(one) for one in (several if len(names) > 1 else [path])]


def _skipped(frames: Frames, skip: str) -> Frames:
    """The frames after equilibration."""
    if re.fullmatch(r"\d+", skip):
        start = int(skip)
    elif frames.interval is None:
        raise InputError(f"'{frames.name}' does not say at which times its frames stand: skip a number of frames.")
    else:
        start = round(parse_time(skip, "--skip") / frames.interval)
    if start > len(frames) - 2:
        raise InputError(f"'{frames.name}' has {len(frames)} frames: skipping {start} of them leaves none to analyse.")
    return frames[start:]


def _formula(frames: Frames) -> str:
    from ergodica.system import System

    return formula(System(frames.numbers, frames.positions[0]))


def _draw(result: Analysis, path: Path, title: str) -> None:
    from ergodica.pictures import write_picture
    from ergodica.properties.trajectory_plots import plot_analysis

    write_picture(path, plot_analysis(result, title))


def _rows(record: dict[str, Any]) -> list[tuple[str, Any]]:
    """The scalar figures, an error beside what it belongs to."""
    from ergodica.properties.statistics import with_error

    rows: list[tuple[str, Any]] = []
    errors = {key.replace("_error", ""): value for key, value in record.items() if "_error_" in key}
    for key, value in record.items():
        if "_error_" not in key and isinstance(value, int | float):
            error = errors.get(key)
            rows.append((key.replace("_", " "), value if error is None else with_error(value, error)))
    for name, pair in record.get("radial_distribution", {}).get("pairs", {}).items():
        if pair["coordination_number"] is not None:
            text = f"{pair['coordination_number']:.2f} within {pair['first_minimum_A']:.2f} Å"
            rows.append((f"neighbours {name.replace('-', ' by ', 1)}", text))
    for symbol, one in record.get("diffusion", {}).items():
        value, error = one["coefficient_cm2_per_s"], one["error_cm2_per_s"]
        rows.append((f"diffusion {symbol} / cm²/s", with_error(value, error) if one["diffusive"] else "none seen"))
    return rows
