"""`ergodica check`: invariances, finite differences, energy drift and dimer curves of one model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ergodica.cli.common import DEFAULTS, Common
from ergodica.cli.doctor import emit_report
from ergodica.cli.output import say
from ergodica.cli.session import CompileWatch

__all__ = ["check"]


def check(
    model: str | None = None,
    /,
    *,
    structure: str | None = None,
    arithmetic: Literal["float64", "float32"] = "float64",
    common: Common = DEFAULTS,
) -> int:
    """Check a model's invariances, derivatives, continuity, energy conservation and dimers. -o writes the dimers' plot.

    Example: `ergodica check visnet-rmd17-ethanol -o dimers.png`

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file; the same as -m.
    structure
        File with the structures to test on; a small molecule and crystal of the model's elements by default.
    arithmetic
        Precision of the tests: float64 tests the mathematics, float32 what --precision float32 gives.
    """
    common.start()
    from dataclasses import replace

    from ergodica.check import check_model
    from ergodica.cli.inputs import read_items

    common = common if model is None else replace(common, model=model)
    potential = common.load()
    systems = None if structure is None else [item.system for item in read_items([structure])]
    plots: Path | None = common.output
    with CompileWatch("the checks", common.quiet):
        report = check_model(potential, systems, arithmetic, plots)
    if plots is not None:
        say(common, f"Dimer curves are in '{plots}'.")
    return emit_report(common, report)
