"""Tables to draw from, made of the percentiles and the mean that were measured on real records.

A table lists a distribution's values in order, so that `table[int(u * len(table))]` with an even `u` draws from it.
Between two percentiles the values follow a curve `t ** bend`; the bend is the one that gives the measured mean.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

SIZE = 10_000
"""Entries per table: the largest value comes once in as many records."""

V = TypeVar("V")


def counts(*, share: float, mean: float, percentiles: tuple[int, int, int, int, int], size: int = SIZE) -> list[int]:
    """How many of something a record has: any in `share` of records; the p50, p90, p95, p99 and largest number."""
    anchors = [(1 - share, 1)]
    for at, value in zip((0.5, 0.9, 0.95, 0.99, 1.0), percentiles, strict=True):
        if at <= anchors[0][0] + 1e-9:
            anchors[0] = (anchors[0][0], max(value, 1))
        else:
            anchors.append((at, value))
    low, high = 0.02, 50.0
    for _ in range(14):  # to a thousandth of the bend, which moves no mean by more than a thousandth
        bend = (low * high) ** 0.5
        table = _curve(anchors, bend, size)
        if sum(table) / size > mean:
            low = bend
        else:
            high = bend
    return table


def lengths(*anchors: tuple[float, int], size: int = SIZE, bend: float = 1.5) -> list[int]:
    """How many characters a text has, from (share of texts, length) pairs that begin at 0.0 and end at 1.0."""
    return _curve(anchors, bend, size)


def weighted(weights: Mapping[V, float], size: int = SIZE) -> list[V]:
    """Values as often as their weights say; each at least once."""
    total = sum(weights.values())
    table: list[V] = []
    for value, weight in weights.items():
        table.extend([value] * max(1, round(weight / total * size)))
    return table


def _curve(anchors: Sequence[tuple[float, int]], bend: float, size: int) -> list[int]:
    table = [0] * round(anchors[0][0] * size)
    for (at, value), (next_at, next_value) in pairwise(anchors):
        steps = round(next_at * size) - round(at * size)
        table.extend(round(value + (next_value - value) * (step / steps) ** bend) for step in range(steps))
    # The curve of the last segment ends just before its largest value, which must come once.
    table[-1] = anchors[-1][1]
    return table
