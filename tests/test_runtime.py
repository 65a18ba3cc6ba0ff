"""Memory settings: accepted by glibc, harmless elsewhere."""

from __future__ import annotations

import sys

from ergodica import runtime


def test_memory_is_kept_on_linux_and_nothing_breaks_elsewhere(monkeypatch):
    if sys.platform.startswith("linux"):
        assert runtime.keep_freed_memory() in (True, False)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert runtime.keep_freed_memory() is False
