"""How the verbs for crystals work: in groups, each result told even if others fail or the rest is given up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from ergodica.cli.crystals import CrystalOptions, Drawing, write_folder
from ergodica.cli.failures import DONE, FAILED
from ergodica.cli.inputs import Item
from ergodica.cli.output import emit, gathered, say
from ergodica.cli.predict import atoms_of
from ergodica.cli.session import CompileWatch
from ergodica.errors import ErgodicaError, WorkFailed

if TYPE_CHECKING:
    from ergodica.potentials.potential import Potential
    from ergodica.system import System

__all__ = ["Study", "studied"]

GROUP = 16
"""Structures whose cells are computed together; with their strained or displaced copies they fill a device."""


@dataclass(frozen=True)
class Study:
    """A property of crystals.

    Attributes:
        what: it is, for messages ("elastic constants").
        title: of the page.
        compute: from a model and structures to results with `to_dict` and `warnings`; fails if one structure does.
        draw: from a result and a title to its `Drawing`.
        columns: of the table of several structures.
        rows: of it, from a record.
        alone: from a record to columns, rows and title of the table of one structure.
    """

    what: str
    title: str
    compute: Callable[[Potential, list[System]], Sequence[Any]]
    draw: Callable[[Any, str], Drawing]
    columns: Sequence[str]
    rows: Callable[[dict[str, Any]], list[list[Any]]]
    alone: Callable[[dict[str, Any]], tuple[Sequence[str], list[Sequence[Any]], str]]


def studied(common: CrystalOptions, items: Sequence[Item], study: Study) -> tuple[list[Any], int]:
    """Results of structures, written and printed; and the exit code, a failure if one came to nothing.

    Raises:
        InputError: a structure is none for this, before anything is computed; or the only one is bad.
        WorkFailed: there is no result at all.
    """
    from ergodica.properties.evaluation import require_crystals

    potential = common.load()
    require_crystals([item.system for item in items], study.what)
    for item in items:
        potential.check_elements(item.system.numbers, item.system.name)
    numbered, tell = list(enumerate(items)), partial(_tell, common, items, study)
    with CompileWatch(atoms_of(items), common.quiet) as watch:
        if len(items) == 1:  # its error is that of the verb
            found = tell(list(enumerate(study.compute(potential, [items[0].system]))))
        else:
            groups = (numbered[start : start + GROUP] for start in range(0, len(items), GROUP))
            results = chain.from_iterable(_results(common, potential, study, group) for group in groups)
            found = gathered(common, "computing", len(items), results, tell)
    say(common, f"{potential.info.name}: {watch.summary()}")
    return found, DONE if len(found) == len(items) else FAILED


def _results(
    common: CrystalOptions, potential: Potential, study: Study, numbered: Sequence[tuple[int, Item]]
) -> Iterator[tuple[int, Any]]:
    """Results with their numbers; a group that fails is halved until what fails is alone, and told."""
    try:
        found = study.compute(potential, [item.system for _, item in numbered])
    except ErgodicaError as error:
        if len(numbered) == 1:
            say(common, f"no result: {error}")
            return
        for half in (numbered[: len(numbered) // 2], numbered[len(numbered) // 2 :]):
            yield from _results(common, potential, study, half)
    else:
        yield from ((number, one) for (number, _), one in zip(numbered, found, strict=True))


def _tell(common: CrystalOptions, items: Sequence[Item], study: Study, done: Sequence[tuple[int, Any]]) -> list[Any]:
    """Print results, then write them, numbers before pictures."""
    if not done:
        raise WorkFailed("There is no result for any of the structures.")
    chosen, found = [items[number] for number, _ in done], [one for _, one in done]
    for one in found:
        for warning in one.warnings:
            say(common, f"warning: {warning}")
    records = [{**item.head, **one.to_dict()} for item, one in zip(chosen, found, strict=True)]
    if len(items) > 1:
        emit(common, records, study.columns, [row for record in records for row in study.rows(record)])
    else:
        emit(common, records[0], *study.alone(records[0]))
    if common.output is not None:
        drawings = {
            item.system.name: study.draw(one, f"{item.system.name}, {common.model}")
            for item, one in zip(chosen, found, strict=True)
        }
        write_folder(common, drawings, records, study.title, len(items) > 1)
    return found
