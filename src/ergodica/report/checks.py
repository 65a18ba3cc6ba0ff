"""What a self-test says: named checks with figures, passed or failed, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Check", "Report"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what, in a word or two.
        passed: whether it is as it should be.
        figure: what was found, with unit and limit.
        advice: what to do when it failed; empty when it passed.
        required: whether a failure fails the report; otherwise it is a warning.
    """

    name: str
    passed: bool
    figure: str
    advice: str = ""
    required: bool = True

    @classmethod
    def within(cls, name: str, value: float, limit: float, unit: str, advice: str) -> Check:
        """A check that a number does not exceed its limit (nor is NaN)."""
        passed = bool(value <= limit)
        return cls(name, passed, f"{value:.1e} {unit} (limit {limit:.0e})", "" if passed else advice)


@dataclass(frozen=True)
class Report:
    """All checks of one subject."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """No required check failed."""
        return all(check.passed for check in self.checks if check.required)

    def to_dict(self) -> dict[str, Any]:
        """The report in JSON's terms."""
        keys = ("name", "passed", "figure", "advice", "required")
        return {"passed": self.passed, "checks": [{key: getattr(check, key) for key in keys} for check in self.checks]}
