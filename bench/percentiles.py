"""Percentiles, of single values and of a histogram's buckets. Pure."""

from collections.abc import Mapping, Sequence
from math import ceil, inf

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]


def percentile_of_buckets(buckets: Mapping[float, float], share: float) -> float:
    """The same of a histogram, evenly within the bucket. `buckets`: by bound, how many values do not exceed it."""
    wanted = share * buckets[inf]
    lower, below = 0.0, 0.0
    for upper in sorted(buckets):
        if buckets[upper] >= wanted:
            if upper == inf:
                return lower
            inside = buckets[upper] - below
            return lower + (upper - lower) * (wanted - below) / inside if inside else lower
        lower, below = upper, buckets[upper]
    return lower
