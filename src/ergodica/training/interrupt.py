"""Ctrl-C and SIGTERM as a wish, not a blow."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interrupt"]


class Interrupt:
    """Ctrl-C asks the loop to stop after the current chunk, so that nothing is lost; a second one is immediate."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def watching(self) -> Iterator[Interrupt]:
        """Take the signals over for a while."""

        def request(*_: Any) -> None:
            if self.requested:
                raise KeyboardInterrupt
            self.requested = True

        try:
            previous = {s: signal.signal(s, request) for s in (signal.SIGINT, signal.SIGTERM)}
        except ValueError:  # not the main thread: the caller looks after signals
            previous = {}
        try:
            yield self
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
