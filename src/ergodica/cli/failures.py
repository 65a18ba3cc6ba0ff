"""What went wrong, in one sentence on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from cyclopts import CycloptsError

from ergodica.errors import InputError, WorkFailed

__all__ = ["DONE", "FAILED", "INTERRUPTED", "USAGE", "exit_code_of"]

DONE, FAILED, USAGE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


def exit_code_of(work: Callable[[], Any]) -> int:
    """Run a verb; turn what it raises into a sentence on stderr and return the exit code."""
    try:
        answer = work()
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return _say("Interrupted; what had been written is complete up to that point.", INTERRUPTED)
    except SystemExit as error:  # a library that gives up by itself
        return error.code if isinstance(error.code, int) else FAILED
    except BaseException as error:  # the last resort of the program: nothing may end in a bare traceback
        return _explain(error)
    return answer if isinstance(answer, int) else DONE


def _explain(error: BaseException) -> int:
    if os.environ.get("ERGODICA_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, CycloptsError):
        return _say(f"{error}", USAGE)
    if isinstance(error, InputError):
        return _say(str(error), USAGE)
    if isinstance(error, WorkFailed):
        return _say(str(error), FAILED)
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        return _say("Out of memory: use fewer or smaller structures, or a device with more.", FAILED)
    if isinstance(error, OSError) and error.strerror:
        return _say(f"The system refused '{error.filename or 'a file'}': {error.strerror}.", FAILED)
    text = str(error).strip().partition("\n")[0]
    return _say(
        f"This should not have happened ({type(error).__name__}: {text}); please report it with the output of the same "
        "command under ERGODICA_DEBUG=1.",
        FAILED,
    )


def _say(sentence: str, code: int) -> int:
    print(f"ergodica: {' '.join(sentence.split())}", file=sys.stderr)
    return code


def _silence_stdout() -> None:
    """Keep Python's own flush at exit from complaining about the closed pipe."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        pass
