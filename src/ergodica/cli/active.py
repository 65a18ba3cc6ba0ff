"""`ergodica active`: rounds of exploring, selecting, labelling and training, as a TOML file says."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ergodica.cli.common import RECIPE, Recipe
from ergodica.cli.failures import DONE
from ergodica.cli.output import emit, say
from ergodica.cli.session import CompileWatch
from ergodica.cli.train import overridden
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.active import ActiveResult, Round

__all__ = ["active"]

HEADS = (
    "round",
    "structures",
    "error on new / eV/Å",
    "validation / eV/Å",
    "uncertain frames",
    "complete walks",
    "selected",
)


def active(config: Path, /, *, common: Recipe = RECIPE) -> int:
    """Active learning as a TOML file says; the same command goes on where a killed run stopped.

    Parameters
    ----------
    config
        TOML file with the tables of a training run and [explore], [select], [teacher] and [rounds]; -o overrides its
        output folder, --seed its seed.
    """
    common.start(check_output=False)
    from ergodica.active import learn_actively, read_active_config

    options = read_active_config(config)
    options = replace(options, train=overridden(options.train, common))
    if common.overwrite:
        raise InputError("Rounds are long work: to begin anew, delete the output folder or name another by -o.")
    with CompileWatch("active learning", common.quiet):
        result = learn_actively(options, report=lambda sentence: say(common, sentence))
    picture = Path(options.train.output) / "active.png"
    _plot(result, options.select.floor, picture)
    record = {
        "rounds": [_record(one) for one in result.rounds],
        "converged": result.converged,
        "model": result.model,
        "picture": picture,
    }
    emit(common, record, HEADS, (_row(one) for one in result.rounds))
    say(common, f"{_verdict(result)} It is '{result.model}', its history '{picture}'.")
    return DONE


def _verdict(result: ActiveResult) -> str:
    if result.converged:
        return "The model has learned enough."
    if not result.rounds[-1].selected:
        return "All uncertain frames are above the ceiling: raise [select] ceiling, or begin with more structures."
    return "The model still meets uncertain frames: raise [rounds] count and repeat the command."


UNITS = {"forces_mae": "eV_per_A", "new_forces_mae": "eV_per_A", "energy_mae": "eV_per_atom", "largest": "eV_per_A"}


def _record(one: Round) -> dict[str, Any]:
    """A round in JSON's terms, its keys with units."""
    table = {key: value for key, value in asdict(one).items() if key != "selected"}
    named = {f"{key}_{UNITS[key]}" if key in UNITS else key: value for key, value in table.items()}
    return {**named, "selected": [{"frame": frame, "uncertainty_eV_per_A": value} for frame, value in one.selected]}


def _row(one: Round) -> tuple[Any, ...]:
    return (
        one.number,
        one.structures,
        one.new_forces_mae,
        one.forces_mae,
        f"{100 * one.uncertain:.1f} %",
        f"{100 * one.complete:.0f} %",
        len(one.selected),
    )


def _plot(result: ActiveResult, floor: float, path: Path) -> None:
    """Errors, and what the model met on its walks, round by round."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    from ergodica.pictures import write_picture

    rounds = result.rounds
    numbers = [one.structures for one in rounds]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(numbers, [1e3 * one.forces_mae for one in rounds], "o-", label="validation, of all rounds so far")
    later = [one for one in rounds if one.new_forces_mae is not None]
    left.plot(
        [one.structures for one in later],
        [1e3 * (one.new_forces_mae or 0.0) for one in later],
        "s--",
        label="new structures, before learning from them",
    )
    left.set(xlabel="labelled structures", ylabel="force MAE, meV/Å", xticks=numbers)
    left.set_ylim(bottom=0)
    left.legend(frameon=False)
    right.plot(numbers, [100 * one.uncertain for one in rounds], "o-", label=f"frames above {floor:g} eV/Å")
    right.plot(numbers, [100 * one.complete for one in rounds], "s--", label="complete walks")
    right.set(xlabel="labelled structures", ylabel="share, %", xticks=numbers, ylim=(-4, 104))
    right.legend(frameon=False)
    write_picture(path, figure)
