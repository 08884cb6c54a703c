"""Whether what a process holds has grown: the last quarter of its samples beside the first (pure)."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

SHARE = 0.10
"""By so much of the first quarter's median the last one's may be above it …"""
SLACK = {"resident_bytes": 8 * 2**20, "descriptors": 3.0, "tasks": 4.0}
"""… or by so much, whichever is more: a few more are in use at one moment than at another."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one process held at one moment, `at` seconds after the load began."""

    at: float
    resident_bytes: int
    descriptors: int
    tasks: int
    settled: int


@dataclass(frozen=True, slots=True)
class Trend:
    """Medians of one measure over the first and the last quarter of the samples."""

    first: float
    last: float
    is_flat: bool


def trends(samples: Sequence[Sample]) -> dict[str, Trend]:
    """One per measure.

    Raises: ValueError for fewer samples than quarters.
    """
    quarter = len(samples) // 4
    if not quarter:
        raise ValueError(f"{len(samples)} samples say nothing about a trend; make the run longer")
    return {name: _trend([float(getattr(sample, name)) for sample in samples], quarter, name) for name in SLACK}


def _trend(values: Sequence[float], quarter: int, name: str) -> Trend:
    first, last = median(values[:quarter]), median(values[-quarter:])
    return Trend(first, last, last <= first + max(first * SHARE, SLACK[name]))
