"""Settings of the process that make the networks faster and change no number."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8


def keep_freed_memory() -> bool:
    """Tell glibc to keep the memory it frees instead of returning it to the system.

    XLA's CPU client allocates its temporaries anew for every call; above 32 MiB glibc maps fresh pages each time, and
    touching them took a third to a half of the time of a call (benchmarks/README.md). Call it before JAX starts its
    threads: one that already has an arena of its own goes on mapping whatever that can't hold. Returns False where
    there is no glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_TOP_PAD, 2**26), (_ARENA_MAX, 1))
    return all([mallopt(ctypes.c_int(option), ctypes.c_int(value)) == 1 for option, value in settings])
