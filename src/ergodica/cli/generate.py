"""`ergodica generate`: structures to label, as a recipe says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from ergodica.cli.common import RECIPE, Words
from ergodica.cli.common import Recipe as Options
from ergodica.cli.inputs import parse_kwargs
from ergodica.cli.output import emit, progress, say
from ergodica.errors import InputError

if TYPE_CHECKING:
    from ergodica.datasets.recipe import Recipe

__all__ = ["generate"]


def generate(
    recipe: Path | None = None,
    /,
    *,
    elements: Words = (),
    prototypes: Words = (),
    structures: Words = (),
    limit: Annotated[int | None, Parameter(alias="-n")] = None,
    teacher: str | None = None,
    kwargs: str | None = None,
    common: Options = RECIPE,
) -> None:
    """Generate structures: prototypes, alloys and your own with other elements; strained, compressed, rattled, moved.

    They stream to the output (structures.extxyz unless -o names another); a killed command is simply repeated.

    Parameters
    ----------
    recipe
        TOML file with tables [prototypes], [structures], [variants] and [walks]; the options below override it.
    elements
        Symbols to draw from, such as --elements Al Cu O; 89 from H to Pu by default.
    prototypes
        Structure types to use, such as --prototypes fcc rocksalt perovskite; all by default.
    structures
        Files of your own structures, to be varied and substituted.
    limit
        Starting structures to use, in shuffled order; each comes with its variants. All by default.
    teacher
        Calculator that drives molecular dynamics, named as for 'ergodica label'; no dynamics by default.
    kwargs
        JSON of that calculator's keyword arguments.
    """
    common = common.with_default_output(Path("structures.extxyz"))
    assert common.output is not None
    journal = common.output.with_suffix(".recipe.jsonl")
    common.start(check_output=not journal.exists())
    from ergodica.datasets.recipe import Recipe, read_recipe

    plan = Recipe() if recipe is None else read_recipe(recipe)
    changes = {"elements": elements or None, "limit": limit, "seed": common.seed}
    plan = replace(plan, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]
    if prototypes:
        plan = replace(plan, prototypes=replace(plan.prototypes, names=prototypes))
    if structures:
        plan = replace(plan, structures=replace(plan.structures, files=structures))
    if kwargs and not teacher:
        raise InputError("--kwargs is for the calculator of --teacher, which is not given.")
    if teacher:
        plan = replace(plan, walks=replace(plan.walks, teacher=teacher, kwargs=parse_kwargs(kwargs) or {}))
    _run(plan, journal, common)


def _run(plan: Recipe, journal: Path, common: Options) -> None:
    assert common.output is not None
    if common.overwrite:
        journal.unlink(missing_ok=True)
    from ergodica.datasets.generate import Stream
    from ergodica.datasets.generate import generate as library_generate

    with progress(common) as bar:
        task = bar.add_task("generating", total=len(Stream(plan)))

        def report(done: int, count: int) -> None:
            bar.update(task, completed=done, description=f"{count} structures")

        count = library_generate(plan, common.output, report)
    from ergodica.files import read_structures

    kinds = _census([str(system.info.get("kind", "-")) for system in read_structures(common.output)])
    record = {"output": common.output, "n_structures": count, "by_kind": kinds, "recipe": journal}
    emit(common, record, ("kind", "structures"), kinds.items())
    say(common, f"{count} structures in '{common.output}'; next: ergodica label {common.output} --teacher NAME")


def _census(names: list[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}
