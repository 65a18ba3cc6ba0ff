"""One figure of everything a trajectory tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.pictures import literal
from ergodica.properties.plots import BLUE, GREEN, GREY, ORANGE, new_figure
from ergodica.properties.statistics import with_error
from ergodica.properties.transport import CM2_PER_S

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ergodica.properties.analysis import Analysis

__all__ = ["plot_analysis"]

SHADES = (BLUE, ORANGE, GREEN, "#8d5a97", "#b5473c", "#4c9aa8", "#7a7a32")


def plot_analysis(result: Analysis, title: str = "") -> Figure:
    """Temperature, energies, pressure, g(r), displacements and density of states, as far as they are known."""
    thermo = result.thermodynamics
    panels: list[Any] = []
    if "temperature_K" in thermo.series:
        panels.append(lambda axis: _series(axis, result, "temperature_K", "temperature / K"))
    if "potential_energy_eV" in thermo.series:
        panels.append(lambda axis: _energies(axis, result))
    if "pressure_GPa" in thermo.series:
        panels.append(lambda axis: _series(axis, result, "pressure_GPa", "pressure / GPa"))
    if "density_g_per_cm3" in thermo.series:
        panels.append(lambda axis: _series(axis, result, "density_g_per_cm3", "density / g/cm³"))
    if result.radial is not None:
        panels.append(lambda axis: _radial(axis, result.radial))
    if result.diffusion is not None:
        panels.append(lambda axis: _displacements(axis, result.diffusion))
    if result.vibrations is not None:
        panels.append(lambda axis: _vibrations(axis, result.vibrations))
    columns = min(max(len(panels), 1), 3 if len(panels) != 4 else 2)
    rows = max(-(-len(panels) // columns), 1)
    figure = new_figure(4.2 * columns, 3.2 * rows)
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axis, draw in zip(axes, panels, strict=False):
        draw(axis)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    figure.suptitle(literal(title))
    return figure


def _clock(axis: Any, result: Analysis) -> np.ndarray:
    times = result.frames.times
    axis.set_xlabel("frame" if times is None else "time / ps")
    return np.arange(len(result.frames)) if times is None else times * 1e-3


def _series(axis: Any, result: Analysis, key: str, label: str) -> None:
    values, mean = result.thermodynamics.series[key], result.thermodynamics.means[key]
    times = _clock(axis, result)
    axis.plot(times, values, color=BLUE, linewidth=0.7, alpha=0.7)
    error = mean.error if np.isfinite(mean.error) else 0.0
    axis.axhspan(mean.value - error, mean.value + error, color=ORANGE, alpha=0.35, linewidth=0)
    axis.axhline(mean.value, color=ORANGE, linewidth=1.0)
    axis.set_title(f"mean {with_error(mean.value, mean.error)}", fontsize=9)
    axis.set_ylabel(label)
    axis.set_xlim(times[0], times[-1])


def _energies(axis: Any, result: Analysis) -> None:
    """Potential, total and conserved energy, each from its own mean or start, so that all fit one scale."""
    thermo, n = result.thermodynamics, result.frames.n_atoms
    times = _clock(axis, result)
    curves = (("potential", "potential_energy_eV", BLUE), ("total", "total_energy_eV", ORANGE),
              ("conserved", "conserved_energy_eV", GREEN))  # fmt: skip
    for name, key, shade in curves:
        if key in thermo.series:
            values = thermo.series[key]
            axis.plot(times, 1e3 * (values - values.mean()) / n, color=shade, linewidth=0.9, label=name)
    axis.set_ylabel(r"$E - \langle E\rangle$ / meV per atom")
    axis.legend(frameon=False, fontsize=8, ncols=3, loc="upper right", columnspacing=1.0, handlelength=1.2)
    if thermo.drift is not None:
        axis.set_title(f"drift {with_error(thermo.drift.value, thermo.drift.error)} meV/atom/ps", fontsize=9)
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.2 * (high - low))  # room for the names
    axis.set_xlim(times[0], times[-1])


def _radial(axis: Any, radial: Any) -> None:
    axis.axhline(1, color=GREY, linewidth=0.8, linestyle=":")
    if len(radial.pairs) > 1:
        axis.plot(radial.r, radial.total.g, color=GREY, linewidth=0.9, label="all")
    for (name, pair), shade in zip(radial.pairs.items(), SHADES * 4, strict=False):
        axis.plot(radial.r, pair.g, color=shade, linewidth=1.1, label=name)
    axis.set_xlabel("r / Å")
    axis.set_ylabel("g(r)")
    axis.set_xlim(0, radial.r[-1])
    axis.set_ylim(0, None)
    axis.legend(frameon=False, fontsize=8, ncols=1 + len(radial.pairs) // 6)


def _displacements(axis: Any, spread: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    for (symbol, one), shade in zip(spread.elements.items(), SHADES * 4, strict=False):
        label = symbol
        if one.diffusive:
            value, error = 1e5 * CM2_PER_S * one.coefficient.value, 1e5 * CM2_PER_S * one.coefficient.error
            label += rf": $D$ = {with_error(value, error)} · 10$^{{-5}}$ cm²/s"
            window = np.array(spread.fit)
            line = 6 * one.coefficient.value * window + one.offset
            axis.plot(window * 1e-3, line, "--", color="black", linewidth=1.2, zorder=3)
        axis.plot(spread.lags * 1e-3, one.msd, color=shade, linewidth=1.1, label=label)
    axis.set_xlabel("lag / ps")
    axis.set_ylabel("mean square displacement / Å²")
    axis.set_xlim(0, spread.lags[-1] * 1e-3)
    axis.set_ylim(0, None)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.legend(frameon=False, fontsize=8)


def _vibrations(axis: Any, found: Any) -> None:
    if len(found.elements) > 1:
        axis.fill_between(found.frequencies, found.total, color=GREY, alpha=0.3, linewidth=0, label="all")
    for (symbol, states), shade in zip(found.elements.items(), SHADES * 4, strict=False):
        axis.plot(found.frequencies, states, color=shade, linewidth=1.0, label=symbol)
    inside = np.cumsum(found.total) < 0.999 * found.total.sum()
    axis.set_xlim(0, min(1.15 * found.frequencies[inside][-1], found.frequencies[-1]))
    axis.set_ylim(0, None)
    axis.set_xlabel("frequency / THz")
    axis.set_ylabel("vibrational states / THz$^{-1}$")
    axis.set_title(f"{found.freedom} degrees of freedom", fontsize=9)
    axis.legend(frameon=False, fontsize=8)
