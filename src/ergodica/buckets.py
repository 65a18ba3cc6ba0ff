"""Which structures share a static shape: a partition that weighs padding against compilations."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["cheapest_ranges"]


def cheapest_ranges(count: int, cost: Callable[[int, int], float]) -> list[tuple[int, int]]:
    """Cut range(count) into consecutive pieces [start, end) with the least total cost, by dynamic programming.

    Args:
        count: number of levels (distinct sizes, in order).
        cost: cost of one piece, `cost(start, end)`.
    """
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, count + 1):
        best.append(min((best[start][0] + cost(start, end), start) for start in range(end)))
    pieces, end = [], count
    while end > 0:
        start = best[end][1]
        pieces.append((start, end))
        end = start
    return pieces[::-1]
