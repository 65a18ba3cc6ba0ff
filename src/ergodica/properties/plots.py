"""One figure for each property."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ergodica.pictures import literal
from ergodica.properties.moduli import youngs_modulus
from ergodica.units import KB, KJ_PER_MOL

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ergodica.dynamics.neb import ReactionPath
    from ergodica.properties.elastic import Elasticity
    from ergodica.properties.eos import EquationOfState
    from ergodica.properties.phase_diagram import PhaseDiagram
    from ergodica.properties.phonons import Phonons
    from ergodica.properties.quasiharmonic import Quasiharmonic

__all__ = [
    "new_figure",
    "plot_bands",
    "plot_elastic",
    "plot_eos",
    "plot_path",
    "plot_phase_diagram",
    "plot_quasiharmonic",
    "plot_thermal",
]

BLUE, ORANGE, GREEN, GREY = "#2a6f97", "#d9822b", "#4f8a5b", "0.55"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, width and height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plot_eos(result: EquationOfState, title: str = "") -> Figure:
    """Energy over volume with the fitted curve, per atom."""
    figure = new_figure(5.6, 4.0)
    axis = figure.subplots()
    n = len(result.system)
    zero, figures = (result.fit.e0 if result.fit else float(result.energies.min())), ""
    axis.plot(result.volumes / n, 1e3 * (result.energies - zero) / n, "o", color=BLUE, label="computed")
    if result.fit is not None:
        fit = result.fit
        volumes = np.linspace(result.volumes[0], result.volumes[-1], 200)
        name = {"vinet": "Vinet", "birch-murnaghan": "Birch-Murnaghan"}[fit.form]
        axis.plot(volumes / n, 1e3 * (fit.energy(volumes) - zero) / n, color=ORANGE, zorder=0, label=name)
        axis.axvline(fit.v0 / n, color=GREY, linewidth=0.8, linestyle=":")
        figures = f"$V_0$ = {fit.v0 / n:.3f} Å³/atom\n$B_0$ = {fit.b0:.1f} GPa\n$B'$ = {fit.b1:.2f}"
    axis.set_xlabel("volume / Å³ per atom")
    axis.set_ylabel(r"$E - E_0$ / meV per atom")
    axis.set_title(literal(title))
    axis.legend(title=figures, framealpha=1.0, edgecolor="none", loc="upper center")
    return figure


def plot_elastic(result: Elasticity, title: str = "") -> Figure:
    """The tensor, and Young's modulus by direction in the three planes of the standard axes."""
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(9.6, 4.4)
    left = figure.add_subplot(1, 2, 1)
    limit = float(np.abs(result.tensor).max())
    left.imshow(result.tensor, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for (i, j), value in np.ndenumerate(result.tensor):
        shade = "white" if abs(value) > 0.6 * limit else "black"
        text = "·" if abs(value) < 1e-3 * limit else f"{value:.1f}"
        left.text(j, i, text, ha="center", va="center", color=shade, fontsize=9)
    names = ["xx", "yy", "zz", "yz", "xz", "xy"]
    left.set_xticks(range(6), names)
    left.set_yticks(range(6), names)
    left.set_title("elastic constants / GPa")
    right: Any = figure.add_subplot(1, 2, 2, projection="polar")
    angle = np.linspace(0, 2 * np.pi, 361)
    zero, c, s = np.zeros_like(angle), np.cos(angle), np.sin(angle)
    planes = {"xy": (c, s, zero), "xz": (c, zero, s), "yz": (zero, c, s)}
    if result.stable:
        for (name, plane), color, style in zip(planes.items(), (BLUE, ORANGE, GREEN), ("-", "--", ":"), strict=True):
            right.plot(angle, youngs_modulus(result.tensor, np.array(plane).T), style, color=color, label=name)
        right.legend(title="plane", loc="lower left", bbox_to_anchor=(0.95, 0.9), frameon=False)
    right.set_ylim(0, None)
    right.set_rlabel_position(22.5)
    right.yaxis.set_major_locator(MaxNLocator(4))
    right.set_title("Young's modulus by direction / GPa" if result.stable else "unstable: no Young's modulus", pad=16)
    figure.suptitle(literal(title))
    return figure


def plot_bands(result: Phonons, title: str = "") -> Figure:
    """Bands along the high-symmetry path, and the density of states beside them."""
    figure = new_figure(7.6, 4.6)
    left, right = figure.subplots(1, 2, sharey=True, gridspec_kw={"width_ratios": (4, 1)})
    bands = result.bands
    ticks, labels, start = [0.0], [bands.labels[0][0]], 0.0
    for k, (distance, frequencies) in enumerate(zip(bands.distances, bands.frequencies, strict=True)):
        along = distance - distance[0] + start
        left.plot(along, frequencies, color=BLUE, linewidth=1.1)
        start = float(along[-1])
        last = k + 1 == len(bands.labels)
        following = bands.labels[k][1] if last else bands.labels[k + 1][0]
        ticks.append(start)
        labels.append(bands.labels[k][1] if following == bands.labels[k][1] else f"{bands.labels[k][1]}|{following}")
    for tick in ticks:
        left.axvline(tick, color="0.85", linewidth=0.8, zorder=0)
    left.set_xticks(ticks, labels)
    left.set_xlim(ticks[0], ticks[-1])
    left.set_ylabel("frequency / THz" + (" (imaginary below 0)" if result.imaginary else ""))
    right.fill_betweenx(result.dos[0], result.dos[1], color=BLUE, alpha=0.3, linewidth=0)
    right.plot(result.dos[1], result.dos[0], color=BLUE, linewidth=1.1)
    right.set_xlim(0, None)
    right.set_xlabel("states / THz$^{-1}$")
    for axis in (left, right):
        axis.axhline(0, color="0.4", linewidth=0.8)
    left.set_ylim(min(1.08 * result.lowest, 0.0), 1.04 * result.highest)
    figure.suptitle(literal(title))
    return figure


def plot_thermal(result: Phonons, title: str = "") -> Figure:
    """Vibrational free energy, entropy and heat capacity of the primitive cell over temperature."""
    figure = new_figure(9.6, 3.4)
    thermal, kilo = result.thermal, 1 / KJ_PER_MOL
    panels = figure.subplots(1, 3)
    columns = (
        ("free energy / kJ/mol", thermal.free_energy * kilo, BLUE),
        ("entropy / J/mol/K", thermal.entropy * kilo * 1e3, ORANGE),
        ("heat capacity $C_V$ / J/mol/K", thermal.heat_capacity * kilo * 1e3, GREEN),
    )
    for panel, (name, values, color) in zip(panels, columns, strict=True):
        panel.plot(thermal.temperatures, values, color=color)
        panel.set_xlabel("temperature / K")
        panel.set_ylabel(name)
        panel.set_xlim(thermal.temperatures[0], thermal.temperatures[-1])
    classical = 3 * result.n_atoms * 1e3 * KB / KJ_PER_MOL
    panels[2].axhline(classical, color=GREY, linewidth=0.8, linestyle=":")
    panels[2].text(
        0.98, classical, "3Nk ", transform=panels[2].get_yaxis_transform(), va="bottom", ha="right", color=GREY
    )
    panels[2].set_ylim(0, 1.1 * classical)
    figure.suptitle(literal(title))
    return figure


def plot_quasiharmonic(result: Quasiharmonic, title: str = "") -> Figure:
    """Volume, thermal expansion, bulk modulus, heat capacities and G over temperature; lines are pressures."""
    figure = new_figure(10.4, 6.4)
    panels = figure.subplots(2, 3).ravel()
    pressures = result.pressures[np.unique(np.linspace(0, len(result.pressures) - 1, 4).astype(int))]
    shades = [BLUE, ORANGE, GREEN, "#8d5a97"]
    names = {
        "volume_A3_per_atom": ("volume / Å³ per atom", 1.0),
        "thermal_expansion_per_K": ("thermal expansion / 10$^{-6}$ K$^{-1}$", 1e6),
        "bulk_modulus_GPa": ("bulk modulus $K_T$ / GPa", 1.0),
        "heat_capacity_p_J_per_mol_K_per_atom": ("$C_P$ / J/mol/K per atom", 1.0),
        "gibbs_eV_per_atom": ("$G(T,P) - G(0,P)$ / eV per atom", 1.0),
    }
    for pressure, shade in zip(pressures, shades, strict=False):
        found = result.surface.at_pressure(float(pressure))
        for panel, (key, (_, factor)) in zip(panels, names.items(), strict=False):
            values = found[key] - found[key][0] if key.startswith("gibbs") else found[key]
            panel.plot(result.surface.temperatures, factor * values, color=shade, label=f"{pressure:g} GPa")
    for panel, (name, _) in zip(panels, names.values(), strict=False):
        panel.set_xlabel("temperature / K")
        panel.set_ylabel(name)
        panel.set_xlim(result.surface.temperatures[0], result.surface.temperatures[-1])
    panels[3].legend(frameon=False, loc="lower right")
    _free_energy_curves(panels[5], result)
    figure.suptitle(literal(title))
    return figure


def _free_energy_curves(panel: Any, result: Quasiharmonic) -> None:
    """F(V) at a few temperatures with the minima."""
    surface = result.surface
    volumes = np.linspace(surface.volumes[0], surface.volumes[-1], 200)
    minima = surface.volume(0.0)
    lowest = surface.gibbs(0.0)
    for index in np.linspace(0, len(surface.temperatures) - 1, 5).astype(int):
        panel.plot(volumes, surface.helmholtz(volumes)[index], color=GREY, linewidth=0.9)
        panel.text(
            volumes[-1], surface.helmholtz(volumes)[index, -1], f" {surface.temperatures[index]:g} K", fontsize=7
        )
        panel.plot(minima[index], lowest[index], "o", color=BLUE, markersize=4)
    panel.set_xlabel("volume / Å³ per atom")
    panel.set_ylabel("$F(V,T)$ / eV per atom")
    panel.set_xlim(None, volumes[-1] + 0.2 * (volumes[-1] - volumes[0]))


def plot_path(result: ReactionPath, title: str = "") -> Figure:
    """Energy along a path: images, their slopes, and the spline through both."""
    figure = new_figure(6.0, 4.2)
    axis = figure.subplots()
    zero, top = result.energies[0], result.saddle
    s, energy = result.curve()
    axis.plot(s, energy - zero, color=BLUE, linewidth=1.4)
    reach = 0.04 * s[-1]
    for at, height, slope in zip(result.distances, result.energies - zero, result.slopes, strict=True):
        axis.plot([at - reach, at + reach], [height - reach * slope, height + reach * slope], color=GREY, linewidth=1.0)
    axis.plot(result.distances, result.energies - zero, "o", color=BLUE, markersize=5)
    if 0 < top < len(result.images) - 1:
        name = "saddle" if result.climbed and result.converged else "highest image"
        axis.plot(result.distances[top], result.barrier, "o", color=ORANGE, markersize=7, label=name)
    axis.axhline(0, color=GREY, linewidth=0.8, linestyle=":")
    figures = [f"barrier {result.barrier:.3f} eV", f"back {result.reverse_barrier:.3f} eV"]
    figures.append(f"reaction {_signed_zero(result.reaction_energy):.3f} eV")
    axis.set_xlabel("path length / Å")
    axis.set_ylabel("energy / eV")
    axis.margins(y=0.1)
    axis.set_ylim(None, axis.get_ylim()[1] + 0.35 * np.ptp(axis.get_ylim()))
    axis.legend(title="\n".join(figures), frameon=False, loc="upper left")
    axis.set_title(literal(title if result.converged else f"{title} (not converged)".strip()))
    return figure


def _signed_zero(value: float) -> float:
    """Without the minus sign of what rounds to zero."""
    return round(value, 3) + 0.0


def plot_phase_diagram(result: PhaseDiagram, title: str = "") -> Figure:
    """Stable polymorph over temperature and pressure; where one was not sampled, the diagram is blank."""
    from matplotlib.colors import ListedColormap

    figure = new_figure(6.2, 4.6)
    axis = figure.subplots()
    kelvin, pressure = result.temperatures, result.pressures
    first, second = (literal(one.system.name) for one in (result.first, result.second))
    stable = np.where(np.isnan(result.difference), np.nan, np.where(result.difference > 0, 0.0, 1.0))
    if len(pressure) == 1:  # a line of free energies says more than a strip
        axis.plot(kelvin, 1e3 * result.difference[0], color=BLUE)
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.set_ylabel(f"$G$({second}) - $G$({first}) / meV per atom")
    else:
        fine_t, fine_p = np.linspace(kelvin[0], kelvin[-1], 400), np.linspace(pressure[0], pressure[-1], 400)
        shades = ListedColormap(["#bcd6e4", "#f3d7b8"])
        rows = np.array([np.interp(fine_t, kelvin, row) for row in result.difference])
        fine = np.array([np.interp(fine_p, pressure, column) for column in rows.T]).T
        stable = np.where(np.isnan(fine), np.nan, np.where(fine > 0, 0.0, 1.0))
        axis.pcolormesh(fine_t, fine_p, stable, cmap=shades, vmin=0, vmax=1, shading="nearest", rasterized=True)
        if result.boundary:
            axis.contour(fine_t, fine_p, fine, levels=[0.0], colors=[BLUE], linewidths=1.6)
        for value, name in ((0.0, first), (1.0, second)):
            inside = np.argwhere(stable == value)
            if len(inside):
                centre = inside[np.abs(inside - inside.mean(axis=0)).sum(axis=1).argmin()]
                axis.text(fine_t[centre[1]], fine_p[centre[0]], name, ha="center", va="center", fontsize=12)
        axis.set_ylabel("pressure / GPa")
    axis.set_xlabel("temperature / K")
    axis.set_title(literal(title))
    return figure
