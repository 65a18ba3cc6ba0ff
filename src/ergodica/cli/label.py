"""`ergodica label`: a teacher's energies, forces and stresses for structures."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from ergodica.cli.common import SHARED, Flag, Shared
from ergodica.cli.inputs import Item, parse_kwargs, read_items
from ergodica.cli.output import emit, plain, progress, say
from ergodica.errors import InputError, WorkFailed

if TYPE_CHECKING:
    from ergodica.datasets import Agreement, Outcome, Teacher, Tolerance
    from ergodica.system import System

__all__ = ["label"]


@Parameter(name="*")
@dataclass(frozen=True)
class Agree:
    """A second teacher, and how far the two may differ: by an absolute part plus a share of the size."""

    agree: str = ""
    """A second teacher; only structures on which both agree are kept, with the labels of the first."""

    agree_kwargs: str | None = None
    """JSON of its keyword arguments."""

    tolerance_forces: float = 0.2
    """Largest difference of the force on an atom, eV/Å."""

    tolerance_stress: float = 2.0
    """Norm of the difference of the stresses, GPa."""

    tolerance_energy: float = 0.2
    """Difference of the energies after a fit of one energy for each element, eV/atom."""

    tolerance_relative: float = 0.2
    """Added to the first two: this share of the structure's largest force, and of the norm of its stress."""


NOBODY = Agree()


def label(
    *files: str,
    teacher: Annotated[str, Parameter(alias="-t")],
    kwargs: str | None = None,
    level_of_theory: str = "",
    workers: int = 1,
    retry: Flag = False,
    second: Agree = NOBODY,
    common: Shared = SHARED,
) -> None:
    """Label structures with a teacher. Every answer is on disk at once; a killed command is simply repeated.

    Parameters
    ----------
    files
        Structures in anything ASE reads; - is stdin (extxyz).
    teacher
        chgnet, sevenn, xtb, pyscf, emt, a model of Ergodica, or an ASE calculator as package.module:Class.
    kwargs
        JSON of its keyword arguments, such as '{"model": "7net-l3i5"}'.
    level_of_theory
        What it computes, for the record, where Ergodica does not know.
    workers
        Local processes, each with one thread; 0 computes in this one.
    retry
        Try again what failed earlier.
    """
    common = common.with_default_output(Path("labelled.extxyz"))
    assert common.output is not None
    common.start(check_output=False, kind="labels")
    from ergodica.datasets.agreement import Tolerance

    tolerance = Tolerance(
        second.tolerance_forces, second.tolerance_stress, second.tolerance_energy, second.tolerance_relative
    )
    main = _teacher(teacher, kwargs, level_of_theory, common)
    other = _teacher(second.agree, second.agree_kwargs, "", common) if second.agree else None
    journals = [_journal(common.output, one, place) for place, one in enumerate(filter(None, (main, other)))]
    if not any(journal.exists() for journal in journals):
        common.claim(common.output)
    if workers < 0:
        raise InputError(f"--workers {workers}: give a number from 0.")
    if other is None and (second.agree_kwargs or second != Agree()):
        raise InputError("--agree-kwargs and --tolerance-... are for a second teacher: name it by --agree.")
    items = read_items(files)
    if common.output.exists() and not common.overwrite:
        _keep_others(common.output, items)
    if common.overwrite:
        for journal in journals:
            journal.unlink(missing_ok=True)
    found = _ask(common, items, main, journals[0], workers, retry)
    if not any(outcome.labels for outcome in found):
        raise WorkFailed(
            f"Teacher '{main.name}' failed on all {len(items)} structures, first with: {found[0].error}; when that is "
            "mended, add --retry."
        )
    checked = None if other is None else _ask(common, items, other, journals[1], workers, retry)
    agreement = None if checked is None else _compare(common, items, found, checked, tolerance)
    errors = [outcome.error for outcome in found]
    if checked is not None:
        errors = [own or other.error for own, other in zip(errors, checked, strict=True)]
    _finish(common, items, main, found, errors, agreement, second.agree)


def _keep_others(output: Path, items: Sequence[Item]) -> None:
    """Raise `InputError` where the output holds structures that are not asked for now, and would be lost."""
    from ergodica.files import read_structures

    asked = {_rounded(item.system) for item in items}
    lost = sum(_rounded(system) not in asked for system in read_structures(output))
    if lost:
        raise InputError(
            f"'{output}' holds {lost} structures that are not among those to label now: give another output, or add "
            "--overwrite."
        )


def _rounded(system: System) -> tuple[Any, ...]:
    """By which a structure is known again after files rounded its coordinates off."""
    import numpy as np

    places = np.concatenate([system.positions, system.cell])
    return (system.numbers.tobytes(), system.charge, tuple((places + 0.0).round(4).ravel().tolist()))


def _teacher(name: str, kwargs: str | None, level_of_theory: str, common: Shared) -> Teacher:
    """The teacher; `--precision` is for models of Ergodica, others take it by `--kwargs` if at all."""
    from ergodica.datasets.teachers import Teacher

    found = Teacher.named(name, parse_kwargs(kwargs), level_of_theory)
    if not found.is_own or common.precision == "float32":
        return found
    return Teacher.named(name, {"precision": common.precision, **(parse_kwargs(kwargs) or {})}, level_of_theory)


