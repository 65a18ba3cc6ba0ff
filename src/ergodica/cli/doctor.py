"""`ergodica doctor`: does this machine compute right numbers?"""

from __future__ import annotations

from ergodica.cli.common import DEFAULTS, Common
from ergodica.cli.output import emit, say
from ergodica.report.checks import Report

__all__ = ["doctor", "emit_report"]


def doctor(*, common: Common = DEFAULTS) -> int:
    """Check versions, devices, the compiler's arithmetic and the checksums of the shipped weights.

    Example: `ergodica doctor`
    """
    common.refuse_output()
    common.start()
    from ergodica.cli.session import cache_folder
    from ergodica.doctor import examine

    return emit_report(common, examine(cache_folder()))


def emit_report(common: Common, report: Report) -> int:
    """Print a report and its failures' advice; return the exit code."""
    from ergodica.cli.failures import DONE, FAILED

    words = {(True, True): "ok", (True, False): "ok", (False, True): "FAILED", (False, False): "warning"}
    rows = ((check.name, words[check.passed, check.required], check.figure) for check in report.checks)
    emit(common, report.to_dict(), ("check", "result", "figure"), rows)
    for check in report.checks:
        if not check.passed:
            say(common, f"{check.name}: {check.advice}")
    return DONE if report.passed else FAILED
