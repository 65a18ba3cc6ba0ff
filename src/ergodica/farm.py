"""Work handed to other processes, results as they come: what labelling and reference calculations share."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context, parent_process
from typing import TypeVar

__all__ = ["farmed", "pooled"]

Task = TypeVar("Task")
Result = TypeVar("Result")


def farmed(
    executor: Executor, todo: Mapping[str, Task], work: Callable[[Task], Result], window: int
) -> Iterator[tuple[str, Result]]:
    """Hand tasks to an executor, at most `window` at a time; results by key as they come."""
    waiting = iter(todo.items())
    running: dict[Future[Result], str] = {}
    while True:
        for key, task in waiting:
            running[executor.submit(work, task)] = key
            if len(running) >= window:
                break
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


def pooled(
    todo: Mapping[str, Task], work: Callable[[Task], Result], workers: int, lost: Callable[[], Result]
) -> Iterator[tuple[str, Result]]:
    """Local processes, each with one OpenMP thread; when one dies, what was running is tried alone to find who kills.

    Args:
        todo: tasks by key.
        work: what is to be done, picklable as tasks and results are.
        workers: processes.
        lost: the result of a task that killed its process.
    """
    left = dict(todo)
    window = 2 * workers
    while left:
        try:
            with _pool(workers) as pool:
                for key, result in farmed(pool, dict(left), work, window):
                    del left[key]
                    yield key, result
        except BrokenExecutor:
            for key in list(left)[:window]:  # those in flight are among the first
                result = _alone(left[key], work, lost)
                del left[key]
                yield key, result


def _alone(task: Task, work: Callable[[Task], Result], lost: Callable[[], Result]) -> Result:
    try:
        with _pool(1) as pool:
            return pool.submit(work, task).result()
    except BrokenExecutor:
        return lost()


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes (a fork would copy JAX's threads in an unknown state) that don't fight for the processors."""
    threads = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = threads or "1"
    try:
        with ProcessPoolExecutor(workers, get_context("spawn"), _settle) as pool:
            yield pool
    finally:
        if threads is None:
            del os.environ["OMP_NUM_THREADS"]


def _settle() -> None:
    """Start of a worker: what a teacher prints goes to stderr (stdout belongs to --json); none outlives the program."""
    sys.stdout = sys.stderr

    def follow() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()  # returns when the program was killed; else this thread ends with the worker
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
