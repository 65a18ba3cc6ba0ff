"""The two ways in which Ergodica fails: the input is wrong, or the work itself did not succeed."""

from __future__ import annotations

__all__ = ["ErgodicaError", "InputError", "WorkFailed"]


class ErgodicaError(Exception):
    """Base of the errors a user is meant to read: one clear sentence, no traceback needed."""


class InputError(ErgodicaError, ValueError):
    """Bad input or usage: says what is wrong and how to mend it (exit code 2 on the command line)."""


class WorkFailed(ErgodicaError, RuntimeError):
    """The input was fine but the work failed: did not converge, blew up, disk full (exit code 1)."""