def _journal(output: Path, teacher: Teacher, place: int) -> Path:
    return output.with_suffix(f".{'second-' if place else ''}{teacher.slug}.jsonl")


def _ask(
    common: Shared, items: Sequence[Item], teacher: Teacher, journal: Path, workers: int, retry: bool
) -> list[Outcome]:
    from ergodica.datasets.labels import label as library_label

    new: list[Outcome] = []
    with progress(common) as bar:
        task = bar.add_task(teacher.name, total=len(items))

        def report(outcome: Outcome) -> None:
            new.append(outcome)
            bar.advance(task)

        systems = [item.system for item in items]
        found = library_label(systems, teacher, journal=journal, workers=workers, retry=retry, report=report)
    mean = sum(outcome.seconds for outcome in new) / max(len(new), 1)
    say(
        common,
        f"{teacher.signature}: {len(new)} of {len(items)} computed now, {mean:.3g} s each; answers in '{journal}'",
    )
    return found


def _compare(
    common: Shared, items: Sequence[Item], found: Sequence[Outcome], checked: Sequence[Outcome], tolerance: Tolerance
) -> Agreement:
    """Compare the teachers, and draw a picture of it beside the output."""
    from ergodica.datasets.agreement import compare
    from ergodica.datasets.plots import plot_agreement
    from ergodica.pictures import write_picture

    assert common.output is not None
    systems, labels = [item.system for item in items], [outcome.labels for outcome in found]
    agreement = compare(systems, labels, [outcome.labels for outcome in checked], tolerance)
    picture = plot_agreement(systems, labels, agreement, tolerance)
    write_picture(common.output.with_suffix(".agreement.png"), picture)
    return agreement


def _finish(
    common: Shared,
    items: Sequence[Item],
    teacher: Teacher,
    found: Sequence[Outcome],
    errors: Sequence[str],
    agreement: Agreement | None,
    second: str,
) -> None:
    """Write what is kept and why the rest is not, and print the balance."""
    from ergodica.files import atomic_write, write_structures

    assert common.output is not None
    kept, lost = _sorted_out(items, found, errors, agreement, second)
    if kept:
        write_structures(common.output, list(kept.values()))
    side = common.output.with_suffix(".left-out.jsonl")
    atomic_write(side, "".join(json.dumps(plain(entry)) + "\n" for entry in lost).encode())
    failed = sum(outcome.labels is None for outcome in found)
    kinds = _by_kind(items, found, kept)
    record = {
        "output": common.output if kept else None,
        "teacher": teacher.signature,
        "level_of_theory": teacher.level_of_theory,
        "second_teacher": second or None,
        "n_structures": len(items),
        "n_labelled": len(items) - failed,
        "n_failed": failed,
        "n_kept": len(kept),
        "n_elements": len({int(z) for system in kept.values() for z in system.numbers}),
        "left_out": side,
        "picture": common.output.with_suffix(".agreement.png") if agreement else None,
        "seconds_per_structure": sum(outcome.seconds for outcome in found) / len(found),
        "by_kind": kinds,
        "offsets_eV": agreement.offsets if agreement else None,
    }
    rows = [(kind, *row.values()) for kind, row in kinds.items()]
    emit(common, record, ("kind", "structures", "labelled", "kept"), rows)
    if not kept:
        raise WorkFailed(f"Nothing is left: the teachers agree on no structure; see '{side}'.")
    say(common, f"{len(kept)} of {len(items)} structures in '{common.output}'; the others in '{side}' with the reason.")


def _sorted_out(
    items: Sequence[Item],
    found: Sequence[Outcome],
    errors: Sequence[str],
    agreement: Agreement | None,
    second: str,
) -> tuple[dict[int, System], list[dict[str, Any]]]:
    """What is kept, by place, and what is not, with the reason."""
    kept: dict[int, System] = {}
    lost: list[dict[str, Any]] = []
    for index, (item, outcome) in enumerate(zip(items, found, strict=True)):
        numbers = {} if agreement is None or errors[index] else _numbers(agreement, index)
        if errors[index] or outcome.labels is None:
            lost.append({**item.head, "reason": errors[index]})
        elif agreement is not None and not agreement.agree[index]:
            lost.append({**item.head, "reason": "the teachers disagree", **numbers})
        else:
            info = {**item.system.info, **({"second_teacher": second} if second else {}), **numbers}
            kept[index] = replace(item.system, labels=outcome.labels, info=info)
    return kept, lost


def _numbers(agreement: Agreement, index: int) -> dict[str, float]:
    return {
        "difference_forces_eV_per_A": round(float(agreement.forces[index]), 5),
        "difference_stress_GPa": round(float(agreement.stress[index]), 4),
        "difference_energy_eV_per_atom": round(float(agreement.energy[index]), 5),
    }


def _by_kind(items: Sequence[Item], found: Sequence[Outcome], kept: Collection[int]) -> dict[str, dict[str, Any]]:
    """Structures, labelled and kept ones for each value of `kind`."""
    table: dict[str, dict[str, Any]] = {}
    for index, (item, outcome) in enumerate(zip(items, found, strict=True)):
        row = table.setdefault(str(item.system.info.get("kind", "-")), {"structures": 0, "labelled": 0, "kept": 0})
        row["structures"] += 1
        row["labelled"] += outcome.labels is not None
        row["kept"] += index in kept
    return dict(sorted(table.items()))
