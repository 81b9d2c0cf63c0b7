"""Percentiles of many latencies. Pure."""

from collections.abc import Iterable
from typing import Final

RANKS: Final = (0.50, 0.95, 0.99)


def percentiles_ms(latencies_s: Iterable[float]) -> list[float | None]:
    """p50, p95 and p99, each a value that occurred (nearest rank); None where nothing did."""
    ordered = sorted(latencies_s)
    if not ordered:
        return [None] * len(RANKS)
    return [ordered[min(len(ordered) - 1, int(rank * len(ordered)))] * 1000 for rank in RANKS]
