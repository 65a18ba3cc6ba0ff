"""`ergodica check`: invariances, finite differences, energy drift and dimer curves of one model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: F401  the parser looks inherited options up here
from typing import Annotated, Literal  # noqa: F401

from cyclopts import Parameter

from ergodica.cli.common import Common, Flag  # noqa: F401
from ergodica.cli.doctor import emit_report
from ergodica.cli.output import say
from ergodica.cli.session import CompileWatch

__all__ = ["check"]


@Parameter(name="*")
@dataclass(frozen=True)
class CheckOptions(Common):
    """Options of the verb."""

    precision: Literal["float32", "float64"] = "float64"
    """Of the tests: float64 tests the mathematics, float32 what other verbs give by default."""


DEFAULTS = CheckOptions()


def check(
    model: str | None = None,
    /,
    *,
    structure: str | None = None,
    common: CheckOptions = DEFAULTS,
) -> int:
    """Check a model's invariances, derivatives, continuity, energy conservation and dimers. -o writes the dimers' plot.

    Example: `ergodica check visnet-rmd17-ethanol -o dimers.png`

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file; the same as -m.
    structure
        File with the structures to test on; a small molecule and crystal of the model's elements by default.
    """
    common.start(kind="picture")
    from dataclasses import replace

    from ergodica.check import check_model
    from ergodica.cli.inputs import read_items

    common = common if model is None else replace(common, model=model)
    potential = common.load()
    systems = None if structure is None else [item.system for item in read_items([structure])]
    with CompileWatch("the checks", common.quiet):
        report = check_model(potential, systems, common.precision, common.output)
    if common.output is not None:
        say(common, f"Dimer curves are in '{common.output}'.")
    return emit_report(common, report)
