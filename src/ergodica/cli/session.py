"""One run of the program: device, compilation cache, and news of compilations."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import threading
import time
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

from ergodica.errors import InputError
from ergodica.runtime import keep_freed_memory

__all__ = ["CompileWatch", "cache_folder", "start_jax"]

PLATFORMS = {"cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}
"""JAX's platforms by device; the processor stays within reach for host work."""

COMPILE_EVENT = "/jax/core/compile/backend_compile_duration"
SLOW = 1.0  # s: a compilation that takes longer is announced
SMALL = 0.02  # s: shorter ones are single operations, not worth counting


def cache_folder() -> Path:
    """Where compiled programs are kept: in ERGODICA_CACHE, or in ergodica/ of the user's XDG cache."""
    own = os.environ.get("ERGODICA_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ergodica"
    return base / "xla" / _machine()


def _machine() -> str:
    """A name for this kind of processor: code compiled for another one, in a shared home, may not run on it."""
    features = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        features += next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    except OSError:
        pass  # not Linux
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"


def start_jax(device: str) -> None:
    """Import JAX for a device, with compiled programs kept on disk.

    Args:
        device: "auto" leaves the choice to JAX.

    Raises:
        InputError: the device is not there.
    """
    keep_freed_memory()
    if not os.environ.get("ERGODICA_DEBUG"):
        # XLA reports every program it takes from the cache as compiled for another machine, because its own hints
        # (prefer-no-gather) are no features of the processor; `_machine` sees to it that the machine is the same
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if device != "auto":
        _choose_device(device)
    import jax

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # a read-only home costs compile time, not the result
    # an entry that another process is writing, or was killed while writing, costs compile time, too
    warnings.filterwarnings("ignore", message="Error reading persistent compilation cache entry")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _choose_device(device: str) -> None:
    """Bind JAX, and the processes that this one starts, to a device; where it is absent, nothing is changed."""
    import jax

    before = jax.config.jax_platforms  # type: ignore[attr-defined]  # made at run time
    jax.config.update("jax_platforms", PLATFORMS[device])
    try:
        found = jax.default_backend()
    except RuntimeError:
        found = "none that JAX can use"
    if found != device:
        jax.config.update("jax_platforms", before)
        raise _absent(device, found)
    os.environ["JAX_PLATFORMS"] = PLATFORMS[device]


def _absent(device: str, found: str) -> InputError:
    mend = {"gpu": " or install the GPU build with pip install 'ergodica[gpu]'"}.get(device, "")
    return InputError(f"There is no {device} here (found: {found}): use --device auto{mend}.")


class CompileWatch:
    """Counts compilations while it is entered and announces those that take long.

    Attributes:
        label: what is being computed, for the announcement ("9 atoms").
        count: programs compiled or taken from the cache so far.
        cached: how many of them came from the cache on disk.
        seconds: time that took.
    """

    def __init__(self, label: str, quiet: bool = False) -> None:
        self.label, self.count, self.cached, self.seconds = label, 0, 0, 0.0
        self._quiet, self._timer, self._start = quiet, threading.Timer(0, _nothing), time.perf_counter()

    def __enter__(self) -> CompileWatch:
        from jax import monitoring

        monitoring.register_scalar_listener(self._begins)
        monitoring.register_event_duration_secs_listener(self._ends)
        monitoring.register_event_listener(self._happens)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        from jax import monitoring

        self._timer.cancel()
        monitoring.unregister_scalar_listener(self._begins)
        monitoring.unregister_event_duration_listener(self._ends)
        monitoring.unregister_event_listener(self._happens)

    def summary(self, count: int | None = None) -> str:
        """Time so far and what compiling took of it, in words.

        Args:
            count: number of compilations, where the library knows it better.
        """
        elapsed = time.perf_counter() - self._start
        count = self.count if count is None else count
        programs = "1 compilation" if count == 1 else f"{count} compilations"
        cached = f", {self.cached} from the cache" if self.cached else ""
        return f"{elapsed:.1f} s, of which {self.seconds:.1f} s for {programs}{cached}"

    def _begins(self, event: str, value: float, **_: Any) -> None:
        if event == COMPILE_EVENT and not self._quiet:
            self._timer = threading.Timer(SLOW, self._announce)
            self._timer.daemon = True
            self._timer.start()

    def _ends(self, event: str, duration_secs: float, **_: Any) -> None:
        if event == COMPILE_EVENT:
            self._timer.cancel()
            self.seconds += duration_secs
            self.count += duration_secs > SMALL

    def _happens(self, event: str, **_: Any) -> None:
        self.cached += event == "/jax/compilation_cache/cache_hits"

    def _announce(self) -> None:
        print(f"compiling for {self.label} ...", file=sys.stderr, flush=True)


def _nothing() -> None:
    """Fill the timer's place before there is one."""
